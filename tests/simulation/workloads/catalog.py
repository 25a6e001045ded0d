"""The workloads by their names."""

from __future__ import annotations

import random

from tests.simulation.workloads.base import Workload
from tests.simulation.workloads.registers import Registers

CATALOG: dict[str, type[Workload]] = {workload.name: workload for workload in (Registers,)}


def make(name: str, root: str, chance: random.Random) -> Workload:
    return CATALOG[name](root, chance)
