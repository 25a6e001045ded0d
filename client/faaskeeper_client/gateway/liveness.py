"""The gateway's own life: beats in storage, and silence towards clients when it cannot beat.

If it stood still for longer than its timeout, others may have declared it dead and expired its sessions. So it shows
nothing to anybody while its last beat is older than that, by a clock that goes on while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, Unavailable
from faaskeeper.blocks.primitives.heartbeat import TIMER_SLACK_MS
from faaskeeper.blocks.queues import send_timer
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper.storage.sessions import ENDED, GatewayItem, beat
from faaskeeper.znode.create_mode import CREATE_MODES
from faaskeeper.znode.model import ZnodeKind
from faaskeeper.znode.operations import Create, Multi, Operation
from faaskeeper_client.gateway.sessions import LocalSession

logger = logging.getLogger(__name__)

RELAXED_TIMEOUT = 600_000
"""ms for which a gateway may stand still while none of its sessions owns an ephemeral."""
_BEATS_PER_TIMEOUT = 3
_SHORTEST_TRY = 1.0
"""Seconds that a beat is given at least."""
_TIMERS_LATE = 3
"""Timeouts without a move of the timer number, after which the chain of timers is taken for lost."""


class DeclaredDead(Exception):
    """The reaper took this gateway for dead; its sessions are being expired. It must start anew under another id."""


class Liveness:
    """``clock`` gives seconds and goes on while the machine sleeps (CLOCK_BOOTTIME)."""

    def __init__(self, aws: Aws, service: Service, gateway_id: str, clock: Callable[[], float]) -> None:
        self._aws = aws
        self._service = service
        self._gateway_id = gateway_id
        self._clock = clock
        self._owners: dict[int, int] = {}
        self._expected: Counter[int] = Counter()
        self._number = 0
        self._timeout = RELAXED_TIMEOUT
        self._armed = 0
        self._beaten = float("-inf")
        self._timer = (-1, clock())
        self._fresh = asyncio.Event()
        self._held: list[tuple[Callable[[bytes], None], bytes]] = []
        self._lock = asyncio.Lock()
        self._sooner = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        return self._clock() - self._beaten < (self._timeout - TIMER_SLACK_MS) / 1000

    @property
    def guards_any(self) -> bool:
        """Whether any session here may own ephemerals."""
        return bool(self._owners)

    @property
    def owners(self) -> list[int]:
        """Ids of the sessions here that may own ephemerals."""
        return list(self._owners)

    async def alive(self) -> None:
        """Returns when the gateway may speak."""
        while not self.is_alive:
            self._fresh.clear()
            self._sooner.set()
            await self._fresh.wait()

    def when_alive(self, send: Callable[[bytes], None], data: bytes) -> None:
        """Sends now, or after the next beat, in order."""
        if self.is_alive and not self._held:
            send(data)
        else:
            self._held.append((send, data))
            self._sooner.set()

    async def before_write(self, session: LocalSession, operation: Operation) -> None:
        """Before a session's first ephemeral is sent, its gateway's death must be noticed in time."""
        if session.id not in self._owners and _makes_ephemeral(operation):
            await self.guard(session.id, session.timeout)

    async def guard(self, session: int, milliseconds: int) -> None:
        """From now on the session, with this timeout, may own ephemerals. Raises AwsError, DeclaredDead."""
        known = session in self._owners
        self.hold(session, milliseconds)
        try:
            # the beat that another caller made while this one waited may be enough
            async with self._lock:
                if self._wanted_timeout() < self._armed:
                    await self._beat()
        except BaseException:
            if not known:
                self.release(session)
            raise

    def hold(self, session: int, milliseconds: int) -> None:
        """Like ``guard``, but only soon."""
        self._owners[session] = milliseconds
        if self._wanted_timeout() < self._armed:
            self._sooner.set()

    def release(self, session: int) -> None:
        """The session is no longer attached here. No matter if it is expected."""
        if session not in self._expected:
            self._owners.pop(session, None)

    def expect(self, session: int) -> None:
        """The session is about to be attached here: news that it had left does not count. To be followed by
        ``expect_no_more``."""
        self._expected[session] += 1

    def expect_no_more(self, session: int) -> None:
        self._expected -= Counter((session,))

    async def beat(self) -> None:
        """Writes one beat, and arms a timer where the running one would come too late.

        Raises AwsError when storage cannot be reached, DeclaredDead when it is too late.
        """
        async with self._lock:
            await self._beat()

    async def _beat(self) -> None:
        timeout = self._wanted_timeout()
        began = self._clock()
        self._number += 1
        # the beat may count even if no answer comes
        self._timeout = min(self._timeout, timeout)
        try:
            # one call that hangs must not be the gateway's death: there is time for another
            async with asyncio.timeout(max(_SHORTEST_TRY, timeout / 1000 / _BEATS_PER_TIMEOUT)):
                item = await beat(self._aws, self._service, self._gateway_id, self._number, timeout)
        except TimeoutError as error:
            raise Unavailable("dynamodb", "update_item", "Timeout", "no answer to a beat") from error
        if item is None:
            raise DeclaredDead(f"gateway {self._gateway_id} was declared dead before beat {self._number}")
        if not self._armed or timeout < self._armed or self._timer_lost(item):
            timer = GatewayTimer(self._gateway_id, item.beat, item.timer)
            await send_timer(self._aws, self._service, encode_timer(timer), timeout / 1000)
        self._armed = timeout
        self._timeout = timeout
        self._beaten = began
        if self.is_alive:
            self._fresh.set()
            held, self._held = self._held, []
            for send, data in held:
                send(data)

    async def end(self) -> None:
        """The last beat, which may stand still for no time, and a timer that comes due at once: the reaper need not
        wait to find this gateway dead, and sessions that are still attached have their whole timeout from now on. To
        be called when nothing is shown to any client any more. Raises AwsError."""
        async with self._lock:
            self._number += 1
            self._timeout = ENDED
            item = await beat(self._aws, self._service, self._gateway_id, self._number, ENDED)
            if item is not None:
                timer = GatewayTimer(self._gateway_id, item.beat, item.timer)
                await send_timer(self._aws, self._service, encode_timer(timer), 0)

    async def run(self) -> None:
        """Beats until cancelled. Raises DeclaredDead."""
        while True:
            try:
                await self.beat()
                pause = self._timeout / 1000 / _BEATS_PER_TIMEOUT
            except AwsError as error:
                logger.warning("beat %d failed: %s", self._number, error)
                pause = 0.2
            self._sooner.clear()
            # not wait_for: in Python 3.11 it swallows a cancellation that comes together with what is waited for
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._sooner.wait()

    def _wanted_timeout(self) -> int:
        """Half the shortest session timeout: timers that stand that far apart notice a death within a whole one."""
        return min([RELAXED_TIMEOUT, *(timeout // 2 for timeout in self._owners.values())])

    def _timer_lost(self, item: GatewayItem) -> bool:
        number, since = self._timer
        if item.timer != number:
            self._timer = (item.timer, self._clock())
            return False
        if self._clock() - since > _TIMERS_LATE * self._timeout / 1000:
            self._timer = (item.timer, self._clock())
            return True
        return False


def _makes_ephemeral(operation: Operation) -> bool:
    if isinstance(operation, Multi):
        return any(_makes_ephemeral(part) for part in operation.operations)
    mode = CREATE_MODES.get(operation.flags) if isinstance(operation, Create) else None
    return mode is not None and mode.kind is ZnodeKind.EPHEMERAL
