"""Brings the commands of an ordered queue into tables, in their order, exactly once, whatever they are about.

What SQS and Lambda may do - redeliver, run two instances at once, stall, kill - is settled by three things alone: a
condition on the head lets one transaction follow each state, the watermark in the head tells what is applied, and
nobody goes on from a head before its transaction is known to be complete.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, TransactionCancelled
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.retry import delay, passing
from faaskeeper.blocks.transactions import Moved, Position

logger = logging.getLogger(__name__)

_MAX_MOVED = 3
"""Times that what is loaded may be of a later transaction than one complete head: such a transaction moves the head,
so what still does not fit then never will."""
_OFTEN = 3
"""Deliveries after which commands are taken for more than an invocation gets through at once."""


class Stalled(Exception):
    """The queue could not be brought forward in the time given; its messages must come again."""


class Unfinished(Stalled):
    """There is more to do than the time given allows; what was done stays done."""


class Rejected(Exception):
    """A transaction that DynamoDB does not accept as it is; trying again would not help."""


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
HeadT = TypeVar("HeadT", bound=Watermarked)
BatchT = TypeVar("BatchT", bound=Built)


class Committer(ABC, Generic[EntryT, HeadT, BatchT]):
    """One instance of a function that commits. ``clock`` gives ms since the epoch.

    What its subclass does is in the abstract methods; the head of the instance's own last transaction is all that is
    remembered, and a lost race corrects it.
    """

    def __init__(self, aws: Aws, clock: Callable[[], int]) -> None:
        self.metrics = Metrics()
        self._aws = aws
        self._clock = clock
        self._deadline = 0.0
        self._late_from = 0.0
        self._head: HeadT | None = None
        self._moved: tuple[HeadT | None, int] = (None, 0)

    @abstractmethod
    async def _find_head(self) -> HeadT | None:
        """The head, its transaction known to be complete; None if it is to be looked for again in a moment."""

    @abstractmethod
    async def _build(self, head: HeadT, entries: Sequence[EntryT]) -> BatchT:
        """Loads what the entries touch and applies them in order: all, or as many as a transaction holds, at least
        one. Raises Moved if what it loads is of a later transaction than ``head``; whatever else its code fails with
        but AwsError counts as Rejected, and so does Moved if the head stays."""

    @abstractmethod
    def _refusal(self, head: HeadT, entry: EntryT) -> BatchT:
        """The batch that does nothing but tell the sender of ``entry``, which is Rejected, that it failed."""

    @abstractmethod
    async def _commit(self, head: HeadT, batch: BatchT) -> bool:
        """Makes the batch true by ``_write``, on condition of ``head``, and answers it. False if another transaction
        came first, or may have. Raises Rejected."""

    @abstractmethod
    async def _answer_again(self, head: HeadT, covered: Sequence[EntryT]) -> None:
        """Covered commands were applied by an instance that may have died before it answered."""

    async def process(self, entries: Sequence[EntryT], seconds: float, deliveries: int = 1) -> None:
        """Applies, commits and answers ``entries``, which are in queue order, within about ``seconds``; the first of
        them was delivered for that many times.

        Raises Stalled or AwsError when it could not; then they must be delivered again, in whatever composition.
        """
        now = asyncio.get_running_loop().time()
        often = deliveries > _OFTEN
        self._deadline = now + seconds
        self._late_from = now if often else now + 0.75 * seconds
        remaining = list(entries)
        # whatever took too long, memory or time: with few at first, some get done for good
        most = 1 if often else len(remaining)
        attempt = 0
        while remaining:
            head = await self._complete_head()
            covered = [entry for entry in remaining if entry.position <= head.applied]
            if covered:
                self.metrics.add("Redeliveries", len(covered))
                await self._answer_again(head, covered)
                remaining = [entry for entry in remaining if entry.position > head.applied]
                continue
            taken: Sequence[EntryT] = remaining[:most]
            committed, done = False, 0
            try:
                batch = await self._try_to_build(head, taken)
                taken = batch.entries or taken[:1]
                committed, done = await self._commit(head, batch), len(batch.entries)
            except Moved:
                self._head = None
            except Rejected:
                if len(taken) > 1:
                    most = len(taken) // 2  # to find the one at fault
                    continue
                logger.exception("%s is refused", taken[0].position)
                # it must not hold up all others
                committed, done = await self._commit(head, self._refusal(head, taken[0])), 1
                most = len(remaining)
            if committed:
                remaining = remaining[done:]
                most *= 2
                attempt = 0
                if remaining:
                    self._mind_the_time()
            else:
                await self._pause(attempt)
                attempt += 1

    async def _try_to_build(self, head: HeadT, entries: Sequence[EntryT]) -> BatchT:
        try:
            return await self._build(head, entries)
        except Moved as error:
            last, times = self._moved
            times = times + 1 if last == head else 1
            self._moved = (head, times)
            if times > _MAX_MOVED:
                raise Rejected(f"what it touches does not fit the head: {error}") from error
            raise
        except (AwsError, Rejected):
            raise
        except Exception as error:
            # a command that makes the code fail must not stop all that are behind it
            raise Rejected(f"{type(error).__name__}: {error}") from error

    async def _complete_head(self) -> HeadT:
        attempt = 0
        while self._head is None:
            self._head = await self._find_head()
            if self._head is None:
                await self._pause(attempt)
                attempt += 1
        return self._head

    async def _write(self, items: list[dict[str, Any]], head: HeadT | None) -> bool:
        """One TransactWriteItems, after which ``head`` is the head. False if it was cancelled, or its answer lost: the
        next read of the head tells."""
        self._head = None
        began = self._clock()
        self.metrics.add("Transactions")
        try:
            await self._aws.call(
                "dynamodb",
                "transact_write_items",
                TransactItems=items,
            )
        except AwsError as error:
            if type(error) is AwsError or (isinstance(error, TransactionCancelled) and _invalid(error)):
                raise Rejected(str(error)) from error
            if not passing(error) and not _lost_race(error):
                raise
            self.metrics.add("CancelledTransactions")
            logger.info("a transaction did not go through: %s", error)
            return False
        self.metrics.add("CommitLatency", self._clock() - began)
        self._head = head
        return True

    async def _pause(self, attempt: int) -> None:
        pause = delay(attempt)
        if asyncio.get_running_loop().time() + pause > self._deadline:
            raise Stalled(f"gave up after {attempt + 1} attempts")
        await asyncio.sleep(pause)

    @property
    def _late(self) -> bool:
        """Whether what is answered now must be put down as applied even if it changed nothing: else an invocation that
        ends without a change would be followed by others that do the same."""
        return asyncio.get_running_loop().time() >= self._late_from

    def _mind_the_time(self) -> None:
        """An invocation that is cut off leaves its messages invisible for long; one that ends brings them back."""
        if asyncio.get_running_loop().time() > self._deadline:
            raise Unfinished("the rest comes with the next invocation")


def _invalid(error: TransactionCancelled) -> bool:
    return any(reason.code == "ValidationError" for reason in error.reasons)


def _lost_race(error: AwsError) -> bool:
    """Whether a condition failed: the head moved, or one that the batch itself made."""
    return isinstance(error, TransactionCancelled) and any(
        reason.code == "ConditionalCheckFailed" for reason in error.reasons
    )
