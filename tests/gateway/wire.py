"""A ZooKeeper client that hides nothing: everything that comes is kept in the order in which it came."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.wire import raw
from tests.wire.raw import Values, boolean, int32, int64, string, strings

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which something that has to come is taken for lost."""

CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4
CREATE, DELETE, EXISTS, GET, SET, GET_ACL, SET_ACL, LIST, SYNC = 1, 2, 3, 4, 5, 6, 7, 8, 9
PING, LIST2, MULTI, CLOSE, AUTH, SET_WATCHES, EPHEMERALS, ADD_WATCH = 11, 12, 14, -11, 100, 101, 103, 106
ALL_CHILDREN_NUMBER = 104
EPHEMERAL, SEQUENTIAL = 1, 2

OK, NO_NODE, BAD_VERSION, NODE_EXISTS, SYSTEM_ERROR = 0, -101, -103, -110, -1


@dataclass(frozen=True, slots=True)
class Event:
    kind: int
    path: str
    zxid: int


@dataclass(frozen=True, slots=True)
class Stat:
    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    owner: int
    length: int
    children: int
    pzxid: int


@dataclass(frozen=True, slots=True)
class Reply:
    xid: int
    zxid: int
    error: int
    body: bytes = field(repr=False)

    @property
    def values(self) -> Values:
        return Values(self.body)

    @property
    def data(self) -> bytes | None:
        """Of a getData."""
        return self.values.buffer()

    @property
    def stat(self) -> Stat:
        """Of any reply that ends with one."""
        return Stat(*Values(self.body[-68:]).stat())

    @property
    def path(self) -> str:
        return self.values.string()

    @property
    def names(self) -> list[str]:
        return sorted(self.values.strings())


async def patiently(work: asyncio.Future[T] | asyncio.Task[T]) -> T:
    return await asyncio.wait_for(work, PATIENCE)


class Zk:
    """``log`` has the events and replies in the order in which they came; pings are left out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.log: list[Event | Reply] = []
        self.session = 0
        self.password = bytes(16)
        self.negotiated = 0
        self.pings = 0
        self._reader = reader
        self._writer = writer
        self._xids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def dial(cls, port: int) -> Zk:
        """A connection without a session."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))

    @classmethod
    async def connect(
        cls, port: int, *, session: int = 0, password: bytes = bytes(16), lasts: int = 10_000, seen: int = 0
    ) -> Zk:
        """With a session, new or resumed; ``lasts`` is the timeout asked for in ms. Raises ConnectionError."""
        zk = await cls.dial(port)
        await zk.shake_hands(session=session, password=password, lasts=lasts, seen=seen)
        return zk

    async def shake_hands(
        self, *, session: int = 0, password: bytes = bytes(16), lasts: int = 10_000, seen: int = 0
    ) -> None:
        self.write(int32(0) + int64(seen) + int32(lasts) + int64(session) + string(password) + boolean(False))
        try:
            answer = Values(await asyncio.wait_for(self._frame(), PATIENCE))
        except asyncio.IncompleteReadError:
            raise ConnectionError("closed without an answer") from None
        answer.int32()
        self.negotiated, self.session = answer.int32(), answer.int64()
        self.password = answer.buffer() or b""
        if self.session == 0:
            raise ConnectionError("session expired")
        self._task = asyncio.create_task(self._read())

    async def until_hung_up(self) -> None:
        """Of a connection without a session, on which nothing comes."""
        assert await asyncio.wait_for(self._reader.read(), PATIENCE) == b""

    async def resume(self, port: int, *, lasts: int = 10_000, seen: int | None = None) -> Zk:
        """The same session through another connection."""
        seen = max((entry.zxid for entry in self.log), default=0) if seen is None else seen
        return await Zk.connect(port, session=self.session, password=self.password, lasts=lasts, seen=seen)

    def write(self, body: bytes) -> None:
        self._writer.write(int32(len(body)) + body)

    def write_raw(self, data: bytes) -> None:
        self._writer.write(data)

    async def hang_up(self) -> None:
        """Closes the socket; the session lives."""
        self._writer.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def stop_reading(self) -> None:
        """From the next frame on nothing is taken from the socket, until ``go_on_reading``."""
        self._reads.clear()

    def go_on_reading(self) -> None:
        self._reads.set()

    def send(self, op: int, body: bytes = b"") -> asyncio.Future[Reply]:
        """Pipelined: the future is the reply's, and fails with ConnectionError when the connection ends."""
        xid = next(self._xids)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self._closed.is_set():
            future.set_exception(ConnectionError("closed"))
            return future
        self._waiting[xid] = future
        self.write(int32(xid) + int32(op) + body)
        return future

    async def call(self, op: int, body: bytes = b"") -> Reply:
        return await patiently(self.send(op, body))

    def ping(self) -> None:
        self.write(int32(-2) + int32(PING))

    # requests, as bodies of their own so that they can be pipelined too

    async def create(self, path: str, data: bytes = b"", flags: int = 0) -> Reply:
        return await self.call(CREATE, creation(path, data, flags))

    async def delete(self, path: str, version: int = -1) -> Reply:
        return await self.call(DELETE, string(path) + int32(version))

    async def set(self, path: str, data: bytes, version: int = -1) -> Reply:
        return await self.call(SET, setting(path, data, version))

    async def get(self, path: str, watch: bool = False) -> Reply:
        return await self.call(GET, reading(path, watch))

    async def exists(self, path: str, watch: bool = False) -> Reply:
        return await self.call(EXISTS, reading(path, watch))

    async def children(self, path: str, watch: bool = False) -> Reply:
        return await self.call(LIST, reading(path, watch))

    async def sync(self, path: str = "/") -> Reply:
        return await self.call(SYNC, string(path))

    async def add_watch(self, path: str, recursive: bool) -> Reply:
        return await self.call(ADD_WATCH, string(path) + int32(int(recursive)))

    async def set_watches(
        self, seen: int, data: tuple[str, ...] = (), exist: tuple[str, ...] = (), child: tuple[str, ...] = ()
    ) -> Reply:
        """Replies to this have the xid -8."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[-8] = future
        self.write(int32(-8) + int32(SET_WATCHES) + int64(seen) + strings(*data) + strings(*exist) + strings(*child))
        return await patiently(future)

    async def close(self) -> None:
        await self.call(CLOSE)
        await self.until_closed()

    # what came

    @property
    def events(self) -> list[Event]:
        return [entry for entry in self.log if isinstance(entry, Event)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Looks at every change of the log."""

        async def wait() -> None:
            while not condition():
                self._changed.clear()
                if self._closed.is_set():
                    raise ConnectionError("closed")
                await self._changed.wait()

        await asyncio.wait_for(wait(), PATIENCE)

    async def event(self, kind: int, path: str) -> Event:
        """The first such event, once it is there."""
        await self.until(lambda: any((event.kind, event.path) == (kind, path) for event in self.events))
        return next(event for event in self.events if (event.kind, event.path) == (kind, path))

    async def until_closed(self) -> None:
        await asyncio.wait_for(self._closed.wait(), PATIENCE)

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    async def _frame(self) -> bytes:
        length = Values(await self._reader.readexactly(4)).int32()
        return await self._reader.readexactly(length)

    async def _read(self) -> None:
        try:
            while True:
                await self._reads.wait()
                self._take(await self._frame())
                self._changed.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._closed.set()
            self._changed.set()
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError("closed"))
                    future.exception()  # whoever does not wait need not be told
            self._waiting.clear()

    def _take(self, frame: bytes) -> None:
        header = Values(frame)
        xid, zxid, error = header.int32(), header.int64(), header.int32()
        if xid == -1:
            kind, _state, path = header.int32(), header.int32(), header.string()
            self.log.append(Event(kind, path, zxid))
            return
        if xid == -2:
            self.pings += 1
            return
        reply = Reply(xid, zxid, error, header.rest)
        self.log.append(reply)
        future = self._waiting.pop(xid, None)
        if future is not None and not future.done():
            future.set_result(reply)


def creation(path: str, data: bytes = b"", flags: int = 0) -> bytes:
    return raw.create(path, flags, data=data)


def setting(path: str, data: bytes, version: int = -1) -> bytes:
    return string(path) + string(data) + int32(version)


def reading(path: str, watch: bool = False) -> bytes:
    return string(path) + boolean(watch)
