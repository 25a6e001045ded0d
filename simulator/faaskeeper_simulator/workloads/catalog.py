"""The workloads by their names."""

from __future__ import annotations

import random

from faaskeeper_simulator.workloads.base import Workload
from faaskeeper_simulator.workloads.bulk import Bulk
from faaskeeper_simulator.workloads.election import Election
from faaskeeper_simulator.workloads.expiring import Expiring
from faaskeeper_simulator.workloads.large import Large
from faaskeeper_simulator.workloads.locks import Locks
from faaskeeper_simulator.workloads.membership import Membership
from faaskeeper_simulator.workloads.mirror import Mirror
from faaskeeper_simulator.workloads.moves import Moves
from faaskeeper_simulator.workloads.polls import Polls
from faaskeeper_simulator.workloads.ready import Ready
from faaskeeper_simulator.workloads.registers import Registers
from faaskeeper_simulator.workloads.sequences import Sequences
from faaskeeper_simulator.workloads.transfers import Transfers
from faaskeeper_simulator.workloads.watchers import Watchers
from faaskeeper_simulator.workloads.wide import Wide

CATALOG: dict[str, type[Workload]] = {
    workload.name: workload
    for workload in (
        Bulk,
        Election,
        Expiring,
        Large,
        Locks,
        Membership,
        Mirror,
        Moves,
        Polls,
        Ready,
        Registers,
        Sequences,
        Transfers,
        Watchers,
        Wide,
    )
}


def make(name: str, root: str, chance: random.Random) -> Workload:
    return CATALOG[name](root, chance)
