"""An asyncio event loop whose clock is virtual and whose every choice comes from one seed.

Nothing here waits: when no callback is ready, time jumps to the next timer. There are no threads and no I/O, so a
program that gets its time from ``loop.time()`` and its randomness from ``loop.random`` runs the same way whenever
the seed is the same.

Callbacks belong to the process (``process.Process``) whose context they carry. Within a process they run in the
order asyncio promises (FIFO); between processes that are ready at one instant the seed chooses.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import os
import random
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from weakref import WeakSet

from .process import CURRENT, Process
from .sockets import Sockets

T = TypeVar("T")

_UNWINDING_ROUNDS: Final = 1_000


class SimulationError(RuntimeError):
    """The simulated program cannot go on; the message lists the tasks that were still pending."""


class Deadlock(SimulationError):
    """Nothing is ready and no timer is set, so nothing can ever happen again."""


class OutOfTime(SimulationError):
    """The virtual time limit passed before the program ended."""


class Livelock(SimulationError):
    """Callbacks keep running while no virtual time passes."""


class SimulationTask(asyncio.Task[T]):
    """A task whose hash does not depend on its address: sets of tasks then iterate alike in every run."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        loop: SimulationLoop,
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> None:
        self._serial = loop.next_serial()
        self.owner: Process | None = CURRENT.get() if context is None else context.get(CURRENT)
        super().__init__(coroutine, loop=loop, context=context, **options)
        loop.tasks.add(self)
        if self.owner is not None:
            self.owner.tasks.add(self)

    def __hash__(self) -> int:
        return self._serial


class SimulationFuture(asyncio.Future[T]):
    """A future whose hash does not depend on its address."""

    def __init__(self, *, loop: SimulationLoop) -> None:
        self._serial = loop.next_serial()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


class SimulationLoop(asyncio.BaseEventLoop):
    """``limit`` is the virtual time, in seconds, after which ``OutOfTime`` is raised."""

    callbacks_at_one_instant = 1_000_000
    """More is taken for a program that spins."""

    def __init__(self, seed: int | str, limit: float = float("inf")) -> None:
        super().__init__()
        self.seed = seed
        self.random = random.Random(f"{seed}")
        self.closing = False
        self.unhandled: list[dict[str, Any]] = []
        """What asyncio's exception handler was told: exceptions in callbacks, and of tasks nobody awaited."""
        self._limit = limit
        self._now = 0.0
        self._serial = 0
        self._queue: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._cancelled_timers = 0
        self._ran_at_this_instant = 0
        self._processes: dict[Process, None] = {}
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        """Its own: asyncio.all_tasks goes through those of all loops that the collector has not taken yet."""
        self.sockets = Sockets(self, self.stream("sockets"))
        self.set_task_factory(_make_task)
        self._crash: BaseException | None = None
        self.set_exception_handler(_note_unhandled)
        self.set_debug(False)

    def stream(self, purpose: str) -> random.Random:
        """Random numbers for one purpose, so that drawing more for another does not shift them."""
        return random.Random(f"{self.seed}/{purpose}")

    def next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def adopt(self, process: Process) -> None:
        """Tells the loop of a process whose tasks it must unwind at the end."""
        self._processes[process] = None

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        return SimulationFuture(loop=self)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._queue.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # pyright: ignore[reportAttributeAccessIssue]
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        raise SimulationError(f"{func!r} was sent to a thread; threads have no place in a deterministic simulation")

    async def create_server(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Listens on a simulated port; see ``sockets``. Raises OSError."""
        return self.sockets.listen(protocol_factory, host or "127.0.0.1", port or 0)

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        """Connects to a simulated port. Raises OSError."""
        return await self.sockets.connect(protocol_factory, host or "127.0.0.1", port)

    def requeue(self, handles: list[asyncio.Handle]) -> None:
        """Puts callbacks that a paused process held back into the queue."""
        self._queue.extend(handles)

    def unwind(self) -> None:
        """Ends every pending task by cancelling it; what they do meanwhile reaches nobody."""
        self.closing = True
        self.set_exception_handler(lambda loop, context: None)
        asyncio._set_running_loop(self)
        try:
            self._cancel_everything()
        finally:
            asyncio._set_running_loop(None)
        for task in self._pending_tasks():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore

    def _cancel_everything(self) -> None:
        for process in self._processes:
            process.release_for_unwinding()
        for _ in range(_UNWINDING_ROUNDS):
            pending = self._pending_tasks()
            if not pending:
                break
            for task in pending:
                task.cancel()
            self._run_ready()
            if not self._queue and not self._advance():
                break

    def crash(self, error: BaseException) -> None:
        """The run ends with ``error``."""
        self._crash = error

    def close(self) -> None:
        self._queue.clear()
        self._timers.clear()
        super().close()

    def _run_once(self) -> None:
        if not self._queue and not self._advance():
            raise Deadlock("nothing is ready and no timer is set; " + self._describe_pending())
        self._run_ready()

    def _advance(self) -> bool:
        """Moves time to the next timer and makes ready what is due then. False if there is no timer."""
        timers = self._timers
        while timers:
            when, _, timer = heapq.heappop(timers)
            timer._scheduled = False  # pyright: ignore[reportAttributeAccessIssue]
            if timer._cancelled:  # pyright: ignore
                self._cancelled_timers -= 1
                continue
            if when > self._now:
                if when > self._limit and not self.closing:
                    raise OutOfTime(f"not done after {self._limit} virtual seconds; " + self._describe_pending())
                self._now = when
                self._ran_at_this_instant = 0
            self._queue.append(timer)
            while timers and timers[0][0] <= self._now:
                timer = heapq.heappop(timers)[2]
                timer._scheduled = False  # pyright: ignore[reportAttributeAccessIssue]
                self._queue.append(timer)
            return True
        return False

    def _run_ready(self) -> None:
        ready, self._queue = self._queue, []
        if len(ready) > 1:
            ready = self._choose_order(ready)
        self._ran_at_this_instant += len(ready)
        if self._ran_at_this_instant > self.callbacks_at_one_instant:
            raise Livelock(f"time stands still at {self._now}; " + self._describe_pending())
        current = CURRENT
        for handle in ready:
            if handle._cancelled:  # pyright: ignore
                continue
            process = handle._context.get(current)  # pyright: ignore
            if process is not None and process.blocked:
                process.hold(handle)
            else:
                handle._run()  # pyright: ignore
                if self._crash is not None and not self.closing:
                    raise self._crash

    def _choose_order(self, ready: list[asyncio.Handle]) -> list[asyncio.Handle]:
        """Any order of the processes, but FIFO within each."""
        owners: list[Process | None] = [handle._context.get(CURRENT) for handle in ready]  # pyright: ignore
        distinct = dict.fromkeys(owners)
        if len(distinct) == 1:
            return ready
        rank = {owner: self.random.random() for owner in distinct}
        order = sorted(range(len(ready)), key=lambda index: rank[owners[index]])
        return [ready[index] for index in order]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Forgets cancelled timers once they are the larger part of the heap."""
        self._cancelled_timers += 1
        if self._cancelled_timers > 100 and 2 * self._cancelled_timers > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2]._cancelled]  # pyright: ignore
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _pending_tasks(self) -> list[asyncio.Task[Any]]:
        return sorted((task for task in self.tasks if not task.done()), key=hash)

    def _describe_pending(self) -> str:
        lines = [f"{self._now:.6f} s, {len(self._pending_tasks())} pending tasks:"]
        for task in self._pending_tasks():
            owner = task.owner if isinstance(task, SimulationTask) else None  # pyright: ignore
            frames = task.get_stack(limit=1)
            where = f"{frames[0].f_code.co_qualname}:{frames[0].f_lineno}" if frames else "?"
            lines.append(f"  {task.get_name()} of {owner.name if owner else 'the cloud'} at {where}")
        return "\n".join(lines)


def _note_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback that fails outside all processes is the simulation's own mistake, and ends the run."""
    assert isinstance(loop, SimulationLoop)
    loop.unhandled.append(context)
    handle = context.get("handle")
    if handle is not None and handle._context.get(CURRENT) is None:
        loop.crash(context["exception"])


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    assert isinstance(loop, SimulationLoop)
    return SimulationTask(coroutine, loop=loop, **options)


def running_loop() -> SimulationLoop:
    """The simulation's loop. Raises SimulationError where another kind of loop runs."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimulationLoop):
        raise SimulationError("the simulated cloud needs its own loop: start the program with cloud.run(seed, ...)")
    return loop


def run(seed: int | str, coroutine: Coroutine[Any, Any, T], *, limit: float = float("inf")) -> T:
    """Runs ``coroutine`` to its end in virtual time and returns its result.

    Raises what it raises, Deadlock, Livelock, or OutOfTime after ``limit`` virtual seconds. Tasks that are still
    pending at the end, those of killed processes too, are cancelled: the calls they then make have no effect, but
    judge by what ``coroutine`` returned, not by what they touch then.
    """
    loop = SimulationLoop(seed, limit)
    with _seeded(seed):
        try:
            return loop.run_until_complete(loop.create_task(coroutine))
        finally:
            try:
                loop.unwind()
            finally:
                loop.close()


@contextmanager
def _seeded(seed: int | str) -> Generator[None]:
    """Makes the randomness that programs take from Python itself (random, secrets, uuid4) come from the seed."""
    state = random.getstate()
    system = os.urandom
    stream = random.Random(f"{seed}/system").randbytes
    random.seed(f"{seed}/module")
    os.urandom = random._urandom = stream  # type: ignore[attr-defined, assignment]  # pyright: ignore
    try:
        yield
    finally:
        os.urandom = random._urandom = system  # type: ignore[attr-defined]  # pyright: ignore
        random.setstate(state)
