"""The flags of a create (org.apache.zookeeper.CreateMode)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from faaskeeper.znode.model import Kind


class CreateMode(NamedTuple):
    kind: Kind
    sequential: bool


CREATE_MODES: Mapping[int, CreateMode] = MappingProxyType(
    {
        0: CreateMode(Kind.PERSISTENT, False),
        1: CreateMode(Kind.EPHEMERAL, False),
        2: CreateMode(Kind.PERSISTENT, True),
        3: CreateMode(Kind.EPHEMERAL, True),
        4: CreateMode(Kind.CONTAINER, False),
        5: CreateMode(Kind.TTL, False),
        6: CreateMode(Kind.TTL, True),
    }
)
"""By the flags on the wire; what is not here is BAD_ARGUMENTS."""

MAX_TTL = (1 << 40) - 1
"""Milliseconds (EphemeralType.TTL.maxValue)."""
