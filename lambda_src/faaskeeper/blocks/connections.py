"""HTTP/1.1 over connections that are kept open, on asyncio's streams.

One request at a time a connection, and nothing is ever sent twice: who gets no answer is told so.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from faaskeeper.blocks.clock import boot_time

MAX_IDLE_SECONDS = 60.0
"""Seconds for which an unused connection is kept, those while the machine slept included: one that a NAT gateway or a
server has given up in silence costs a timeout."""
_BUFFER_BYTES = 1 << 20


class Origin(NamedTuple):
    """Where a connection goes; ``tls`` is None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class Answer(NamedTuple):
    """``headers`` have lower-case names; of a name that comes twice, the last."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._used = boot_time()
        self._open = True

    @property
    def fresh(self) -> bool:
        """Whether a request may be sent on it. What can be read although nothing was asked is the server's end; the
        event loop has not read it yet if it stood still, as a function's does between invocations."""
        if not self._open or self._writer.transport.is_closing() or self._reader.at_eof():
            return False
        if boot_time() - self._used > MAX_IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def exchange(self, request: bytes, seconds: float) -> Answer:
        """Sends ``request``, head and body, before it first waits, and returns its answer. Raises TimeoutError after
        ``seconds``, OSError, EOFError, or ValueError for what is not HTTP."""
        self._open = False
        async with asyncio.timeout(seconds):
            self._writer.write(request)
            version, status, headers = await self._head()
            while status < 200:
                version, status, headers = await self._head()
            body, ended = await self._body(status, headers)
        self._used = boot_time()
        self._open = ended and version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Answer(status, headers, body)

    def close(self) -> None:
        self._open = False
        self._writer.transport.abort()

    async def _head(self) -> tuple[str, int, dict[str, str]]:
        first, *lines = (await self._until(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        version, status, *_ = first.split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise ValueError(f"{first[:100]!r} is no HTTP/1 status line")
        pairs = (line.partition(":") for line in lines)
        return version, int(status), {name.lower(): value.strip() for name, _, value in pairs}

    async def _body(self, status: int, headers: dict[str, str]) -> tuple[bytes, bool]:
        """And whether its end was told by anything but the connection's."""
        if status in (204, 304):
            return b"", True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join([chunk async for chunk in self._chunks()]), True
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"])), True
        return await self._reader.read(), False

    async def _chunks(self) -> AsyncGenerator[bytes]:
        while size := int((await self._until(b"\r\n")).partition(b";")[0], 16):
            yield await self._reader.readexactly(size)
            await self._until(b"\r\n")
        while await self._until(b"\r\n") != b"\r\n":
            pass  # trailers

    async def _until(self, end: bytes) -> bytes:
        try:
            return await self._reader.readuntil(end)
        except asyncio.LimitOverrunError as error:
            raise ValueError(f"an answer's head is longer than {_BUFFER_BYTES} bytes") from error


class Connections:
    """Of one event loop, at most ``most`` at a time; who wants one more waits."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._kept: dict[Origin, list[Connection]] = {}

    @asynccontextmanager
    async def borrow(self, origin: Origin, seconds: float) -> AsyncGenerator[Connection]:
        """A connection for one exchange; opening one takes at most ``seconds``. Raises OSError, TimeoutError."""
        async with self._free:
            connection = self._take(origin) or await _open(origin, seconds)
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            if connection.fresh:
                self._kept.setdefault(origin, []).append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Those that nobody uses."""
        for connections in self._kept.values():
            for connection in connections:
                connection.close()
        self._kept.clear()

    def _take(self, origin: Origin) -> Connection | None:
        kept = self._kept.get(origin, [])
        while kept:
            connection = kept.pop()
            if connection.fresh:
                return connection
            connection.close()
        return None


async def _open(origin: Origin, seconds: float) -> Connection:
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(
            origin.host, origin.port, ssl=origin.tls, limit=_BUFFER_BYTES, happy_eyeballs_delay=0.25
        )
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Connection(reader, writer)


class ConnectionsByLoop:
    """The Connections of whatever event loop asks: streams belong to the loop that opened them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_loop: dict[asyncio.AbstractEventLoop, Connections] = {}

    def get(self) -> Connections:
        """Of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            for other in list(self._by_loop):
                if other.is_closed():
                    self._by_loop.pop(other, None)
            found = self._by_loop[loop] = Connections(self._most)
        return found

    def close(self) -> None:
        """Connections under way are closed by who uses them; those of a loop that is closed went with it."""
        for loop, connections in list(self._by_loop.items()):
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(connections.close)
        self._by_loop.clear()
