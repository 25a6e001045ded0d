"""TCP between simulated processes, so that servers and clients written for asyncio run unchanged.

Bytes arrive in order after a short latency. A killed process's connections are reset, a paused one's bytes wait for
it, and while two processes are cut off from each other their bytes wait as for TCP's retransmission.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .process import CURRENT, Process

if TYPE_CHECKING:
    from .loop import SimulationLoop

LATENCY: Final = (0.00003, 0.0005)
"""Seconds one way; the gateway is beside the application, or in its zone."""
CONNECT_TIMEOUT: Final = 20.0
_FIRST_FREE_PORT: Final = 40_000

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Sockets:
    """The ports that are listened on, and the cuts between processes."""

    def __init__(self, loop: SimulationLoop, chance: random.Random) -> None:
        self._loop = loop
        self._chance = chance
        self._listening: dict[int, SimulatedServer] = {}
        self._next_port = _FIRST_FREE_PORT
        self._cuts: dict[frozenset[Process | None], float] = {}

    def cut(self, one: Process | None, other: Process | None, seconds: float) -> None:
        """No bytes pass between the two for that long; None stands for code outside all processes."""
        pair = frozenset((one, other))
        self._cuts[pair] = max(self._cuts.get(pair, 0.0), self._loop.time() + seconds)

    def heal(self, one: Process | None, other: Process | None) -> None:
        self._cuts.pop(frozenset((one, other)), None)

    def arrival(self, one: Process | None, other: Process | None) -> float:
        """When something sent now from one to the other is there."""
        mended = self._cuts.get(frozenset((one, other)), 0.0)
        return max(self._loop.time(), mended) + self._chance.uniform(*LATENCY)

    def free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def listen(self, factory: ProtocolFactory, host: str, port: int) -> SimulatedServer:
        """Raises OSError if the port is taken."""
        port = port or self.free_port()
        if port in self._listening:
            raise OSError(98, f"address already in use: {host}:{port}")
        server = SimulatedServer(self, factory, (host, port), contextvars.copy_context())
        self._listening[port] = server
        owner = CURRENT.get()
        if owner is not None:
            owner.when_killed(server.close)
        return server

    def unlisten(self, port: int) -> None:
        self._listening.pop(port, None)

    async def connect(
        self, factory: ProtocolFactory, host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Raises ConnectionRefusedError, TimeoutError."""
        server = self._listening.get(port)
        arrival = self.arrival(CURRENT.get(), server.owner if server is not None else None)
        if arrival > self._loop.time() + CONNECT_TIMEOUT:
            await asyncio.sleep(CONNECT_TIMEOUT)
            raise TimeoutError(110, f"connection to {host}:{port} timed out")
        await asyncio.sleep(arrival - self._loop.time())
        if server is None or self._listening.get(port) is not server:
            raise ConnectionRefusedError(111, f"nobody listens on {host}:{port}")
        addresses = ("127.0.0.1", self.free_port()), server.address
        near = SimulatedTransport(self._loop, self, contextvars.copy_context(), addresses[0], addresses[1])
        far = SimulatedTransport(self._loop, self, server.context.copy(), addresses[1], addresses[0])
        near.peer, far.peer = far, near
        protocol = factory()
        near.attach(protocol)
        self._loop.call_soon(far.accept, server.factory, context=far.context)
        return near, protocol


class SimulatedServer(asyncio.AbstractServer):
    """Has what programs use of ``asyncio.Server``."""

    def __init__(
        self, sockets: Sockets, factory: ProtocolFactory, address: tuple[str, int], context: contextvars.Context
    ) -> None:
        self.factory = factory
        self.address = address
        self.context = context
        self.sockets = (self,)
        self._sockets = sockets

    @property
    def owner(self) -> Process | None:
        return self.context.get(CURRENT)

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def close(self) -> None:
        self._sockets.unlisten(self.address[1])

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)

    async def start_serving(self) -> None:
        """It serves from the start."""

    def is_serving(self) -> bool:
        return True


class SimulatedTransport(asyncio.Transport):
    """One end of a connection. Its protocol runs in the process that made it."""

    peer: SimulatedTransport

    def __init__(
        self,
        loop: SimulationLoop,
        sockets: Sockets,
        context: contextvars.Context,
        sockname: tuple[str, int],
        peername: tuple[str, int],
    ) -> None:
        super().__init__({"sockname": sockname, "peername": peername})
        self.context = context
        self._loop = loop
        self._sockets = sockets
        self._protocol: Any = None
        self._closing = False
        self._lost = False
        self._reading = True
        self._arrived: list[bytes | None] = []
        self._latest = 0.0
        if self.owner is not None:
            self.owner.when_killed(self._die)

    @property
    def owner(self) -> Process | None:
        return self.context.get(CURRENT)

    def accept(self, factory: ProtocolFactory) -> None:
        self.attach(factory())

    def attach(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    # what protocols call

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing:
            self._send(bytes(data))

    def write_eof(self) -> None:
        self._send(None)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._send(None)
            self._loop.call_soon(self._lose, None, context=self.context)

    def abort(self) -> None:
        self._closing = True
        self._reset_peer()
        self._loop.call_soon(self._lose, None, context=self.context)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._read, context=self.context)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Writes never wait: there is no limit."""

    def get_write_buffer_size(self) -> int:
        return 0

    # the wire

    def _send(self, data: bytes | None) -> None:
        """None is the end of the stream. What was sent later never arrives earlier."""
        self._latest = max(self._latest, self._sockets.arrival(self.owner, self.peer.owner))
        self._loop.call_at(self._latest, self.peer._arrive, data, context=self.peer.context)

    def _arrive(self, data: bytes | None) -> None:
        if not self._lost:
            self._arrived.append(data)
            self._read()

    def _read(self) -> None:
        while self._arrived and self._reading and not self._closing:
            data = self._arrived.pop(0)
            if data is not None:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()

    def _reset_peer(self) -> None:
        arrival = max(self._latest, self._sockets.arrival(self.owner, self.peer.owner))
        self._loop.call_at(
            arrival, self.peer._lose, ConnectionResetError(104, "connection reset by peer"), context=self.peer.context
        )

    def _die(self) -> None:
        """The process was killed: the kernel closes its sockets."""
        if not self._lost:
            self._lost = self._closing = True
            self._reset_peer()

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._protocol.connection_lost(error)
