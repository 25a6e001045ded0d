"""One client's connection: its handshake, and its requests answered in order.

Requests overlap as far as ZooKeeper's order allows. Reads run at once, but a reply is sent in its turn, and a read
that was begun before something newer was shown is made again then. A write waits for the replies of the reads
before it, a read for the outcomes of the writes before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.messages import Principal, too_many
from faaskeeper.znode.acl import Caller, caller_of, may_read
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Event
from faaskeeper.znode.operations import (
    AttachSession,
    CloseSession,
    Create,
    CreateSession,
    Delete,
    Multi,
    Operation,
    Outcome,
    SetAcl,
    SetData,
)
from faaskeeper_client.gateway.outbox import ConnectionLost
from faaskeeper_client.gateway.queries import Queries, Result
from faaskeeper_client.gateway.sessions import LocalSession
from faaskeeper_client.gateway.watches import Registration
from faaskeeper_client.wire import responses
from faaskeeper_client.wire.frames import Command, Frames
from faaskeeper_client.wire.jute import MarshallingError
from faaskeeper_client.wire.requests import (
    Auth,
    ConnectRequest,
    Op,
    Ping,
    Refused,
    Request,
    Sasl,
    decode,
    decode_connect,
)
from faaskeeper_client.wire.statistics import Statistics

if TYPE_CHECKING:
    from faaskeeper_client.gateway.gateway import Gateway

T = TypeVar("T")

logger = logging.getLogger(__name__)

_MAX_UNANSWERED = 1000
"""Requests of one connection that are taken on; its socket is not read while there are more."""
_MAX_INCOMING_BYTES = 4_000_000
"""Bytes of requests that wait to be taken on, likewise."""
_LONGEST_SILENCE = 10.0
"""Seconds for which a connection may be without a session (ZooKeeper's zookeeper.nio.sessionlessCnxnTimeout)."""
_MAX_READS = 64
"""Results of one connection that wait for their turn."""
_WRITES = (Create, Delete, SetData, SetAcl, Multi, CloseSession)


_Slot = Callable[[], Awaitable[None]]
"""Sends a reply, in its turn."""


class Client(Protocol):
    """The means by which a client is reached: a socket, or something in its place."""

    def send(self, data: bytes) -> None:
        """Takes whole frames."""
        ...

    def answer(self, command: Command) -> None:
        """Answers a four-letter word, then closes."""
        ...

    def drained(self) -> None:
        """A request was answered: a reader that was paused for ``overloaded`` may go on."""
        ...

    def close(self) -> None:
        """Called once, after the last frame."""
        ...


class Connection:
    """``address`` is the client's host and port. No reply is sent while ``writable`` is not set: a client that does
    not read its replies gets no more of them made."""

    def __init__(self, gateway: Gateway, client: Client, address: tuple[str, int]) -> None:
        self.address = address
        self.peer = address[0]
        self.established = gateway.clock()
        self.session: LocalSession | None = None
        self.caller = Caller(0)
        self.seen = 0
        self.statistics = Statistics()
        self._gateway = gateway
        self._client = client
        self._frames = Frames()
        self._incoming: deque[tuple[bytes, float]] = deque()
        self._incoming_bytes = 0
        self.writable = asyncio.Event()
        self.writable.set()
        self._kept: list[Event] | None = None
        self._undecided: list[Event] = []
        self._unwritten = 0
        self._last_write: asyncio.Future[Outcome] | None = None
        self._arrived = asyncio.Event()
        self._slots: asyncio.Queue[tuple[Request, float, _Slot]] = asyncio.Queue()
        self._unanswered = 0
        self._reads = _Count()
        self._writes = _Count()
        self._credentials: tuple[tuple[str, str], ...] = (("ip", self.peer),)
        self._open = True
        self._may_have_left = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._queries = Queries(gateway, self)
        self._spawn(self._run())

    @property
    def overloaded(self) -> bool:
        """Whether the transport should stop reading for now."""
        return self.unanswered > _MAX_UNANSWERED or self._incoming_bytes > _MAX_INCOMING_BYTES

    @property
    def unanswered(self) -> int:
        """Requests received and not answered yet."""
        return self._unanswered + len(self._incoming)

    def feed(self, data: bytes) -> None:
        """Bytes from the client. Four-letter words are answered by the server before a connection is made of them."""
        if not self._open:
            return
        if self.session is not None:
            self._gateway.sessions.touch(self.session)
        arrived = self._gateway.clock()
        try:
            for frame in self._frames.feed(data):
                if isinstance(frame, Command):
                    self._client.answer(frame)
                    return
                self.statistics.received += 1
                self._gateway.statistics.received += 1
                self._incoming.append((frame, arrived))
                self._incoming_bytes += len(frame)
        except MarshallingError as error:
            logger.info("connection of %s is closed: %s", self.peer, error)
            self.close()
            return
        self._arrived.set()

    def write(self, data: bytes) -> None:
        if self._open:
            self.statistics.sent += 1
            self._gateway.statistics.sent += 1
            self._gateway.liveness.when_alive(self._client.send, data)

    def close(self) -> None:
        """Drops the connection; its session lives on until it is closed or expires."""
        if not self._open:
            return
        self._open = False
        self._gateway.forget(self)
        if self.session is not None and self.session.connection is self:
            self.session.connection = None
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
        self._client.close()

    async def ask(self, operation: Operation) -> Outcome:
        """Has the sequencer answer a read. Raises ConnectionLost."""
        assert self.session is not None
        principal = Principal(self.session.id, self.session.epoch, self.session.password, self._credentials)
        return await self._gateway.outbox.submit(principal, operation)

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
            self.seen = max(self.seen, event.zxid)
            self.write(responses.event(event.path, event.kind, event.zxid))

    def _deliver_each(self, events: Iterable[Event]) -> None:
        """In order, and once: what a watch was sent, a new one beside it has missed, but it is one watch."""
        for event in sorted({id(event): event for event in events}.values(), key=lambda event: event.zxid):
            self.deliver(event)

    def deliver_missed(self, event: Event) -> None:
        """An event of the time when the client was away. ZooKeeper tells neither its zxid nor minds the ACL
        (DataTree.setWatches)."""
        self.write(responses.event(event.path, event.kind, responses.NO_ZXID))

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_SILENCE):
                first, arrived = await self._next_frame()
            if await self._handshake(first):
                self._count(Op.CREATE_SESSION, 0, arrived)
                self._spawn(self._emit())
                while True:
                    frame, arrived = await self._next_frame()
                    await self._take(decode(frame), arrived)
        except MarshallingError as error:
            logger.info("connection of %s is closed: %s", self.peer, error)
        except ConnectionLost as error:
            logger.info("connection of %s is closed: %s", self.peer, error)
        except AwsError as error:
            logger.warning("connection of %s is closed: %s", self.peer, error)
        except TimeoutError:
            logger.info("connection of %s is closed: nothing came", self.peer)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("connection of %s is closed", self.peer)
        self.close()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._gateway.spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _next_frame(self) -> tuple[bytes, float]:
        """And when it arrived."""
        while not self._incoming:
            self._arrived.clear()
            await self._arrived.wait()
        frame, arrived = self._incoming.popleft()
        self._incoming_bytes -= len(frame)
        return frame, arrived

    async def _handshake(self, frame: bytes) -> bool:
        """Creates or attaches the session (ZooKeeperServer.processConnectRequest). False: close the connection."""
        request = decode_connect(frame)
        gateway = self._gateway
        await gateway.liveness.alive()
        if request.last_zxid_seen > gateway.observer.complete:
            head = await gateway.observer.catch_up()
            if head is None or request.last_zxid_seen > head.zxid:
                logger.info("client %s has seen %#x, ahead of the service", self.peer, request.last_zxid_seen)
                return False
        timeout = gateway.negotiate(request.timeout)
        if request.session == 0:
            session_id, password = gateway.new_session()
            operation: Operation = CreateSession(sha256(password).digest(), timeout)
        else:
            session_id, password = request.session, request.password
            operation = AttachSession(timeout)
            gateway.liveness.expect(session_id)
            try:
                await gateway.liveness.guard(session_id, timeout)
            except BaseException:
                self._joined(session_id)
                raise
        joining = gateway.outbox.submit(
            Principal(session_id, 0, password), operation, partial(self._join, session_id, password)
        )
        joining.add_done_callback(_noticed)
        if request.session != 0:
            joining.add_done_callback(lambda _: self._joined(session_id))
        # should the client go now, the session will be attached here all the same
        outcome = await asyncio.shield(joining)
        if outcome.session is None:
            self.write(responses.session_expired(_writable(request)))
            return False
        if self._may_have_left:
            await gateway.observer.confirm_sessions()
        if self.session is None or not self._open:
            return False
        if request.session != 0:
            # for the timeout that it was granted
            await gateway.liveness.guard(session_id, self.session.timeout)
        self.seen = max(request.last_zxid_seen, outcome.zxid)
        self._identify()
        self.write(responses.connected(self.session.timeout, session_id, password, _writable(request)))
        return True

    def _joined(self, session_id: int) -> None:
        """Whatever came of it."""
        self._gateway.liveness.expect_no_more(session_id)
        if self._gateway.sessions.get(session_id) is None:
            self._gateway.liveness.release(session_id)

    def _join(self, session_id: int, password: bytes, outcome: Outcome, zxid: int) -> None:
        """Takes note of what came of the attachment, also if the client has gone meanwhile: nobody but this gateway
        would notice that it does not come back."""
        gateway = self._gateway
        if outcome.session is not None:
            timeout, epoch = outcome.session
            if epoch > 1:
                gateway.liveness.hold(session_id, timeout)
            connection = self if self._open else None
            session = gateway.sessions.attach(session_id, password, epoch, zxid, timeout, connection)
            self.session = session if session.connection is self else None
            # news of that may have overtaken the outcome
            self._may_have_left = gateway.observer.detached_at > zxid
            return
        known = gateway.sessions.get(session_id)
        if known is None:
            gateway.liveness.release(session_id)
            return
        gateway.liveness.hold(session_id, known.timeout)
        if known.connection is not None:
            known.connection.close()

    async def _take(self, request: Request, arrived: float) -> None:
        """Begins a request, as soon as those before it let it begin."""
        body = request.body
        if isinstance(body, Ping):
            self.write(responses.ping(self.seen))
            self._count(request.op, request.xid, arrived)
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

    def _put(self, request: Request, arrived: float, slot: _Slot) -> None:
        self._slots.put_nowait((request, arrived, slot))

    def _count(self, op: int, xid: int, arrived: float) -> None:
        now = self._gateway.clock()
        for statistics in (self.statistics, self._gateway.statistics):
            statistics.replied(op, xid, self.seen, arrived, now)

    async def _write(self, request: Request, arrived: float) -> None:
        assert self.session is not None
        operation = await self._gateway.claim_check(request.body)  # type: ignore[arg-type]
        principal = Principal(self.session.id, self.session.epoch, self.session.password, self._credentials)
        await self._gateway.liveness.before_write(self.session, operation)
        if isinstance(operation, CloseSession):
            self.session.closing = True
        if self._last_write is not None and self._last_write.done():
            self._last_write.result()  # nothing is sent behind a request that was lost
        outcome = self._last_write = self._gateway.outbox.submit(principal, operation)
        self._writes.up()
        outcome.add_done_callback(lambda _: self._writes.down())
        self._unwritten += 1
        self._put(request, arrived, lambda: self._emit_outcome(request, outcome))

    async def _emit_outcome(self, request: Request, future: asyncio.Future[Outcome]) -> None:
        outcome = await future
        if outcome.code in (Code.SESSION_EXPIRED, Code.SESSION_MOVED):
            assert self.session is not None
            self._gateway.sessions.remove(self.session.id, self.session.epoch)
            raise ConnectionLost(f"session {self.session.id:#x}: {outcome.code.name}")
        undecided, self._undecided = self._undecided, []
        for event in undecided:
            if event.zxid <= outcome.zxid:
                self._tell(event)
        self.seen = max(self.seen, outcome.zxid)
        self.write(responses.outcome(request, replace(outcome, zxid=self.seen)))
        self._unwritten -= 1
        for event in undecided:
            if event.zxid > outcome.zxid:
                self.deliver(event)
        if isinstance(request.body, CloseSession):
            assert self.session is not None
            self._gateway.sessions.remove(self.session.id, self.session.epoch)

    def _read(self, request: Request, arrived: float) -> None:
        self._reads.up()
        task = self._spawn(self._execute(request))
        self._put(request, arrived, lambda: self._emit_result(request, task))

    async def _execute(self, request: Request) -> tuple[int, Result]:
        """The result, and a zxid that it surely reflects: what was complete when it was begun."""
        observer = self._gateway.observer
        floor = observer.complete
        result = await self._queries.run(request)
        await observer.observe(result.zxid)
        return floor, result

    async def _emit_result(self, request: Request, task: asyncio.Task[tuple[int, Result]]) -> None:
        """The result is that of the state at ``shown``: nothing it tells of changed from then until it was read. So
        events up to ``shown`` go before the reply, later ones behind it."""
        floor, result = await task
        kept = self._kept = list[Event]()
        if self.seen > floor:
            # once more; the events that come now are kept, else a stream of them could outrun every reading
            self._cancel(result.registrations)
            floor, result = await self._execute(request)
            if not self._open:
                # that showed that the session has left, and this task is the one that closed the connection
                self._cancel(result.registrations)
                return
        shown = max(floor, result.zxid)
        # watches that are set together are read one by one: some may be used up before the last of them is set
        watches = self._gateway.watches
        lasting: list[Registration] = []
        for registration, zxid in result.registrations:
            if registration.is_used_up(max(floor, zxid), shown):
                watches.complete(registration, max(floor, zxid))
            else:
                lasting.append(registration)
        self._kept = None
        self._deliver_each(event for event in kept if event.zxid <= shown)
        self.seen = shown
        for event in result.events:
            self.deliver_missed(event)
        self.write(result.encode(shown))
        self._kept = later = [event for event in kept if event.zxid > shown]
        for registration in lasting:
            watches.complete(registration, shown)
        self._kept = None
        self._deliver_each(later)
        self._reads.down()

    def _cancel(self, registrations: tuple[tuple[Registration, int], ...]) -> None:
        for registration, _ in registrations:
            self._gateway.watches.cancel(registration)

    async def _authenticate(self, xid: int, auth: Auth) -> None:
        credential = auth.credentials.decode("utf-8", "replace")
        if auth.scheme == "digest":
            others = (each for each in self._credentials if each != ("digest", credential))
            credentials = (*others, ("digest", credential))
            if too_many(credentials):
                raise ConnectionLost("more credentials than a connection may have")
            self._credentials = credentials
            self._identify()
        elif auth.scheme != "ip":
            self.write(responses.auth(xid, Code.AUTH_FAILED))
            raise ConnectionLost(f"authentication scheme {auth.scheme!r} is not known")
        self.write(responses.auth(xid))

    async def _refuse_sasl(self, xid: int) -> None:
        """As a ZooKeeper without SASL: an empty token, and nobody is authenticated."""
        self.write(responses.sasl(xid, None))

    async def _refuse(self, xid: int, refused: Refused) -> None:
        self.write(responses.refused(xid, self.seen, refused))
        if refused.closes:
            raise ConnectionLost(refused.reason)

    def _identify(self) -> None:
        assert self.session is not None
        gateway = self._gateway
        self.caller = caller_of(self.session.id, gateway.id, self._credentials, gateway.service.super_digest)

    async def _emit(self) -> None:
        """Sends the replies in the order of the requests."""
        try:
            while self._open:
                request, arrived, slot = await self._slots.get()
                await self.writable.wait()
                await slot()
                self._count(request.op, request.xid, arrived)
                self._slots.task_done()
                self._unanswered -= 1
                self._client.drained()
        except ConnectionLost as error:
            logger.info("connection of %s is closed: %s", self.peer, error)
        except AwsError as error:
            logger.warning("connection of %s is closed: %s", self.peer, error)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("connection of %s is closed", self.peer)
        self.close()


def _noticed(future: asyncio.Future[Any]) -> None:
    """Its failure concerns nobody once its client is gone."""
    if not future.cancelled():
        future.exception()


def _writable(request: ConnectRequest) -> bool | None:
    """The answer's read-only flag: never, and absent where the request had none."""
    return None if request.read_only is None else False


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
