"""Repeating calls that may be repeated: reads, and writes that are the same however often they happen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from faaskeeper.blocks.errors import (
    AccessDenied,
    AwsError,
    Conflict,
    NotSent,
    Throttled,
    TransactionCancelled,
    Unavailable,
)

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.01
MAX_RETRY_DELAY_SECONDS = 0.5


def delay(attempt: int) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 0): exponential, with full jitter."""
    return random.uniform(0, min(MAX_RETRY_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempt))


def passing(error: AwsError) -> bool:
    """Whether the same call may succeed a moment later."""
    if isinstance(error, TransactionCancelled):
        codes = {reason.code for reason in error.reasons} - {"None"}
        return codes <= {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
    return isinstance(error, (Conflict, NotSent, Throttled, Unavailable))


async def repeat(
    call: Callable[[], Awaitable[T]], *, seconds: float = 5.0, clock: Callable[[], float] | None = None
) -> T:
    """``call`` until it succeeds or fails for good; no try but the first begins more than ``seconds`` later, by
    ``clock`` (the event loop's, which stands while the machine sleeps). Then raises its last error. Where that says
    only that the last try did nothing, and of an earlier one nothing is known, it raises the earlier one's."""
    clock = clock or asyncio.get_running_loop().time
    deadline = clock() + seconds
    attempt = 0
    unknown: Unavailable | None = None
    while True:
        try:
            return await call()
        except AwsError as error:
            if isinstance(error, Unavailable):
                unknown = error
            if passing(error):
                await asyncio.sleep(delay(attempt))
                attempt += 1
                if clock() <= deadline:
                    continue
            if unknown is not None and isinstance(error, (AccessDenied, NotSent, Throttled)):
                raise unknown from error
            raise
