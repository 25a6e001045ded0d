"""What goes wrong, how often and how badly: everything derived from a seed, every injected fault on record.

A fault is always something AWS permits. Each kind can be switched off, and each single fault suppressed by its
number, which is how a failing schedule is shrunk.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias


class FaultKind(StrEnum):
    """Kinds of faults. Unless said otherwise a rate is a probability per opportunity (call, message, invocation)."""

    # at a call
    THROTTLE = "throttle"
    """The service refuses the call; nothing happened."""
    CONFLICT = "conflict"
    """A DynamoDB write meets a transaction on its item."""
    UNAVAILABLE = "unavailable"
    """The request never arrives; the caller gets Unavailable."""
    LOST_ANSWER = "lost answer"
    """The call took effect; the caller gets Unavailable."""
    LATE_EFFECT = "late effect"
    """The caller gives up and gets Unavailable; the call takes effect afterwards, up to seconds later."""
    DELAY = "delay"
    """Request or answer is slow, up to seconds."""
    PARTIAL_BATCH = "partial batch"
    """Some entries of a batch call are not processed (UnprocessedKeys, UnprocessedItems, Failed)."""
    SHORT_PAGE = "short page"
    """A Query, Scan or list answers with fewer results than fit, and a key to go on from."""

    # at a call of a process
    KILL_BEFORE = "kill before"
    """The process dies when it makes the call; the request is not sent."""
    KILL_AFTER = "kill after"
    """The process dies after the call took effect, before the answer."""
    STALL = "stall"
    """The process stops for up to minutes, and then goes on as if nothing had happened."""

    # DynamoDB
    TORN = "torn"
    """Per transaction or read: commits become visible item by item, Query and BatchGetItem read each item at its own
    instant."""
    SLOW_COMMIT = "slow commit"
    """A committed transaction needs up to seconds to become visible everywhere."""
    FEW_REASONS = "few reasons"
    """A cancelled transaction names only one of the items it failed for."""
    STALE = "stale"
    """Per read without ConsistentRead: it shows an earlier state."""

    # SQS
    DUPLICATE = "duplicate"
    """A standard queue delivers a message twice, perhaps after its deletion."""
    LATE_MESSAGE = "late message"
    """A message is delivered late, up to seconds (standard queue: minutes)."""
    REORDER = "reorder"
    """Per receive from a standard queue: messages come in any order."""
    SMALL_RECEIVE = "small receive"
    """A receive returns fewer messages than there are, so redeliveries come in other batches."""
    LOST_HINT = "lost hint"
    """A message that only tells news earlier (``Sqs.expendable``) never arrives. SQS loses none; who sends it may."""
    NEW_QUEUE = "new queue"
    """For some seconds after its creation a queue is unknown to some calls ("at least one second", CreateQueue's
reference)."""

    # Lambda
    COLD_START = "cold start"
    """An invocation gets a new instance although an idle one exists."""
    LOST_POLL = "lost poll"
    """The event source mapping receives a batch and forgets it: back after the visibility timeout."""
    EARLY_REDELIVERY = "early redelivery"
    """A FIFO or standard batch becomes visible while its function still runs, so two instances have it."""
    DOUBLE_INVOKE = "double invoke"
    """An asynchronous or scheduled invocation happens twice."""
    LATE_SCHEDULE = "late schedule"
    """A schedule fires late."""
    CLOCK_SKEW = "clock skew"
    """Per process: its wall clock is off by up to minutes."""


RATES: Final[Mapping[FaultKind, float]] = {
    FaultKind.THROTTLE: 0.01,
    FaultKind.CONFLICT: 0.02,
    FaultKind.UNAVAILABLE: 0.01,
    FaultKind.LOST_ANSWER: 0.01,
    FaultKind.LATE_EFFECT: 0.005,
    FaultKind.DELAY: 0.02,
    FaultKind.PARTIAL_BATCH: 0.02,
    FaultKind.SHORT_PAGE: 0.1,
    FaultKind.KILL_BEFORE: 0.005,
    FaultKind.KILL_AFTER: 0.005,
    FaultKind.STALL: 0.003,
    FaultKind.TORN: 0.8,
    FaultKind.SLOW_COMMIT: 0.02,
    FaultKind.FEW_REASONS: 0.3,
    FaultKind.STALE: 0.5,
    FaultKind.DUPLICATE: 0.05,
    FaultKind.LATE_MESSAGE: 0.05,
    FaultKind.REORDER: 0.3,
    FaultKind.SMALL_RECEIVE: 0.3,
    FaultKind.COLD_START: 0.1,
    FaultKind.LOST_POLL: 0.02,
    FaultKind.EARLY_REDELIVERY: 0.02,
    FaultKind.DOUBLE_INVOKE: 0.05,
    FaultKind.LATE_SCHEDULE: 0.1,
    FaultKind.CLOCK_SKEW: 1.0,
    FaultKind.NEW_QUEUE: 0.3,
    FaultKind.LOST_HINT: 0.1,
}
"""Rates of ``Faults.all``: high, so that a schedule of some hundred calls meets several."""

DURATIONS: Final[Mapping[FaultKind, tuple[float, float]]] = {
    FaultKind.LATE_EFFECT: (0.001, 8.0),
    FaultKind.DELAY: (0.01, 5.0),
    FaultKind.STALL: (0.05, 120.0),
    FaultKind.TORN: (0.0002, 0.02),
    FaultKind.SLOW_COMMIT: (0.02, 5.0),
    FaultKind.STALE: (0.0005, 2.0),
    FaultKind.DUPLICATE: (0.01, 60.0),
    FaultKind.LATE_MESSAGE: (0.02, 5.0),
    FaultKind.EARLY_REDELIVERY: (0.001, 2.0),
    FaultKind.DOUBLE_INVOKE: (0.001, 30.0),
    FaultKind.LATE_SCHEDULE: (0.1, 120.0),
    FaultKind.CLOCK_SKEW: (0.01, 300.0),
    FaultKind.NEW_QUEUE: (0.01, 6.0),
}
"""Shortest and longest, in seconds; drawn log-uniformly, so that every order of magnitude occurs."""

ORDINARY: Final = frozenset(
    {
        FaultKind.TORN,
        FaultKind.STALE,
        FaultKind.FEW_REASONS,
        FaultKind.REORDER,
        FaultKind.SMALL_RECEIVE,
        FaultKind.SHORT_PAGE,
        FaultKind.CLOCK_SKEW,
    }
)
"""Behaviour on a good day rather than faults: not on record, as it happens all the time."""

AT_CALL: Final = (
    FaultKind.UNAVAILABLE,
    FaultKind.THROTTLE,
    FaultKind.LOST_ANSWER,
    FaultKind.LATE_EFFECT,
    FaultKind.DELAY,
    FaultKind.KILL_BEFORE,
    FaultKind.KILL_AFTER,
    FaultKind.STALL,
)
"""Kinds drawn once per call; at most one of them strikes a call."""

PROCESS_KINDS: Final = frozenset({FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER, FaultKind.STALL})
"""Kinds that strike the calling process; they apply only where ``Cloud.process(..., mortal=True)`` allows them."""


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that happened: its number in the run, when (virtual seconds), where, and how long if that matters."""

    number: int
    time: float
    kind: FaultKind
    where: str
    seconds: float = 0.0

    def __str__(self) -> str:
        length = f" for {self.seconds:.4f} s" if self.seconds else ""
        return f"#{self.number} {self.time:.6f} {self.kind}: {self.where}{length}"


class Site(NamedTuple):
    """A call that is about to be made. ``number`` counts the calls of that operation by that process, from 1."""

    process: str
    service: str
    operation: str
    number: int

    def __str__(self) -> str:
        return f"{self.process} {self.service}.{self.operation} no. {self.number}"


Script: TypeAlias = Callable[[Site], FaultKind | tuple[FaultKind, float] | None]
"""Decides the fault of a call, perhaps with its length in seconds, for a test of one certain interleaving."""


class Faults:
    """``rates`` holds the kinds that may happen; ``skip`` the numbers of faults to suppress.

    ``active`` can be set to False so that a run ends in calm: nothing is injected from then on.
    """

    def __init__(self, seed: int | str, rates: Mapping[FaultKind, float], *, skip: Iterable[int] = ()) -> None:
        self.seed = seed
        self.rates = dict(rates)
        self.skip = frozenset(skip)
        self.active = True
        self.script: Script | None = None
        """Asked before chance is; a fault it wants happens even while ``active`` is False."""
        self.trace: list[Injected] = []
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._random = random.Random(f"{seed}/faults")
        self._clock: Callable[[], float] = lambda: 0.0
        self._number = 0
        self._bounds: dict[bool, list[tuple[float, FaultKind]]] = {
            mortal: _cumulated(self.rates, mortal=mortal) for mortal in (False, True)
        }

    @classmethod
    def none(cls) -> Faults:
        """Nothing goes wrong, snapshots are whole, messages come in order and in full batches."""
        return cls(0, {})

    @classmethod
    def all(cls, seed: int | str, intensity: float = 1.0, *, skip: Iterable[int] = ()) -> Faults:
        """Every kind, each at its usual rate times ``intensity``."""
        return cls(seed, {kind: min(1.0, rate * intensity) for kind, rate in RATES.items()}, skip=skip)

    @classmethod
    def swarm(cls, seed: int | str, *, skip: Iterable[int] = ()) -> Faults:
        """A random choice of kinds at random rates: schedules differ more from each other than with ``all``."""
        chance = random.Random(f"{seed}/swarm")
        rates: dict[FaultKind, float] = {}
        for kind, rate in RATES.items():
            if chance.random() < 0.5:
                rates[kind] = min(1.0, rate * 10 ** chance.uniform(-1.0, 0.7))
        return cls(seed, rates, skip=skip)

    @classmethod
    def only(cls, seed: int | str, *kinds: FaultKind, rate: float | None = None) -> Faults:
        """These kinds alone, at ``rate`` or at their usual rates."""
        return cls(seed, {kind: RATES[kind] if rate is None else rate for kind in kinds})

    def without(self, *kinds: FaultKind) -> Faults:
        """The same policy from the start, with some kinds switched off."""
        rates = {kind: rate for kind, rate in self.rates.items() if kind not in kinds}
        return Faults(self.seed, rates, skip=self.skip)

    def skipping(self, numbers: Iterable[int]) -> Faults:
        """The same policy from the start, with more single faults suppressed."""
        return Faults(self.seed, self.rates, skip=self.skip | frozenset(numbers))

    def follow(self, clock: Callable[[], float]) -> None:
        """Where the times in the trace come from."""
        self._clock = clock

    def at_call(self, process: str, service: str, operation: str, *, mortal: bool) -> Injected | None:
        """The fault that strikes this call, if any; ``mortal``: chance may strike the calling process too."""
        call = (process, service, operation)
        self._calls[call] += 1
        if self.script is not None:
            wanted = self.script(Site(*call, self._calls[call]))
            if wanted is not None:
                kind, seconds = wanted if isinstance(wanted, tuple) else (wanted, None)
                return self._inject(kind, str(Site(*call, self._calls[call])), seconds)
        if not self.active:
            return None
        share = self._random.random()
        bounds = self._bounds[mortal]
        if not bounds or share >= bounds[-1][0]:
            return None
        kind = next(kind for bound, kind in bounds if share < bound)
        return self._inject(kind, str(Site(*call, self._calls[call])))

    def happens(self, kind: FaultKind, where: Callable[[], str] | str) -> bool:
        """Whether a fault of this kind strikes here; if so it is on record."""
        return self.strike(kind, where) is not None

    def strike(self, kind: FaultKind, where: Callable[[], str] | str) -> Injected | None:
        """Like ``happens``, with the fault's record."""
        rate = self.rates.get(kind)
        if not rate or not self.active or self._random.random() >= rate:
            return None
        return self._inject(kind, where if isinstance(where, str) else where())

    def duration(self, kind: FaultKind) -> float:
        """Seconds, drawn for this kind."""
        shortest, longest = DURATIONS[kind]
        return shortest * (longest / shortest) ** self._random.random()

    def share(self) -> float:
        """A number from 0 to 1 for the details of a fault."""
        return self._random.random()

    def describe(self) -> str:
        """The trace, one fault a line."""
        return "\n".join(str(fault) for fault in self.trace)

    def _inject(self, kind: FaultKind, where: str, seconds: float | None = None) -> Injected | None:
        if seconds is None:
            seconds = self.duration(kind) if kind in DURATIONS else 0.0
        if kind in ORDINARY:
            return Injected(0, self._clock(), kind, where, seconds)
        self._number += 1
        if self._number in self.skip:
            return None
        fault = Injected(self._number, self._clock(), kind, where, seconds)
        self.trace.append(fault)
        return fault


def _cumulated(rates: Mapping[FaultKind, float], *, mortal: bool) -> list[tuple[float, FaultKind]]:
    bounds: list[tuple[float, FaultKind]] = []
    total = 0.0
    for kind in AT_CALL:
        if kind in rates and (mortal or kind not in PROCESS_KINDS):
            total += rates[kind]
            bounds.append((total, kind))
    return bounds
