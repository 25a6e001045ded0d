"""Where the parts of one deployed service are, and which items its table has."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache

from faaskeeper.blocks.attributes import Attribute, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.primitives import AtomicCounter, AtomicSet, Heartbeat

VARIABLE = "QUOTA_SERVICE"
CLIENTS_OWN = {"clients": ("count",), "tenant#*": ("watchers",), "lease#*": ("beat", "timeout")}
"""What clients write themselves: attributes, by partition. No item of such a partition has another meaning for one."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What FaaSKeeper's blocks ask for (``faaskeeper.blocks.parts.Parts``), and the table."""

    name: str
    table: str
    blobs: str
    requests: str
    timers: str
    dead_letters: str
    reply_prefix: str

    def clients(self, aws: Aws) -> AtomicCounter:
        return AtomicCounter(aws, self.table, key("clients", "count"))

    def watchers(self, aws: Aws, tenant: str) -> AtomicSet:
        return AtomicSet(aws, self.table, key(f"tenant#{tenant}", "watchers"), "watchers")

    def heartbeat(self, aws: Aws, lease: str) -> Heartbeat:
        return Heartbeat(aws, self.table, lease_key(lease))


def key(partition: str, sort: str) -> dict[str, Attribute]:
    return {"pk": string(partition), "sk": string(sort)}


def tenant_key(tenant: str) -> dict[str, Attribute]:
    return key(f"tenant#{tenant}", "state")


def lease_key(lease: str) -> dict[str, Attribute]:
    return key(f"lease#{lease}", "heartbeat")


@cache
def quota() -> Quota:
    """The description a function was deployed with."""
    return Quota(**json.loads(os.environ[VARIABLE]))
