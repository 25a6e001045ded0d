"""Tasks that somebody keeps, and tasks that are waited for together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Keeps tasks until they end: the event loop alone would not keep them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(list(self._running))

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


async def gather(work: Iterable[Coroutine[Any, Any, T]], at_once: int) -> list[T]:
    """The results, in order, of at most ``at_once`` coroutines at a time. Raises what one of them raises; then the
    others have been cancelled."""
    limit = asyncio.Semaphore(at_once)

    async def bounded(one: Coroutine[Any, Any, T]) -> T:
        async with limit:
            return await one

    coroutines = list(work)
    tasks = [asyncio.ensure_future(bounded(one)) for one in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in coroutines:
            one.close()
