"""What a schedule consists of, as one value that its seed decides and that a reproducer can be cut down to."""

from __future__ import annotations

import random
from dataclasses import dataclass

from faaskeeper_simulator.cloud import FaultKind, Faults
from faaskeeper_simulator.harness.chaos import Chaos
from faaskeeper_simulator.workloads.catalog import CATALOG

WORKLOADS = tuple(sorted(CATALOG))


@dataclass(frozen=True, slots=True)
class Plan:
    """``operations`` are those of each client. ``rates`` are the cloud's faults, ``skip`` numbers of single ones that
    are left out. ``timeouts`` are the session timeouts to choose from, in ms."""

    seed: int
    workloads: tuple[str, ...] = ("registers",)
    gateways: int = 2
    clients: int = 3
    operations: int = 20
    timeouts: tuple[int, ...] = (4000, 10_000, 20_000)
    rates: tuple[tuple[FaultKind, float], ...] = ()
    chaos: tuple[Chaos, ...] = ()
    pace: float = 4.0
    """Mean seconds from one trouble to the next (``chaos``)."""
    skip: tuple[int, ...] = ()
    direct: bool = True
    """Whether gateways make direct calls; else all writes go by the queue."""
    cache_bytes: int = 64_000_000
    """What gateways may answer from memory; 0 turns that off."""
    mortal: bool = False
    """Whether the cloud's faults kill and stall gateways too."""
    patience: float = 600.0
    """Virtual seconds in which everything must come to rest once there are no faults."""

    @classmethod
    def random(cls, seed: int) -> Plan:
        """Schedules should differ from each other: each has some kinds of faults, at rates of its own (swarm)."""
        chance = random.Random(f"{seed}/plan")
        return cls(
            seed,
            workloads=tuple(chance.sample(WORKLOADS, chance.randint(1, min(2, len(WORKLOADS))))),
            gateways=chance.randint(1, 3),
            clients=chance.randint(2, 5),
            operations=chance.choice((10, 20, 40)),
            rates=tuple(Faults.swarm(seed).rates.items()),
            chaos=tuple(kind for kind in Chaos if chance.random() < 0.4),
            pace=chance.choice((1.0, 4.0, 4.0, 10.0)),
            mortal=chance.random() < 0.2,
            direct=chance.random() < 0.8,
            cache_bytes=chance.choice((0, 10_000, 64_000_000, 64_000_000, 64_000_000)),
        )

    @classmethod
    def calm(cls, seed: int) -> Plan:
        return cls(seed)

    @property
    def is_calm(self) -> bool:
        """Whether nothing is to go wrong."""
        return not self.rates and not self.chaos

    def faults(self) -> Faults:
        return Faults(self.seed, dict(self.rates), skip=self.skip)
