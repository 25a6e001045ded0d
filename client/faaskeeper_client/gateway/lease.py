"""For how long what a gateway knows of the head counts as the present."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

SECONDS = 2.0
_AHEAD = 0.75
"""Part of the lease after which a new one is asked for."""
_LEAST_PRICE = 2


class Reading(NamedTuple):
    """Of two clocks, in seconds. Either may stand still while a machine or a Lambda sandbox is frozen."""

    boot: float
    wall: float


class Lease:
    """Counts from when the head was asked for, by the clock that says more: whatever this process slept through, it
    takes nothing for the present that may be older than ``seconds``.

    The head is asked for only while that saves requests: once as many reads could have been answered from memory
    within the time of a lease as it takes read units.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float], seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._clock = clock
        self._wall = wall
        self._since = Reading(float("-inf"), float("-inf"))
        self._wanted = 0
        self._first = float("-inf")
        self._price = 0
        self._worth = asyncio.Event()

    def reading(self) -> Reading:
        return Reading(self._clock(), self._wall())

    @property
    def holds(self) -> bool:
        since = self._since
        return 0 <= self._clock() - since.boot < self.seconds and 0 <= self._wall() - since.wall < self.seconds

    def renew(self, asked: Reading) -> None:
        """The head that was asked for then has come, and all that it tells of is taken into account."""
        if asked.boot > self._since.boot:
            self._since = asked

    def want(self) -> None:
        """A read was, or could have been, answered from memory."""
        now = self._clock()
        if now - self._first > self.seconds:
            self._first, self._wanted = now, 0
        self._wanted += 1
        if self._wanted >= max(_LEAST_PRICE, self._price):
            self._worth.set()

    async def keep(self, look: Callable[[], Awaitable[int]]) -> None:
        """Has ``look``, which returns the read units that it took, renew the lease while that is worth it. Never
        returns."""
        while True:
            await self._worth.wait()
            self._price = await look()
            self._worth.clear()
            self._first, self._wanted = self._clock(), 0
            await asyncio.sleep(_AHEAD * self.seconds)
