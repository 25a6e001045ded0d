"""A ZooKeeper session with the gateway of this process: no socket, the same frames, and so the same ACLs and order."""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from contextlib import suppress
from struct import Struct
from typing import Any, NamedTuple

from kazoo.protocol.serialization import Auth, Close, Connect, Ping, read_string, write_string

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind
from faaskeeper_client.http.gateway_view import GatewayView
from faaskeeper_client.wire.four_letter import Command
from faaskeeper_client.wire.requests import Op

TIMEOUT = 30_000
"""ms."""
_PINGS_PER_TIMEOUT = 3
_INT = Struct(">i")
_HEADER = Struct(">iqi")
_REQUEST = Struct(">ii")
_EVENT = Struct(">ii")
_EVENT_XID, _PING_XID, _AUTH_XID = -1, -2, -4
_RECURSIVE = 1


class SessionLost(Exception):
    """The gateway has closed the connection: the service cannot be reached, or the session is over."""


class Refused(Exception):
    """ZooKeeper's answer is ``code``."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class Change(NamedTuple):
    kind: EventKind
    path: str
    zxid: int


class Session:
    """``changed`` is told what a watch sees, ``ended`` once when the session is over for this end. Credentials are
    USER:PASSWORD of the scheme digest."""

    def __init__(
        self,
        gateway: GatewayView,
        address: tuple[str, int],
        changed: Callable[[Change], None],
        ended: Callable[[], None],
    ) -> None:
        self._changed = changed
        self._ended = ended
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._connected: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._xids = itertools.count(1)
        self._open = True
        self._pings: asyncio.Task[None] | None = None
        self._line = gateway.connect(self, address)

    @property
    def is_open(self) -> bool:
        return self._open

    async def start(self, credentials: Collection[str]) -> None:
        """Raises SessionLost."""
        self._send(bytes(Connect(0, 0, TIMEOUT, 0, bytes(16), False).serialize()))
        await self._connected
        self._pings = asyncio.get_running_loop().create_task(self._ping())
        for credential in credentials:
            await self._request(Auth.type, bytes(Auth(0, "digest", credential).serialize()), _AUTH_XID)

    async def ask(self, request: Any) -> Any:
        """One of kazoo's requests; what its reply says. Raises Refused, SessionLost."""
        reply = await self._request(request.type, bytes(request.serialize()), next(self._xids))
        return request.deserialize(reply, 0)

    async def create(self, request: Any, op: int, more: bytes = b"") -> str:
        """kazoo's Create as another operation of the same form, with ``more`` at its end; the path that was made.
        Raises Refused, SessionLost."""
        reply = await self._request(op, bytes(request.serialize()) + more, next(self._xids))
        return _string(reply, 0)

    async def watch_all(self, path: str) -> None:
        """Persistently and recursively. Raises Refused, SessionLost."""
        await self._request(Op.ADD_WATCH, write_string(path) + _INT.pack(_RECURSIVE), next(self._xids))

    async def stop(self) -> None:
        """Closes the session. Returns also if the service cannot be reached; then the session ends by its timeout."""
        if self._open:
            with suppress(Refused, SessionLost):
                await self._request(Close.type, b"", next(self._xids))
            self._line.close()
        self.close()

    def send(self, data: bytes) -> None:
        """Frames from the gateway."""
        while data:
            end = 4 + _INT.unpack_from(data)[0]
            self._take(data[4:end])
            data = data[end:]

    def answer(self, command: Command) -> None:
        """Four-letter words are not asked here."""

    def drained(self) -> None:
        """Nobody waits for that: a person asks for little at a time."""

    def close(self) -> None:
        """The gateway has closed the connection."""
        if not self._open:
            return
        self._open = False
        if self._pings is not None:
            self._pings.cancel()
        for future in [self._connected, *self._waiting.values()]:
            if not future.done():
                future.set_exception(SessionLost("the gateway closed the connection"))
                future.exception()  # whoever waits gets it; if nobody does, it is no news
        self._waiting.clear()
        self._ended()

    def _take(self, frame: bytes) -> None:
        if not self._connected.done():
            self._connected.set_result(frame)
            return
        xid, zxid, error = _HEADER.unpack_from(frame)
        if xid == _EVENT_XID:
            kind, _ = _EVENT.unpack_from(frame, _HEADER.size)
            path = _string(frame, _HEADER.size + _EVENT.size)
            self._changed(Change(EventKind(kind), path, zxid))
            return
        future = self._waiting.pop(xid, None)
        if future is None or future.done():
            return
        if error:
            future.set_exception(Refused(Code(error)))
        else:
            future.set_result(frame[_HEADER.size :])

    async def _request(self, op: int, body: bytes, xid: int) -> bytes:
        if not self._open:
            raise SessionLost("the session is over")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[xid] = future
        self._send(_REQUEST.pack(xid, op) + body)
        return await future

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(TIMEOUT / 1000 / _PINGS_PER_TIMEOUT)
            self._send(_REQUEST.pack(_PING_XID, Ping.type))

    def _send(self, body: bytes) -> None:
        self._line.feed(_INT.pack(len(body)) + body)


def _string(data: bytes, at: int) -> str:
    text, _ = read_string(data, at)
    assert text is not None
    return text
