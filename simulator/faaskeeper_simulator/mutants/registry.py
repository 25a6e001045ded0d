"""Ways to break the system, each by one small piece, and schedules in which that must show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from faaskeeper_simulator.checker import Violation, check
from faaskeeper_simulator.cloud import RATES, FaultKind
from faaskeeper_simulator.harness.chaos import Chaos
from faaskeeper_simulator.harness.plan import Plan
from faaskeeper_simulator.harness.world import execute

Plans = Callable[[int], Plan]

MUTANTS: dict[str, Mutant] = {}
"""By name, in the order of their definition."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """``rule`` is what it breaks, as the design says it. ``apply`` breaks it while its context lasts.

    ``found`` tells which schedules showed that the code was once like this, "" if it never was.
    """

    name: str
    rule: str
    plans: Plans
    apply: Callable[[], AbstractContextManager[None]]
    found: str

    def caught(self, seed: int) -> list[Violation]:
        """What the checker finds in the schedule of ``seed``."""
        with self.apply():
            return check(execute(self.plans(seed)))


def mutant(
    rule: str, plans: Plans = Plan.random, *, found: str = ""
) -> Callable[[Callable[[], Iterator[None]]], Callable[[], AbstractContextManager[None]]]:
    """Registers a generator function that breaks something before its one ``yield`` and mends it after it."""

    def register(breaking: Callable[[], Iterator[None]]) -> Callable[[], AbstractContextManager[None]]:
        name = breaking.__name__.replace("_", " ")
        manager = contextmanager(breaking)
        MUTANTS[name] = Mutant(name, rule, plans, manager, found)
        return manager

    return register


def schedules(
    *workloads: str,
    kinds: tuple[FaultKind, ...] = (),
    rate: float = 1.0,
    chaos: tuple[Chaos, ...] = (),
    timeouts: tuple[int, ...] = (4000, 10_000, 20_000),
    gateways: int = 2,
    clients: int = 4,
    operations: int = 40,
    pace: float = 4.0,
    patience: float = 600.0,
    direct: bool = False,
    cache_bytes: int = 0,
) -> Plans:
    """Plans with these faults alone, at ``rate`` times their usual rates: what a mutant needs shows sooner."""
    rates = tuple((kind, min(1.0, RATES[kind] * rate)) for kind in kinds)
    return partial(
        Plan,
        workloads=workloads or ("registers",),
        gateways=gateways,
        clients=clients,
        operations=operations,
        rates=rates,
        chaos=chaos,
        timeouts=timeouts,
        pace=pace,
        patience=patience,
        direct=direct,
        cache_bytes=cache_bytes,
    )
