"""One invocation of a function that commits: the time it has, and how its writes end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, ConditionFailed, TransactionCancelled
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.retry import delay, passing

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Stalled(Exception):
    """The queue could not be brought forward in the time given; its messages must come again."""


class Unfinished(Stalled):
    """There is more to do than the time given allows; what was done stays done."""


class Rejected(Exception):
    """A write that DynamoDB does not accept as it is; trying again would not help."""


class Invocation:
    """Lasts about ``seconds``. ``clock`` gives ms since the epoch. ``hurried`` says that earlier invocations with the
    same messages did not end."""

    def __init__(
        self, aws: Aws, clock: Callable[[], int], metrics: Metrics, seconds: float, *, hurried: bool = False
    ) -> None:
        now = _loop_time()
        self._aws = aws
        self._clock = clock
        self._metrics = metrics
        self._deadline = now + seconds
        self._late_from = now if hurried else now + 0.75 * seconds

    @property
    def late(self) -> bool:
        """Whether a batch that changes nothing must move the watermark all the same: else an invocation that ends
        without a change would be followed by others that do the same."""
        return _loop_time() >= self._late_from

    def mind_the_time(self) -> None:
        """An invocation that is cut off leaves its messages invisible for long; one that ends brings them back. Raises
        Unfinished."""
        if _loop_time() > self._deadline:
            raise Unfinished("the rest comes with the next invocation")

    async def pause(self, attempt: int) -> None:
        """Longer after each ``attempt``, from 0. Raises Stalled if the time does not allow it."""
        pause = delay(attempt)
        if _loop_time() + pause > self._deadline:
            raise Stalled(f"gave up after {attempt + 1} attempts")
        await asyncio.sleep(pause)

    async def until_found(self, look: Callable[[], Awaitable[T | None]]) -> T:
        """What ``look`` returns once that is not None. Raises Stalled."""
        attempt = 0
        while (found := await look()) is None:
            await self.pause(attempt)
            attempt += 1
        return found

    async def transact(self, items: list[dict[str, Any]]) -> bool:
        """One TransactWriteItems; see ``write``."""
        return await self.write(lambda: self._aws.call("dynamodb", "transact_write_items", TransactItems=items))

    async def write(self, call: Callable[[], Awaitable[Any]]) -> bool:
        """Makes a conditional write of DynamoDB, once. False if its condition failed, or if its answer was lost: then a
        read of the item that the condition is about tells whether it happened. Raises Rejected, AwsError."""
        began = self._clock()
        self._metrics.add("Transactions")
        try:
            await call()
        except AwsError as error:
            if type(error) is AwsError or (isinstance(error, TransactionCancelled) and _invalid(error)):
                raise Rejected(str(error)) from error
            if not passing(error) and not _lost_race(error):
                raise
            self._metrics.add("CancelledTransactions")
            logger.info("a transaction did not go through: %s", error)
            return False
        self._metrics.add("CommitLatency", self._clock() - began)
        return True


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _invalid(error: TransactionCancelled) -> bool:
    return any(reason.code == "ValidationError" for reason in error.reasons)


def _lost_race(error: AwsError) -> bool:
    """Whether a condition failed: the head moved, or one that the batch itself made."""
    if isinstance(error, TransactionCancelled):
        return any(reason.code == "ConditionalCheckFailed" for reason in error.reasons)
    return isinstance(error, ConditionFailed)
