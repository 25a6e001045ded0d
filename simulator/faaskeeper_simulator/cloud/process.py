"""A simulated operating system process: a gateway, or one instance of a function.

Its code runs in its own context, by which the loop knows what belongs to it. A paused process runs nothing: not
its timers, not the answers that arrive meanwhile. A killed one never runs again, so no ``finally`` and no
``except`` of it has any effect, exactly as after SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from .service import EPOCH

if TYPE_CHECKING:
    from .loop import SimulationLoop

T = TypeVar("T")

CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("simulated process", default=None)


class Killed(BaseException):
    """The process died. Raised to code outside it that waits for one of its calls, and to calls it makes as a ghost."""


class Process:
    """``start`` runs code in the process, ``post`` a callback."""

    def __init__(self, loop: SimulationLoop, name: str, *, mortal: bool = False, clock_skew: float = 0.0) -> None:
        self.name = name
        self.mortal = mortal
        """Whether faults may kill and stall it."""
        self.dead = False
        self.blocked = False
        """True while no callback of this process may run: paused or dead."""
        self.clock_skew = clock_skew
        self.slowness = 1.0
        self._cut: dict[str, float] = {}
        self.context = contextvars.Context()
        self.context.run(CURRENT.set, self)
        self._loop = loop
        self._paused_until = 0.0
        self._held: list[asyncio.Handle] = []
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._remains: list[asyncio.Task[Any]] = []
        self._pending: dict[asyncio.Future[Any], None] = {}
        self._mourners: dict[Callable[[], None], None] = {}
        loop.adopt(self)

    def clock(self) -> float:
        """Its wall clock: Unix time in seconds, off by ``clock_skew``."""
        return EPOCH + self._loop.time() + self.clock_skew

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """A task of this process. Awaiting it from outside never ends if the process is killed."""
        return self._loop.create_task(coroutine, name=name, context=self.context)

    def post(self, callback: Callable[..., Any], *args: Any, delay: float = 0.0) -> asyncio.TimerHandle:
        """Runs a callback in this process ``delay`` seconds from now: how anything from outside must reach it."""
        return self._loop.call_later(delay, callback, *args, context=self.context)

    def pause(self, seconds: float = float("inf")) -> None:
        """Nothing of it runs for that long. Its requests under way still take effect."""
        if self.dead or self._loop.closing:
            return
        self.blocked = True
        until = self._loop.time() + seconds
        if until > self._paused_until:
            self._paused_until = until
            if seconds != float("inf"):
                self._loop.call_at(until, self._wake, context=contextvars.Context())

    def resume(self) -> None:
        """Ends a pause: what became ready meanwhile runs now, in order, timers late."""
        if self.dead or not self.blocked:
            return
        self._paused_until = 0.0
        self.blocked = False
        held, self._held = self._held, []
        self._loop.requeue(held)

    @property
    def paused_until(self) -> float:
        """When the pause under way ends, in virtual seconds; 0 if there is none."""
        return self._paused_until

    def kill(self) -> None:
        """SIGKILL. Requests under way still take effect; their answers reach nobody."""
        if self.dead or self._loop.closing:
            return
        self.dead = self.blocked = True
        # kept, or the collector would close them, which runs their code
        self._remains = list(self.tasks)
        pending, self._pending = self._pending, {}
        for future in pending:
            if not future.done():
                future.set_exception(Killed(self.name))
                future.exception()  # else asyncio complains that nobody looked
        mourners, self._mourners = self._mourners, {}
        for mourner in mourners:
            mourner()

    def when_killed(self, callback: Callable[[], None]) -> None:
        self._mourners[callback] = None

    def forget_when_killed(self, callback: Callable[[], None]) -> None:
        self._mourners.pop(callback, None)

    def partition(self, seconds: float, service: str = "") -> None:
        """Cut off from AWS, or from one service of it, for that long: its requests are lost, and so are the answers to
        those under way."""
        self._cut[service] = max(self._cut.get(service, 0.0), self._loop.time() + seconds)

    def cut_off(self, service: str) -> bool:
        """Whether it now is."""
        now = self._loop.time()
        return bool(self._cut) and (now < self._cut.get("", 0.0) or now < self._cut.get(service, 0.0))

    def heal(self) -> None:
        self._cut.clear()

    def slow(self, factor: float) -> None:
        """Multiplies the latency of its calls from now on; 1.0 is normal."""
        self.slowness = factor

    def expect(self, future: asyncio.Future[Any]) -> None:
        """``future`` is the answer to a call of this process: it fails with Killed if the process dies first."""
        self._pending[future] = None

    def answered(self, future: asyncio.Future[Any]) -> None:
        self._pending.pop(future, None)

    def hold(self, handle: asyncio.Handle) -> None:
        """Keeps a callback until the pause ends."""
        self._held.append(handle)

    def release_for_unwinding(self) -> None:
        """The run is over: lets everything go on, so that it can end."""
        self.blocked = False
        held, self._held = self._held, []
        self._loop.requeue(held)

    def _wake(self) -> None:
        if self._loop.time() >= self._paused_until:
            self.resume()
