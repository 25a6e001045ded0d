"""A whole service in one event loop: gateways on TCP ports, the sequencer and the reaper on their real queues.

What Lambda does - receive, invoke, delete - is done by two tasks here, so that a test can hold it up, and every gateway
can have an Aws of its own that fails or stalls.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from faaskeeper.blocks.aws import Aws, BotoAws, Response
from faaskeeper.blocks.clock import boot_time
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.reaper.function import look_at
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.server import Server
from tests.event_source import EventSource, Record
from tests.functions.stage import Stage

from .wire import PATIENCE, Zk

T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(100):
            return await work

    return asyncio.run(bounded())


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> float:
    """Asks storage until it is so, where nothing tells of it; the seconds that took."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < PATIENCE, f"never: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def true(value: bool) -> bool:
    """For ``eventually``, of what is known here."""
    return value


Hook = Callable[[str, dict[str, Any]], Awaitable[None]]


class Tap:
    """An Aws that can be held up, or made to fail, call by call. ``answer`` may change what calls return."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.answer: Callable[[str, Response], Response] = lambda operation, response: response
        self.calls: Counter[str] = Counter()

    def deafen(self) -> asyncio.Event:
        """What is received arrives once the event is set. Takes the place of ``after``."""
        listening = asyncio.Event()

        async def late(operation: str, parameters: dict[str, Any]) -> None:
            if operation == "receive_message":
                await listening.wait()

        self.after = late
        return listening

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        self.calls[operation] += 1
        if self.before is not None:
            await self.before(operation, parameters)
        response = await self._aws.call(service, operation, **parameters)
        if self.after is not None:
            await self.after(operation, parameters)
        return self.answer(operation, response)


class Served:
    """A gateway on a port of its own. ``around`` may put something between the gateway and its Aws."""

    def __init__(
        self,
        aws: Aws,
        stage: Stage,
        around: Callable[[Aws], Aws] = lambda aws: aws,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self.tap = Tap(aws)
        self.aws = around(self.tap)
        self.ahead = 0.0
        """Seconds by which the gateway's clock is ahead."""
        self.asleep = 0.0
        """Seconds by which the gateway's other clock is ahead."""
        self.gateway = Gateway(
            self.aws,
            stage.service,
            clock=lambda: boot_time() + self.ahead,
            wall=lambda: time.time() + self.asleep,
            cache_bytes=cache_bytes,
        )
        self._server = Server(self.gateway)
        self._killed = False
        self.port = 0

    async def start(self) -> Served:
        await self.gateway.start()
        _, self.port = await self._server.listen("127.0.0.1", 0)
        return self

    async def connect(self, **how: Any) -> Zk:
        return await Zk.connect(self.port, **how)

    async def begins_anew(self, id: str) -> None:
        """Returns once the gateway lives under another id than ``id``."""
        await eventually(lambda: true(self.gateway.life.id != id and self.gateway.life.liveness.is_alive), "a new life")

    async def kill(self) -> None:
        """As when its machine goes: nothing is told to anybody, and nothing of it is called any more."""

        async def silence(operation: str, parameters: dict[str, Any]) -> None:
            await asyncio.Event().wait()

        self.tap.before = silence
        self._killed = True
        self._server.close()
        for connection in list(self.gateway.connections):
            connection.close()
        for task in list(self.gateway.tasks):
            task.cancel()

    async def stop(self) -> None:
        self._server.close()
        if not self._killed:
            await self.gateway.stop()


class Ensemble:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tap = Tap(stage.aws)
        """The sequencer's Aws."""
        self.gateways: list[Served] = []
        self.sequencing = asyncio.Event()
        """While it is clear, the sequencer takes nothing more."""
        self.sequencing.set()

    async def gateway(
        self, around: Callable[[Aws], Aws] = lambda aws: aws, cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> Served:
        served = await Served(self.stage.aws, self.stage, around, cache_bytes).start()
        self.gateways.append(served)
        return served

    async def run_sequencer(self) -> None:
        await self.stage.requests.run(self.stage.sequencer(self.tap).invoke, gate=self.sequencing)

    async def run_reaper(self) -> None:
        aws, service = self.stage.aws, self.stage.service

        async def look(records: list[Record]) -> list[Record]:
            return await look_at(aws, service, records, FunctionMetrics())

        await EventSource(aws, service.timers).run(look)


@asynccontextmanager
async def ensemble(aws: BotoAws, **limits: Any) -> AsyncGenerator[Ensemble]:
    whole = Ensemble(await Stage.create(aws, **limits))
    parts = [asyncio.create_task(whole.run_sequencer()), asyncio.create_task(whole.run_reaper())]
    try:
        yield whole
        for part in parts:
            assert not part.done(), part
    finally:
        for served in whole.gateways:
            await served.stop()
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
