"""Mutual exclusion that outlives its holder's death, without comparing clocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from faaskeeper.blocks.attributes import Item, get_number, get_string, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.primitives.item import StoredItem

_CLOCKS_DIFFER = 1.01
"""A contender waits that much longer than the lease. NTP slews a clock by at most 0.05 %."""
_POLLS_PER_LEASE = 5
_MAX_POLL_SECONDS = 1.0
_NAMES = {"#holder": "holder", "#token": "token", "#beat": "beat", "#seconds": "seconds"}


class LockHeld(Exception):
    """Another holds the lock, and its lease did not run out while the caller was willing to wait."""


class LockLost(Exception):
    """The lease ran out and another took the lock."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The lock as it was read; ``holder`` is empty when it is free."""

    holder: str
    token: int
    beat: int
    seconds: float


_FREE = _Seen("", 0, 0, 0.0)


class TimedLock:
    """At most one holder, for a lease of seconds that it renews; in an item of its own.

    A lease is measured twice, each time by one clock alone. The holder counts from before it sent its acquisition
    or last renewal. A contender counts from after it saw the holder's token and beat, and may take the lock when
    neither has moved for the whole lease. What it saw was written after the holder began to count, so the holder's
    time is over first; that clocks go at the same speed, within one percent, is all that is assumed. Hence a dead
    holder's lock costs its next holder a lease of waiting, and a free lock costs none.

    The clocks go on while the machine sleeps (CLOCK_BOOTTIME). Still a holder can stall between asking ``remaining``
    and acting on it. What must not suffer from that checks the ``token``, which grows with each acquisition over the
    item's life (so the item is never deleted): a resource that keeps the highest token it has seen refuses lower
    ones (in DynamoDB, ``SET fence = :token`` on condition ``attribute_not_exists(fence) OR fence <= :token``).

    An acquisition is told from others by a random name: when its answer is lost, it is sent again, and the item
    says whose it is. Should a copy of it arrive after the release, the lock is held for a lease by nobody.
    """

    def __init__(self, aws: Aws, table: str, key: Item, *, clock: Callable[[], float] | None = None) -> None:
        self._item = StoredItem(aws, table, key)
        self._clock = clock or boot_time

    async def acquire(self, owner: str, seconds: float, *, patience: float = 0.0) -> Lease:
        """The lock, for ``seconds`` from now on. ``owner`` is for people to read.

        Waits for up to ``patience`` seconds; with a bit more than the holder's lease, a dead holder is outlived.
        One write unit if it is free, else another and a read unit for each look. Raises LockHeld.
        """
        if not seconds > 0:
            raise ValueError(f"seconds={seconds}: a lease takes time")
        holder = f"{owner}#{uuid4().hex}"
        deadline = self._clock() + patience
        seen, lapses = _FREE, 0.0
        while True:
            began = self._clock()
            if not seen.holder or began >= lapses:
                found = await self._take(holder, seconds, seen)
                if found.holder == holder:
                    return Lease(self._item, self._clock, found, began)
            else:
                found = _seen(await self._item.read())
            now = self._clock()
            if found != seen:
                seen, lapses = found, now + found.seconds * _CLOCKS_DIFFER
            if not seen.holder:
                continue
            if now >= deadline:
                raise LockHeld(f"{seen.holder.rsplit('#', 1)[0]} holds the lock with token {seen.token}")
            poll = min(_MAX_POLL_SECONDS, seen.seconds / _POLLS_PER_LEASE)
            await asyncio.sleep(max(0.0, min(poll, lapses - now, deadline - now)))

    @asynccontextmanager
    async def held(self, owner: str, seconds: float, *, patience: float = 0.0) -> AsyncGenerator[Lease]:
        """``acquire`` and, at the end, ``release``."""
        lease = await self.acquire(owner, seconds, patience=patience)
        try:
            yield lease
        finally:
            await lease.release()

    async def _take(self, holder: str, seconds: float, lapsed: _Seen) -> _Seen:
        """The lock after the attempt, which succeeds if it is free, or still as ``lapsed``."""
        condition = "attribute_not_exists(#holder)"
        values = {
            ":holder": string(holder),
            ":seconds": {"N": repr(float(seconds))},
            ":zero": number(0),
            ":one": number(1),
        }
        if lapsed.holder:
            condition += " OR (#token = :token AND #beat = :beat)"
            values |= {":token": number(lapsed.token), ":beat": number(lapsed.beat)}
        try:
            item = await self._item.update(
                "SET #token = if_not_exists(#token, :zero) + :one, "
                "#holder = :holder, #beat = :zero, #seconds = :seconds",
                _NAMES,
                values,
                condition,
            )
        except ConditionFailed as error:
            item = error.item
        return _seen(item)


class Lease:
    """A lock that was acquired. ``token`` is its fencing token."""

    def __init__(self, item: StoredItem, clock: Callable[[], float], taken: _Seen, began: float) -> None:
        self.token = taken.token
        self._item = item
        self._clock = clock
        self._holder = taken.holder
        self._seconds = taken.seconds
        self._beat = taken.beat
        self._until = began + taken.seconds

    def remaining(self) -> float:
        """Seconds for which nobody else can hold the lock; from 0 on, somebody may."""
        return self._until - self._clock()

    async def renew(self) -> None:
        """Another lease from now on; also after the last one ran out, if nobody took the lock. One write unit.
        Raises LockLost."""
        began = self._clock()
        self._beat += 1
        try:
            await self._item.update(
                "SET #beat = :beat",
                {"#holder": "holder", "#beat": "beat"},
                {":beat": number(self._beat), ":holder": string(self._holder)},
                # a copy that comes late must not take the beat back to where a contender saw it
                "#holder = :holder AND #beat <= :beat",
            )
        except ConditionFailed as error:
            if _seen(error.item).holder != self._holder:
                raise LockLost(f"token {self.token} is not the holder's any more") from error
        self._until = max(self._until, began + self._seconds)

    async def release(self) -> None:
        """Frees the lock, unless another has it already. One write unit."""
        self._until = self._clock()
        try:
            await self._item.update(
                "REMOVE #holder", {"#holder": "holder"}, {":holder": string(self._holder)}, "#holder = :holder"
            )
        except ConditionFailed:
            return


def _seen(item: Item) -> _Seen:
    seconds = float(item["seconds"]["N"]) if "seconds" in item else 0.0
    return _Seen(get_string(item, "holder"), get_number(item, "token"), get_number(item, "beat"), seconds)
