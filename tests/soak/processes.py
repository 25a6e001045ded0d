"""Real processes and sockets in the places of simulated ones, so that the simulation's clients run on them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.links import Receiver

T = TypeVar("T")

_LONGEST_START = 40.0


class Process:
    """A client's: tasks of this program, which end together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._mourners: list[Callable[[], None]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def post(self, callback: Callable[..., Any], *args: Any) -> None:
        asyncio.get_running_loop().call_soon(callback, *args)

    def when_killed(self, callback: Callable[[], None]) -> None:
        self._mourners.append(callback)

    def kill(self) -> None:
        """Its sockets close, nothing of it runs any more."""
        if self.dead:
            return
        self.dead = True
        for mourner in self._mourners:
            mourner()
        for task in list(self._tasks):
            task.cancel()


class Ground:
    """What a client needs of a cloud: the loop, and a process."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def process(self, name: str) -> Process:
        return Process(name)


class Slot:
    """A place where a gateway runs as a process of its own, started again some time after it died.

    ``gateway`` is its port, None while none is up.
    """

    RESTART: ClassVar[tuple[float, float]] = (0.1, 3.0)

    def __init__(self, name: str, service: str, environment: dict[str, str], log: Path, chance: random.Random) -> None:
        self.name = name
        self.gateway: int | None = None
        self.process = Process(name)
        self.deaths = 0
        self.log = log
        self._service = service
        self._environment = environment
        self._chance = chance
        self._running: asyncio.subprocess.Process | None = None

    async def keep_up(self) -> None:
        """Until cancelled; a gateway that cannot start is started again, as any supervisor would."""
        try:
            while True:
                await self._serve()
                self.gateway = None
                self.deaths += 1
                await asyncio.sleep(self._chance.uniform(*self.RESTART))
        finally:
            self.kill()

    async def _serve(self) -> None:
        command = ("-m", "faaskeeper_client.cli", "gateway", "--service", self._service, "--listen", "127.0.0.1:0")
        with self.log.open("ab") as log:
            self._running = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                env=os.environ | self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_LONGEST_START):
                line = (await process.stdout.readline()).decode()
        except TimeoutError:
            self.kill()
        else:
            if line.startswith("ready "):
                self.gateway = int(line.rpartition(":")[2])
        await process.wait()

    @property
    def pid(self) -> int | None:
        return self._running.pid if self._running is not None and self._running.returncode is None else None

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Link(asyncio.Protocol):
    """A client's connection to a gateway. Linux has all of 127/8, so that each has an address of its own."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._closed = False

    async def open(self, port: int, address: str) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port, local_addr=(address, 0))
        except OSError:
            self._receiver.lost()

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting.append(data)
        elif not self._closed:
            self._transport.write(data)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._closed:
            transport.abort()
        else:
            transport.write(b"".join(self._waiting))

    def data_received(self, data: bytes) -> None:
        if not self._closed:
            self._receiver.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.lost()


class TcpClient(Client):
    """The simulation's client on real sockets."""

    network = 127

    def _open(self, slot: Any, receiver: Receiver, address: str) -> Any:
        link = Link(receiver)
        self.process.when_killed(link.close)
        self.process.start(link.open(slot.gateway, address))  # type: ignore[arg-type]
        return link
