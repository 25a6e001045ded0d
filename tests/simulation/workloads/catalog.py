"""The workloads by their names."""

from __future__ import annotations

import random

from tests.simulation.workloads.base import Workload
from tests.simulation.workloads.bulk import Bulk
from tests.simulation.workloads.election import Election
from tests.simulation.workloads.expiring import Expiring
from tests.simulation.workloads.large import Large
from tests.simulation.workloads.locks import Locks
from tests.simulation.workloads.membership import Membership
from tests.simulation.workloads.mirror import Mirror
from tests.simulation.workloads.moves import Moves
from tests.simulation.workloads.ready import Ready
from tests.simulation.workloads.registers import Registers
from tests.simulation.workloads.sequences import Sequences
from tests.simulation.workloads.transfers import Transfers
from tests.simulation.workloads.watchers import Watchers
from tests.simulation.workloads.wide import Wide

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
