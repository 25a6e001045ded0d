"""The janitor's run: what is due, by whom, and where the last run stopped.

It is started by a schedule, every minute as ZooKeeper's ContainerManager is, also when nobody is connected: at 1.5
read units and some 50 ms of a small function that is a few cents a month, a tenth of what polling the
idle queues costs, and there is no chain of timers that could break. Every run has the candidates deleted whose time has
come, and continues what an earlier run began; once an hour one looks what else there is to begin. A run that finds
nothing to do ends there.

One janitor works at a time (``TimedLock``), to save work, not for safety: every step would bear being doubled. Where
it stopped is in a register; a run that finds it moved by another ends.

What costs with the size of the tables is done when there is something to find: a pass over the znodes waits until as
many operations were committed as the last pass has cost read units. So it costs some three per cent of what those
did, and as many leftovers can have come together at most. After a week it waits no longer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass, field, replace

from faaskeeper.blocks.attributes import get_string, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.primitives import Lease, LockHeld, LockLost, Register, TimedLock, Versioned, VersionMismatch
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.janitor.chores import Chores
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.protocol.service import Service
from faaskeeper.storage.candidates import read_candidates
from faaskeeper.storage.keys import janitor_key
from faaskeeper.storage.ledger import Head, raise_floor, read_head

logger = logging.getLogger(__name__)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
LEASE_SECONDS = 20.0
"""Seconds. Longer than any step takes."""
PATIENCE_SECONDS = 21.0
"""Seconds: a janitor that died is outlived within one run."""
_PAUSE_SECONDS = 0.25
"""Seconds between pages of a scan, so that it takes at most a sixth of what a partition can give (3,000 units/s)."""
_NO_HEAD = Head(0, 0, (), Position(0, 0))


@dataclass(frozen=True, slots=True)
class Pass:
    """One way of a chore through all there is: when it began (ms), at which floor, what it has cost in read units and
    where its next step begins, None if it is through."""

    began: int = 0
    floor: int = -1
    units: float = 0.0
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Chore:
    """A pass begins ``every`` ms: in any case if it is to be done ``when_idle``, else if the floor has risen by as many
    operations as the last pass cost."""

    step: Callable[[Chores, str], Awaitable[str | None]]
    every: int
    when_idle: bool = False

    def begins(self, last: Pass, now: int, floor: int) -> bool:
        elapsed, committed = now - last.began, floor - last.floor
        if last.cursor is not None or elapsed < self.every:
            return False
        return self.when_idle or (committed > 0 and (committed >= last.units or elapsed >= WEEK))


CHORES = {
    "gateways": Chore(Chores.gateways, HOUR, when_idle=True),
    "queues": Chore(Chores.queues, HOUR, when_idle=True),
    "subtrees": Chore(Chores.subtree_watches, HOUR),
    "leftovers": Chore(Chores.leftovers, HOUR),
    "blobs": Chore(Chores.blobs, DAY),
}


@dataclass(slots=True)
class Progress:
    """``looked`` (ms) is when a run last looked what there is to begin, ``seen`` the zxid of the head then."""

    looked: int = 0
    seen: int = 0
    passes: dict[str, Pass] = field(default_factory=dict[str, Pass])

    def has_work(self, now: int) -> bool:
        return now - self.looked >= HOUR or any(each.cursor is not None for each in self.passes.values())

    def to_json(self) -> str:
        passes = {name: astuple(each) for name, each in self.passes.items()}
        return json.dumps({"looked": self.looked, "seen": self.seen, "passes": passes})

    @classmethod
    def from_json(cls, text: str) -> Progress:
        document = json.loads(text)
        passes = {name: Pass(*each) for name, each in document["passes"].items() if name in CHORES}
        return cls(document["looked"], document["seen"], passes)


class Janitor:
    """``clock`` gives ms since the epoch, ``name`` tells people who holds the lock."""

    def __init__(self, aws: Aws, service: Service, clock: Callable[[], int], name: str = "janitor") -> None:
        self.metrics = FunctionMetrics()
        self._aws = aws
        self._service = service
        self._clock = clock
        self._name = name
        # nothing here lives longer than an invocation, during which no machine sleeps
        self._lock = TimedLock(aws, service.ledger, janitor_key("lock").attributes, clock=_loop_time)
        self._register = Register(aws, service.ledger, janitor_key("progress").attributes)

    async def run(self, seconds: float) -> None:
        """Does what is due, for at most about ``seconds``; the next run goes on. Raises AwsError."""
        deadline = _loop_time() + seconds
        kept = await self._register.read()
        waiting = await read_candidates(self._aws, self._service, self._clock(), 1)
        if not waiting and not _progress_of(kept).has_work(self._clock()):
            return
        try:
            async with self._lock.held(self._name, LEASE_SECONDS, patience=PATIENCE_SECONDS) as lease:
                await self._work(kept, lease, deadline)
        except LockHeld as error:
            logger.info("another janitor is at work: %s", error)
        except (LockLost, VersionMismatch) as error:
            logger.warning("another janitor took over: %s", error)

    async def _work(self, kept: Versioned, lease: Lease, deadline: float) -> None:
        """One chore that fails keeps none of the others from being done; what failed is raised in the end."""
        progress, now = _progress_of(kept), self._clock()
        head = await read_head(self._aws, self._service) or _NO_HEAD
        if now - progress.looked >= HOUR:
            head = await self._begin(progress, head, now)
        chores = Chores(self._aws, self._service, self.metrics, now, head)
        failures: list[AwsError] = []

        async def goes_on() -> bool:
            if _loop_time() >= deadline:
                return False
            if lease.remaining() < LEASE_SECONDS / 2:
                await lease.renew()
            return True

        try:
            candidate = await chores.containers(None)
            while candidate is not None and await goes_on():
                candidate = await chores.containers(candidate)
        except AwsError as error:
            failures.append(error)
        for name, each in progress.passes.items():
            try:
                progress.passes[name] = await _continue(CHORES[name], chores, each, goes_on)
            except AwsError as error:
                failures.append(error)
        written = string(progress.to_json())
        if kept.value != written:
            await self._register.write(written, kept.version)
        if failures:
            raise failures[0]

    async def _begin(self, progress: Progress, head: Head, now: int) -> Head:
        """The floor rises to where the head was when it was last looked at, an hour ago or more: before records up to
        it can expire, and before tombstones up to it are removed. Then passes begin."""
        if progress.seen > head.floor:
            await raise_floor(self._aws, self._service, progress.seen)
            head = replace(head, floor=progress.seen)
        for name, chore in CHORES.items():
            if chore.begins(progress.passes.get(name, Pass()), now, head.floor):
                progress.passes[name] = Pass(now, head.floor, cursor="")
        progress.looked, progress.seen = now, head.zxid
        return head


async def _continue(chore: Chore, chores: Chores, state: Pass, goes_on: Callable[[], Awaitable[bool]]) -> Pass:
    while state.cursor is not None and await goes_on():
        before = chores.units
        following = await chore.step(chores, state.cursor)
        if following == state.cursor:
            break  # not now
        state = replace(state, units=state.units + chores.units - before, cursor=following)
        if following is not None:
            await asyncio.sleep(_PAUSE_SECONDS)
    return state


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _progress_of(kept: Versioned) -> Progress:
    return Progress.from_json(get_string({"value": kept.value}, "value")) if kept.value else Progress()
