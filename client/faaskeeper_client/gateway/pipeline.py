"""One connection's requests under way: the order of its requests, replies and events (docs/spec/Pipeline.tla).

Requests overlap as far as ZooKeeper's order allows. Reads run at once, but a reply is sent in its turn, and a read
that was begun before something newer was shown is made again then. A write waits for the replies of the reads
before it, a read for the outcomes of the writes before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from faaskeeper.protocol.messages import Principal, too_many
from faaskeeper.znode.acl import Caller, caller_of, may_read
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Event
from faaskeeper.znode.operations import (
    CloseSession,
    Create,
    Delete,
    Multi,
    Operation,
    Outcome,
    SetAcl,
    SetData,
)
from faaskeeper_client.gateway.life import Life
from faaskeeper_client.gateway.outbox import ConnectionLost
from faaskeeper_client.gateway.read_requests import ReadRequests, Result
from faaskeeper_client.gateway.sessions import LocalSession
from faaskeeper_client.gateway.watches import Registration
from faaskeeper_client.wire import responses
from faaskeeper_client.wire.decoding import decode, is_plain_read
from faaskeeper_client.wire.requests import Auth, Exists, GetChildren, GetData, Ping, Refused, Request, Sasl

T = TypeVar("T")

_MAX_READS = 64
"""Results of one connection that wait for their turn."""
_WRITES = (Create, Delete, SetData, SetAcl, Multi, CloseSession)

_Slot = Callable[[], Awaitable[None]]
"""Sends a reply, in its turn."""


class Channel(Protocol):
    """A connection, as far as its pipeline is concerned."""

    peer: str
    """The client's host."""
    writable: asyncio.Event
    """Set while the client reads what it is sent."""

    @property
    def is_open(self) -> bool: ...

    def write(self, data: bytes) -> None:
        """Sends a whole frame."""
        ...

    def count(self, op: int, xid: int, zxid: int, arrived: float) -> None:
        """Counts a request that ``arrived`` at that second and was answered with ``zxid``."""
        ...

    def drained(self) -> None:
        """There are fewer unanswered requests."""
        ...

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that ends with the connection."""
        ...


class Pipeline:
    """``seen`` is the highest zxid that the client has been shown."""

    def __init__(self, life: Life, channel: Channel, session: LocalSession, seen: int) -> None:
        self._life = life
        self._channel = channel
        self._session = session
        self._seen = seen
        self._credentials: tuple[tuple[str, str], ...] = (("ip", channel.peer),)
        self.caller = self._identified()
        self._kept: list[Event] | None = None
        self._undecided: list[Event] = []
        self._unwritten = 0
        self._last_write: asyncio.Future[Outcome] | None = None
        self._slots: asyncio.Queue[tuple[Request, float, _Slot]] = asyncio.Queue()
        self._unanswered = 0
        self._reads = _Count()
        self._writes = _Count()
        self._read_requests = ReadRequests(life, self)

    @property
    def session_id(self) -> int:
        return self._session.id

    @property
    def unanswered(self) -> int:
        """Requests taken and not answered yet."""
        return self._unanswered

    async def take(self, request: Request, arrived: float) -> None:
        """Begins a request, as soon as those before it let it begin. Raises AwsError, ConnectionLost."""
        body = request.body
        if isinstance(body, Ping):
            self._channel.write(responses.ping(self._seen))
            self._channel.count(request.op, request.xid, self._seen, arrived)
            return
        self._unanswered += 1
        if isinstance(body, _WRITES):
            await self._reads.none()
            await self._write(request, arrived)
        elif isinstance(body, Auth):
            self._put(request, arrived, lambda: self._authenticate(request.xid, body))
            # what follows is asked with the new identity
            await self._slots.join()
        elif isinstance(body, Refused):
            self._put(request, arrived, lambda: self._refuse(request.xid, body))
        elif isinstance(body, Sasl):
            self._put(request, arrived, lambda: self._refuse_sasl(request.xid))
        else:
            await self._writes.none()
            await self._reads.below(_MAX_READS)
            self._read(request, arrived)

    def take_at_once(self, frame: bytes, arrived: float) -> bool:
        """Answers a read of what is known already, without any task. False if that cannot be: then it is to be
        taken like any other."""
        observer = self._life.observer
        if self._unanswered or not self._channel.writable.is_set() or not is_plain_read(frame):
            return False
        request = decode(frame)
        body = request.body
        if self._seen > observer.complete or not isinstance(body, Exists | GetData | GetChildren):
            return False
        result = self._read_requests.at_once(body, request.xid)
        if result is None:
            return False
        self._seen = shown = observer.complete
        self._channel.write(result.encode(shown))
        for registration, _ in result.registrations:
            self._life.watches.complete(registration, shown)
        self._channel.count(request.op, request.xid, shown, arrived)
        return True

    async def answer(self) -> None:
        """Sends the replies in the order of the requests, until the connection is closed. Raises AwsError,
        ConnectionLost."""
        while self._channel.is_open:
            request, arrived, slot = await self._slots.get()
            await self._channel.writable.wait()
            await slot()
            self._channel.count(request.op, request.xid, self._seen, arrived)
            self._slots.task_done()
            self._unanswered -= 1
            self._channel.drained()

    async def ask(self, operation: Operation) -> Outcome:
        """Has the sequencer answer a read. Raises ConnectionLost."""
        return await self._life.outbox.submit(self._principal(), operation)

    def deliver(self, event: Event) -> None:
        if self._kept is not None:
            self._kept.append(event)
        elif self._unwritten:
            # which of the writes under way it comes before, their outcomes will tell
            self._undecided.append(event)
        else:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if may_read(event.acl, self.caller):
            self._seen = max(self._seen, event.zxid)
            self._channel.write(responses.event(event.path, event.kind, event.zxid))

    def _deliver_each(self, events: Iterable[Event]) -> None:
        """In order, and once: what a watch was sent, a new one beside it has missed, but it is one watch."""
        for event in sorted({id(event): event for event in events}.values(), key=lambda event: event.zxid):
            self.deliver(event)

    def _tell_missed(self, event: Event) -> None:
        """An event of the time when the client was away. ZooKeeper tells neither its zxid nor minds the ACL
        (DataTree.setWatches)."""
        self._channel.write(responses.event(event.path, event.kind, responses.NO_ZXID))

    def _put(self, request: Request, arrived: float, slot: _Slot) -> None:
        self._slots.put_nowait((request, arrived, slot))

    def _principal(self) -> Principal:
        session = self._session
        return Principal(session.id, session.epoch, session.password, self._credentials)

    async def _write(self, request: Request, arrived: float) -> None:
        operation = await self._life.claim_check.check_in(request.body)  # type: ignore[arg-type]
        principal = self._principal()
        await self._life.liveness.before_write(self._session, operation)
        if isinstance(operation, CloseSession):
            self._session.closing = True
        if self._last_write is not None and self._last_write.done():
            self._last_write.result()  # nothing is sent behind a request that was lost
        outcome = self._last_write = self._life.outbox.submit(principal, operation)
        self._writes.up()
        outcome.add_done_callback(lambda _: self._writes.down())
        self._unwritten += 1
        self._put(request, arrived, lambda: self._send_outcome(request, outcome))

    async def _send_outcome(self, request: Request, future: asyncio.Future[Outcome]) -> None:
        session = self._session
        outcome = await future
        if outcome.code in (Code.SESSION_EXPIRED, Code.SESSION_MOVED):
            self._life.sessions.remove(session.id, session.epoch)
            raise ConnectionLost(f"session {session.id:#x}: {outcome.code.name}")
        undecided, self._undecided = self._undecided, []
        for event in undecided:
            if event.zxid <= outcome.zxid:
                self._tell(event)
        self._seen = max(self._seen, outcome.zxid)
        self._channel.write(responses.outcome(request, replace(outcome, zxid=self._seen)))
        self._unwritten -= 1
        for event in undecided:
            if event.zxid > outcome.zxid:
                self.deliver(event)
        if isinstance(request.body, CloseSession):
            self._life.sessions.remove(session.id, session.epoch)

    def _read(self, request: Request, arrived: float) -> None:
        self._reads.up()
        task = self._channel.spawn(self._execute(request))
        self._put(request, arrived, lambda: self._send_result(request, task))

    async def _execute(self, request: Request) -> tuple[int, Result]:
        """The result, and a zxid that it surely reflects: what was complete when it was begun."""
        observer = self._life.observer
        floor = observer.complete
        result = await self._read_requests.run(request)
        await observer.observe(result.zxid)
        return floor, result

    async def _send_result(self, request: Request, task: asyncio.Task[tuple[int, Result]]) -> None:
        """The result is that of the state at ``shown``: nothing it tells of changed from then until it was read. So
        events up to ``shown`` go before the reply, later ones behind it."""
        floor, result = await task
        kept = self._kept = list[Event]()
        if self._seen > floor:
            # once more; the events that come now are kept, else a stream of them could outrun every reading
            self._cancel(result.registrations)
            floor, result = await self._execute(request)
            if not self._channel.is_open:
                # that showed that the session has left, and this task is the one that closed the connection
                self._cancel(result.registrations)
                return
        shown = max(floor, result.zxid)
        # watches that are set together are read one by one: some may be used up before the last of them is set
        watches = self._life.watches
        lasting: list[Registration] = []
        for registration, zxid in result.registrations:
            if registration.is_used_up(max(floor, zxid), shown):
                watches.complete(registration, max(floor, zxid))
            else:
                lasting.append(registration)
        self._kept = None
        self._deliver_each(event for event in kept if event.zxid <= shown)
        self._seen = shown
        for event in result.events:
            self._tell_missed(event)
        self._channel.write(result.encode(shown))
        self._kept = later = [event for event in kept if event.zxid > shown]
        for registration in lasting:
            watches.complete(registration, shown)
        self._kept = None
        self._deliver_each(later)
        self._reads.down()

    def _cancel(self, registrations: tuple[tuple[Registration, int], ...]) -> None:
        for registration, _ in registrations:
            self._life.watches.cancel(registration)

    async def _authenticate(self, xid: int, auth: Auth) -> None:
        credential = auth.credentials.decode("utf-8", "replace")
        if auth.scheme == "digest":
            others = (each for each in self._credentials if each != ("digest", credential))
            credentials = (*others, ("digest", credential))
            if too_many(credentials):
                raise ConnectionLost("more credentials than a connection may have")
            self._credentials = credentials
            self.caller = self._identified()
        elif auth.scheme != "ip":
            self._channel.write(responses.auth(xid, Code.AUTH_FAILED))
            raise ConnectionLost(f"authentication scheme {auth.scheme!r} is not known")
        self._channel.write(responses.auth(xid))

    async def _refuse_sasl(self, xid: int) -> None:
        """As a ZooKeeper without SASL: an empty token, and nobody is authenticated."""
        self._channel.write(responses.sasl(xid, None))

    async def _refuse(self, xid: int, refused: Refused) -> None:
        self._channel.write(responses.refused(xid, self._seen, refused))
        if refused.closes:
            raise ConnectionLost(refused.reason)

    def _identified(self) -> Caller:
        return caller_of(self._session.id, self._life.id, self._credentials, self._life.service.super_digest)


class _Count:
    """A number that can be awaited to fall, by one waiter."""

    def __init__(self) -> None:
        self._count = 0
        self._fell = asyncio.Event()

    def up(self) -> None:
        self._count += 1

    def down(self) -> None:
        self._count -= 1
        self._fell.set()

    async def below(self, limit: int) -> None:
        while self._count >= limit:
            self._fell.clear()
            await self._fell.wait()

    async def none(self) -> None:
        await self.below(1)
