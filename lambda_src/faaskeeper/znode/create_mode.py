"""The flags of a create (org.apache.zookeeper.CreateMode)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from faaskeeper.znode.model import ZnodeKind


class CreateMode(NamedTuple):
    kind: ZnodeKind
    sequential: bool


CREATE_MODES: Mapping[int, CreateMode] = MappingProxyType(
    {
        0: CreateMode(ZnodeKind.PERSISTENT, False),
        1: CreateMode(ZnodeKind.EPHEMERAL, False),
        2: CreateMode(ZnodeKind.PERSISTENT, True),
        3: CreateMode(ZnodeKind.EPHEMERAL, True),
        4: CreateMode(ZnodeKind.CONTAINER, False),
        5: CreateMode(ZnodeKind.TTL, False),
        6: CreateMode(ZnodeKind.TTL, True),
    }
)
"""By the flags on the wire; what is not here is BAD_ARGUMENTS."""

MAX_TTL_MS = (1 << 40) - 1
"""Milliseconds (EphemeralType.TTL.maxValue)."""
