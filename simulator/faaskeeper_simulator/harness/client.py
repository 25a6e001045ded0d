"""A ZooKeeper client as libraries are (org.apache.zookeeper.ClientCnxn): it keeps its session through connections that
come and go, sets its watches anew, and tells its user of every request whether it succeeded, failed, or may have done
either."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import ClassVar

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind
from faaskeeper.znode.operations import CloseSession
from faaskeeper_client.wire.requests import (
    AddWatch,
    Body,
    Exists,
    GetChildren,
    GetData,
    RemoveWatches,
    SetWatches,
    WatcherType,
)
from faaskeeper_simulator.cloud import Cloud
from faaskeeper_simulator.harness import wire
from faaskeeper_simulator.harness.gateways import Slot
from faaskeeper_simulator.harness.history import Call, Connection, History, Notification, Pong
from faaskeeper_simulator.harness.links import Link, Receiver

_LENGTH = Struct(">i")
_NO_PASSWORD = bytes(16)


class ConnectionLost(Exception):
    """The request may have taken effect, or may yet."""


class SessionExpired(Exception):
    """The session is over, and with it its ephemerals and watches. The next request is made in a new one."""


class Watching:
    """What the client watches, to be set again on the next connection (ZKWatchManager)."""

    def __init__(self) -> None:
        self.data: set[str] = set()
        self.exist: set[str] = set()
        self.child: set[str] = set()
        self.persistent: set[str] = set()
        self.recursive: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self.data or self.exist or self.child or self.persistent or self.recursive)

    def answered(self, body: Body, code: Code) -> None:
        match body:
            case Exists(path=path, watch=True) if code is Code.OK:
                self.data.add(path)
            case Exists(path=path, watch=True) if code is Code.NO_NODE:
                self.exist.add(path)
            case GetData(path=path, watch=True) if code is Code.OK:
                self.data.add(path)
            case GetChildren(path=path, watch=True) if code is Code.OK:
                self.child.add(path)
            case AddWatch(path=path, recursive=recursive) if code is Code.OK:
                (self.recursive if recursive else self.persistent).add(path)
            case RemoveWatches(path=path, kind=WatcherType.ANY):
                for kind in (self.data, self.exist, self.child, self.persistent, self.recursive):
                    kind.discard(path)
            case _:
                pass

    def fired(self, kind: EventKind, path: str) -> None:
        if kind is not EventKind.CHILDREN:
            self.data.discard(path)
            self.exist.discard(path)
        if kind in (EventKind.CHILDREN, EventKind.DELETED):
            self.child.discard(path)

    def request(self, last_zxid: int) -> SetWatches:
        lists = (self.data, self.exist, self.child, self.persistent, self.recursive)
        return SetWatches(last_zxid, *(tuple(sorted(paths)) for paths in lists))


class Client:
    """``run`` it in its process. ``on_event`` is told each watch event, ``timeout`` is the session's in ms."""

    network: ClassVar[int] = 10
    """The first byte of its addresses."""

    def __init__(
        self, cloud: Cloud, slots: Sequence[Slot], history: History, name: str, timeout: int, chance: random.Random
    ) -> None:
        self.name = name
        self.process = cloud.process(name)
        self.session = 0
        self.sessions = 0
        self.on_event: Callable[[EventKind, str], None] = lambda kind, path: None
        self.watching = Watching()
        self.timeout = timeout
        self.last_zxid = 0
        self.closed = False
        self.chance = chance
        self.preferred: Slot | None = None
        self._cloud = cloud
        self._slots = slots
        self._history = history
        self._password = _NO_PASSWORD
        self._backlog: deque[tuple[Body, asyncio.Future[Call]]] = deque()
        self._attached: _Attached | None = None

    @property
    def connected(self) -> bool:
        return self._attached is not None and self._attached.established

    @property
    def attachment(self) -> object:
        """The connection, as far as users may know it: another one is another object."""
        return self._attached

    def submit(self, body: Body) -> asyncio.Future[Call]:
        """Sends the request behind all earlier ones, as soon as there is a connection. The future raises
        ConnectionLost, SessionExpired."""
        future: asyncio.Future[Call] = self._cloud.loop.create_future()
        if self.connected:
            assert self._attached is not None
            self._attached.send(body, future)
        else:
            self._backlog.append((body, future))
        return future

    async def call(self, body: Body) -> Call:
        return await self.submit(body)

    def disconnect(self) -> None:
        """Drops the connection; the client will look for another."""
        if self._attached is not None:
            self._attached.drop()

    async def run(self) -> None:
        """Connects again and again until the session is closed."""
        while not self.closed:
            slot = self.preferred or self.chance.choice(self._slots)
            self.preferred = None
            if slot.gateway is not None and slot.process is not None and not slot.process.dead:
                await self._attach(slot)
            if not self.closed:
                await asyncio.sleep(self.chance.uniform(0.001, 0.5))

    async def _attach(self, slot: Slot) -> None:
        number = len(self._history.connections) + 1
        connection = Connection(
            number,
            self.name,
            slot.name,
            f"{self.network}.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            self.session,
            self.last_zxid,
            self._cloud.loop.time(),
        )
        self._history.connections.append(connection)
        attached = self._attached = _Attached(self, connection)
        link = attached.link = self._open(slot, attached, connection.address)
        link.write(wire.connect(self.last_zxid, self.timeout, self.session, self._password))
        keeping = asyncio.get_running_loop().create_task(attached.keep_alive())
        await attached.ended.wait()
        keeping.cancel()
        connection.closed = self._cloud.loop.time()
        self._attached = None
        if connection.refused:
            self._expire()

    def _open(self, slot: Slot, receiver: Receiver, address: str) -> Link:
        assert slot.gateway is not None
        assert slot.process is not None
        link = Link(self._cloud.loop, self.process, slot.process, receiver)
        link.open(slot.gateway, address)
        return link

    def granted(self, answer: wire.Connected, attached: _Attached) -> None:
        connection = attached.connection
        if not answer.session:
            connection.refused = True
            attached.drop()
            return
        if not self.session:
            self.sessions += 1
        self.session, self._password = answer.session, answer.password
        connection.session = answer.session
        connection.timeout = answer.timeout
        connection.established = self._cloud.loop.time()
        if self.watching:
            attached.send(self.watching.request(self.last_zxid), self._cloud.loop.create_future())
        while self._backlog:
            attached.send(*self._backlog.popleft())

    def answered(self, call: Call) -> None:
        assert call.reply is not None
        assert call.zxid is not None
        if call.zxid > 0:
            self.last_zxid = call.zxid
        self.watching.answered(call.body, call.reply.code)
        if isinstance(call.body, CloseSession):
            self.closed = True

    def notified(self, notification: Notification) -> None:
        self.watching.fired(notification.kind, notification.path)
        self.on_event(notification.kind, notification.path)

    def complain(self, text: str) -> None:
        self._history.complaints.append(f"{self._cloud.loop.time():.6f} {self.name}: {text}")

    @property
    def now(self) -> float:
        return self._cloud.loop.time()

    def _expire(self) -> None:
        self.session, self._password, self.last_zxid = 0, _NO_PASSWORD, 0
        self.watching = Watching()
        backlog, self._backlog = self._backlog, deque()
        for _, future in backlog:
            _fail(future, SessionExpired(self.name))


class _Attached:
    """One connection, from the client's side."""

    link: Link

    def __init__(self, client: Client, connection: Connection) -> None:
        self.connection = connection
        self.ended = asyncio.Event()
        self.established = False
        self._client = client
        self._bytes = b""
        self._waiting: deque[tuple[Call, asyncio.Future[Call]]] = deque()
        self._pings: deque[float] = deque()
        self._heard = self._spoke = client.now

    def send(self, body: Body, future: asyncio.Future[Call]) -> None:
        call = Call(self.connection, len(self.connection.calls) + 1, body, self._client.now)
        self.connection.calls.append(call)
        self._waiting.append((call, future))
        self._spoke = self._client.now
        self.link.write(wire.request(self._xid(call), body))

    async def keep_alive(self) -> None:
        """Pings when idle, and gives up on a gateway that is silent (ClientCnxn.SendThread.run)."""
        while True:
            patience = (self.connection.timeout or self._client.timeout) / 1000
            await asyncio.sleep(patience / 6)
            if self._client.now - self._heard > patience * 2 / 3:
                self.drop()
            elif self.established and self._client.now - self._spoke >= patience / 3:
                self._spoke = self._client.now
                self._pings.append(self._client.now)
                self.link.write(wire.ping())

    def drop(self) -> None:
        self.link.close()
        self.lost()

    # Receiver

    def received(self, data: bytes) -> None:
        self._heard = self._client.now
        self._bytes += data
        while len(self._bytes) >= 4 and not self.ended.is_set():
            end = 4 + _LENGTH.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            frame, self._bytes = self._bytes[4:end], self._bytes[end:]
            self._take(frame)

    def lost(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self.established = False
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            _fail(future, ConnectionLost(self.connection.label))

    def _take(self, frame: bytes) -> None:
        if not self.established:
            self.established = True
            self._client.granted(wire.read_connected(frame), self)
            return
        now = self._client.now
        match wire.read_frame(frame):
            case wire.Notice(zxid, kind, path):
                notification = Notification(self.connection, now, zxid, kind, path)
                self.connection.frames.append(notification)
                self._client.notified(notification)
            case wire.Answer(xid=wire.PING_XID, zxid=zxid) if self._pings:
                self.connection.frames.append(Pong(self._pings.popleft(), now, zxid))
            case answer:
                self._answer(answer, now)

    def _answer(self, answer: wire.Answer, now: float) -> None:
        if not self._waiting or self._xid(self._waiting[0][0]) != answer.xid:
            self._client.complain(f"{self.connection.label}: reply with xid {answer.xid} out of turn")
            self.drop()
            return
        call, future = self._waiting.popleft()
        call.answered, call.zxid, call.reply = now, answer.zxid, wire.read_reply(call.body, answer)
        self.connection.frames.append(call)
        self._client.answered(call)
        if not future.done():
            future.set_result(call)

    def _xid(self, call: Call) -> int:
        return wire.FIXED_XIDS.get(type(call.body), call.number)


def _fail(future: asyncio.Future[Call], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody need look
