"""Brings the commands of an ordered queue into tables, in their order, exactly once, whatever they are about.

What SQS and Lambda may do - redeliver, run two instances at once, stall, kill - is settled by three things alone: a
condition on the head lets one transaction follow each state, the watermark in the head tells what is applied, and
nobody goes on from a head before its transaction is known to be complete.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.invocation import Invocation, Rejected
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.transactions import Moved, Position

logger = logging.getLogger(__name__)

_MAX_TIMES_MOVED = 3
"""Times that what is loaded may be of a later transaction than one complete head: such a transaction moves the head,
so what still does not fit then never will."""
_MAX_DELIVERIES = 3
"""Deliveries after which commands are taken for more than an invocation gets through at once."""


class Queued(Protocol):
    """A command with its place in the queue."""

    @property
    def position(self) -> Position: ...


class Watermarked(Protocol):
    """What the item that orders transactions says. Nothing at or below ``applied`` is ever applied again."""

    @property
    def applied(self) -> Position: ...


class Built(Protocol):
    """A transaction of the first of some commands, ``entries``; of a part of the first one if there are none."""

    @property
    def entries(self) -> Sequence[Any]: ...


EntryT = TypeVar("EntryT", bound=Queued)
EntryT_contra = TypeVar("EntryT_contra", bound=Queued, contravariant=True)
HeadT = TypeVar("HeadT", bound=Watermarked)
BatchT = TypeVar("BatchT", bound=Built)


class StateMachine(Protocol[EntryT_contra, HeadT, BatchT]):
    """What a service adds to a committer: what its commands mean, and how it writes that down."""

    async def find_head(self, invocation: Invocation) -> HeadT | None:
        """The head, all that its transaction wrote known to be visible; None if it is to be looked for again in a
        moment."""
        ...

    async def build(self, head: HeadT, entries: Sequence[EntryT_contra]) -> BatchT:
        """Loads what the entries touch and applies them in order: all, or as many as a transaction holds, at least
        one. Raises Moved if what it loads is of a later transaction than ``head``; whatever else its code fails with
        but AwsError counts as Rejected, and so does Moved if the head stays."""
        ...

    def refuse(self, head: HeadT, entry: EntryT_contra) -> BatchT:
        """The batch that does nothing but tell the sender of ``entry``, which is Rejected, that it failed."""
        ...

    async def commit(self, invocation: Invocation, head: HeadT, batch: BatchT) -> HeadT | None:
        """Makes the batch true by writes of ``invocation``, on condition of ``head``, and answers it. Returns the head
        that follows, as ``find_head`` would; None if another transaction came first, or may have. Raises Rejected."""
        ...

    async def answer_again(self, head: HeadT, covered: Sequence[EntryT_contra]) -> None:
        """Covered commands were applied by an instance that may have died before it answered."""
        ...


class Committer(Generic[EntryT, HeadT, BatchT]):
    """One instance of a function that commits. ``clock`` gives ms since the epoch.

    All that it remembers is the head of its own last transaction, and a lost race corrects that.
    """

    def __init__(
        self,
        aws: Aws,
        clock: Callable[[], int],
        state_machine: StateMachine[EntryT, HeadT, BatchT],
        metrics: Metrics,
    ) -> None:
        self.metrics = metrics
        self._aws = aws
        self._clock = clock
        self._state_machine = state_machine
        self._head: HeadT | None = None
        self._moved: tuple[HeadT | None, int] = (None, 0)

    async def process(self, entries: Sequence[EntryT], seconds: float, deliveries: int = 1) -> None:
        """Applies, commits and answers ``entries``, which are in queue order, within about ``seconds``; the first of
        them was delivered for that many times.

        Raises Stalled or AwsError when it could not; then they must be delivered again, in whatever composition.
        """
        often = deliveries > _MAX_DELIVERIES
        invocation = Invocation(self._aws, self._clock, self.metrics, seconds, hurried=often)
        remaining = list(entries)
        # whatever took too long, memory or time: with few at first, some get done for good
        most = 1 if often else len(remaining)
        attempt = 0
        while remaining:
            head = await self._complete_head(invocation)
            covered = [entry for entry in remaining if entry.position <= head.applied]
            if covered:
                self.metrics.add("Redeliveries", len(covered))
                await self._state_machine.answer_again(head, covered)
                remaining = [entry for entry in remaining if entry.position > head.applied]
                continue
            taken: Sequence[EntryT] = remaining[:most]
            committed, done = False, 0
            try:
                batch = await self._build(head, taken)
                taken = batch.entries or taken[:1]
                committed, done = await self._commit(invocation, head, batch), len(batch.entries)
            except Moved:
                self._head = None
            except Rejected:
                if len(taken) > 1:
                    most = len(taken) // 2  # to find the one at fault
                    continue
                logger.exception("%s is refused", taken[0].position)
                # it must not hold up all others
                refusal = self._state_machine.refuse(head, taken[0])
                committed, done = await self._commit(invocation, head, refusal), 1
                most = len(remaining)
            if committed:
                remaining = remaining[done:]
                most *= 2
                attempt = 0
                if remaining:
                    invocation.mind_the_time()
            else:
                await invocation.pause(attempt)
                attempt += 1

    async def _complete_head(self, invocation: Invocation) -> HeadT:
        if self._head is None:
            self._head = await invocation.until_found(lambda: self._state_machine.find_head(invocation))
        return self._head

    async def _build(self, head: HeadT, entries: Sequence[EntryT]) -> BatchT:
        try:
            return await self._state_machine.build(head, entries)
        except Moved as error:
            last, times = self._moved
            times = times + 1 if last == head else 1
            self._moved = (head, times)
            if times > _MAX_TIMES_MOVED:
                raise Rejected(f"what it touches does not fit the head: {error}") from error
            raise
        except (AwsError, Rejected):
            raise
        except Exception as error:
            # a command that makes the code fail must not stop all that are behind it
            raise Rejected(f"{type(error).__name__}: {error}") from error

    async def _commit(self, invocation: Invocation, head: HeadT, batch: BatchT) -> bool:
        self._head = None  # nobody knows what follows, until the commit has returned it
        self._head = await self._state_machine.commit(invocation, head, batch)
        return self._head is not None
