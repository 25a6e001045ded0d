"""The gateway: ZooKeeper's server side for the clients beside it, with FaaSKeeper's storage and queue behind it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from faaskeeper.blocks.aws import Aws, Bounded
from faaskeeper.blocks.blobs import data_key, write_blob
from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.messages import Principal, ReplyMessage
from faaskeeper.protocol.service import PARAMETER_PREFIX, IncompatibleVersion, InvalidService, Service
from faaskeeper.storage.sessions import read_session
from faaskeeper.storage.znodes import unregister_watch
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Blob, Data
from faaskeeper.znode.operations import (
    CloseSession,
    Create,
    Multi,
    Operation,
    Outcome,
    SetData,
    UnwatchSubtree,
    WatchSubtree,
)
from faaskeeper_client.gateway.connection import Client, Connection
from faaskeeper_client.gateway.inbox import Inbox
from faaskeeper_client.gateway.liveness import DeclaredDead, Liveness
from faaskeeper_client.gateway.observer import EventsLost, Observer
from faaskeeper_client.gateway.outbox import ConnectionLost, Outbox
from faaskeeper_client.gateway.reads import Reader
from faaskeeper_client.gateway.sessions import LocalSession, Sessions
from faaskeeper_client.gateway.watches import Watches, WatchKind
from faaskeeper_client.wire.statistics import Statistics

T = TypeVar("T")

logger = logging.getLogger(__name__)

TICK = 2000
"""ms; session timeouts are granted between 2 and 20 of them (ZooKeeperServer)."""
_SETTLING = 1.0
"""Seconds for which SQS may not know a new queue everywhere yet (CreateQueue)."""
_CHECK_INTERVAL = 0.5
_REOPEN_DELAY = 1.0
_LONGEST_WITHOUT_OUTCOME = 60.0
_LONGEST_END = 2.0
"""Seconds that a gateway tries to say that it has ended."""
_MAX_BULK = 24
"""Calls under way of all but beats, requests and replies: fewer than there are threads for calls."""
_SESSION_IS_OVER = (Code.OK, Code.SESSION_EXPIRED, Code.SESSION_MOVED)
"""Outcomes of a close after which the session is nothing to this gateway."""


class OutcomeLost(Exception):
    """A session is attached to this gateway, which was not told: it must start anew under another id, so that the
    reaper finds the session."""


class Gateway:
    """Without a socket: ``connect`` takes any means of sending frames.

    ``clock`` gives seconds and goes on while the machine sleeps, ``entropy`` makes ids and passwords.
    """

    def __init__(
        self,
        aws: Aws,
        service: Service,
        *,
        clock: Callable[[], float] | None = None,
        entropy: random.Random | None = None,
    ) -> None:
        self.aws = aws
        self.service = service
        self.clock = clock or boot_time
        self.entropy = entropy or random.SystemRandom()
        self.connections: dict[Connection, None] = {}
        """In the order in which they came."""
        self.started = self.clock()
        self.port = 0
        self.statistics = Statistics()
        self._life: asyncio.Task[None] | None = None
        self._spawned: set[asyncio.Task[Any]] = set()
        self._begin()

    def _begin(self) -> None:
        """A life under a new id: one that was declared dead must not go on under the old."""
        self.id = f"{self.entropy.getrandbits(64):016x}"
        self.watches = Watches(self._unwatched)
        self.bulk = Bounded(self.aws, _MAX_BULK)
        self._lasting: WeakValueDictionary[tuple[WatchKind, str], asyncio.Lock] = WeakValueDictionary()
        self.outbox = Outbox(self.aws, self.service, self.id, self.entropy, self.clock)
        self.inbox = Inbox(self.aws, self.service, self.id, self._handle_reply)
        self.liveness = Liveness(self.aws, self.service, self.id, self.clock)
        self.sessions = Sessions(self.clock, self.liveness.release)
        self.observer = Observer(self.bulk, self.service, self.id, self.watches, self.sessions)
        self.reader = Reader(self.bulk, self.service, self.id, self.watches)

    async def start(self) -> None:
        """Makes the gateway known. Raises AwsError."""
        await self._open()
        self._life = self.spawn(self._live())

    async def _open(self) -> None:
        await self.inbox.open()
        usable = asyncio.get_running_loop().time() + _SETTLING
        try:
            await self.liveness.beat()
            await self.observer.catch_up()
        except BaseException:
            await self.inbox.close()
            raise
        await asyncio.sleep(usable - asyncio.get_running_loop().time())

    async def live_until(self, stop: asyncio.Event) -> None:
        """Raises IncompatibleVersion when the service has gone on to a version that this gateway does not know."""
        assert self._life is not None
        told = self.spawn(stop.wait())
        await asyncio.wait((self._life, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if self._life.done():
            await self._life

    async def stop(self) -> None:
        """Drops all connections. Sessions live on until their timeout, so that clients can go to another gateway."""
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            if life.cancelled():  # else the service may be of a version that must not be written to
                await self._end()
        await self.inbox.close()

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_END):
                await self.liveness.end()
        except (AwsError, TimeoutError) as error:
            logger.info("gateway %s is found dead later: %s", self.id, error)

    def connect(self, client: Client, address: tuple[str, int]) -> Connection:
        """A connection for ``client``; give it the client's bytes with ``feed``."""
        connection = Connection(self, client, address)
        self.connections[connection] = None
        return connection

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that stays until it ends: the event loop alone would not keep it."""
        task = asyncio.get_running_loop().create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)
        return task

    def forget(self, connection: Connection) -> None:
        self.connections.pop(connection, None)
        self.watches.forget(connection)

    def negotiate(self, timeout: int) -> int:
        """The session timeout in ms that is granted for the one asked for."""
        return max(2 * TICK, min(20 * TICK, timeout))

    def new_session(self) -> tuple[int, bytes]:
        """An id (positive, so that tools print it as they do ZooKeeper's) and a password."""
        return self.entropy.getrandbits(62) + 1, self.entropy.randbytes(16)

    async def claim_check(self, operation: Operation) -> Operation:
        """Puts data above the blob limit into the bucket and its key into the operation."""
        if isinstance(operation, Create | SetData):
            return replace(operation, data=await self._blob(operation.data))
        if isinstance(operation, Multi):
            parts = [await self.claim_check(part) for part in operation.operations]
            return Multi(tuple(parts))  # type: ignore[arg-type]
        return operation

    async def watch_lastingly(self, kind: WatchKind, path: str) -> int:
        """Makes sure that storage tells this gateway of changes at ``path``, or below it; the zxid from which on it
        does. Persistent watches are set and removed one at a time a path, so that neither undoes the other.
        """
        async with self._one_by_one(kind, path):
            if kind is WatchKind.PERSISTENT:
                return (await self.reader.node(path, kind)).zxid
            if (kind, path) in self.watches.armed:
                return self.observer.complete  # what was complete when it was asked for may be before it was armed
            outcome = await self.outbox.submit(Principal(0), WatchSubtree(path, self.id))
            if outcome.code is not Code.OK:
                raise ConnectionLost(f"{path!r} cannot be watched: {outcome.code.name}")
            self.watches.arm(kind, path)
            return outcome.zxid

    def _one_by_one(self, kind: WatchKind, path: str) -> asyncio.Lock:
        return self._lasting.setdefault((kind, path), asyncio.Lock())

    async def _unwatch(self, kind: WatchKind, path: str) -> None:
        async with self._one_by_one(kind, path):
            if self.watches.anyone(kind, path) or (kind, path) not in self.watches.armed:
                return
            self.watches.armed.discard((kind, path))
            try:
                if kind is WatchKind.PERSISTENT:
                    await unregister_watch(self.bulk, self.service, path, kind.value, self.id)
                else:
                    await self.outbox.submit(Principal(0), UnwatchSubtree(path, self.id))
            except (AwsError, ConnectionLost) as error:
                logger.info("the watch on %r stays for the janitor: %s", path, error)

    def _unwatched(self, kind: WatchKind, path: str) -> None:
        """The last watch of its kind on ``path`` is gone."""
        if kind in (WatchKind.PERSISTENT, WatchKind.RECURSIVE) and self._life is not None:
            self.spawn(self._unwatch(kind, path))

    async def _blob(self, data: Data) -> Data:
        if not isinstance(data, bytes) or len(data) <= self.service.blob_limit:
            return data
        key = data_key(self.service, self.id, self.entropy.getrandbits(128))
        await write_blob(self.bulk, self.service, key, data)
        return Blob(key, len(data))

    async def _handle_reply(self, message: ReplyMessage) -> None:
        await self.observer.learn(message)
        for number, outcome in message.outcomes:
            self.outbox.resolve(number, outcome, message.zxid)
        # whoever waited for an outcome takes note before anything else is handled
        await asyncio.sleep(0)
        # what came and left in one transaction
        for session, epoch in message.detached:
            self.sessions.remove(session, epoch)

    async def _live(self) -> None:
        """Runs until cancelled. When a part fails, or the gateway was declared dead, its clients are dropped and it
        begins anew: they come back, and find the service through it or another as soon as that is possible.
        Raises IncompatibleVersion."""
        while True:
            work = self.inbox.run(), self.outbox.run(), self.liveness.run(), self._check(), self._miss_outcomes()
            parts = [self.spawn(part) for part in work]
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                for part in done:
                    logger.error("gateway %s begins anew", self.id, exc_info=part.exception())
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)
                self._drop_connections()
                self.outbox.close()
            await self.inbox.close()
            if any(isinstance(part.exception(), IncompatibleVersion) for part in done):
                await self._confirm_version()
            await self._reopen()

    async def _confirm_version(self) -> None:
        """A sequencer that has not been replaced yet, or a forger, may refuse us too: the description decides.
        Raises IncompatibleVersion."""
        try:
            response = await self.aws.call("ssm", "get_parameter", Name=PARAMETER_PREFIX + self.service.name)
            Service.from_json(response["Parameter"]["Value"])
        except (AwsError, InvalidService) as error:
            logger.warning("the version of service %r cannot be read: %s", self.service.name, error)

    async def _reopen(self) -> None:
        attempt = 0
        while True:
            # who came meanwhile would wait for parts that are no more
            self._drop_connections()
            self._begin()
            try:
                await self._open()
            except (AwsError, DeclaredDead) as error:
                logger.warning("the gateway cannot begin: %s", error)
                await asyncio.sleep(_REOPEN_DELAY + delay(attempt))
                attempt += 1
            else:
                return

    async def _check(self) -> None:
        """Expires silent clients; with watches or ephemerals, looks for news that nobody told of."""
        looked = self.clock()
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            await self.liveness.alive()
            for session in self.sessions.silent():
                self._expire(session)
            self.outbox.give_up(_LONGEST_WITHOUT_OUTCOME)
            if (self.watches or self.liveness.guards_any) and self.clock() - looked > self._look_interval():
                looked = self.clock()
                try:
                    await self.observer.catch_up()
                except EventsLost as error:
                    logger.warning("%s; connections are closed", error)
                    self._drop_connections()
                    # now that nobody watches, nobody misses them
                    self.observer.complete = max(self.observer.complete, error.floor)
                except AwsError as error:
                    logger.warning("the head cannot be read: %s", error)

    async def _miss_outcomes(self) -> None:
        """Until the outcome of an attachment is lost: storage has had its session here for a whole interval, but this
        gateway does not know it, and would not notice that its client is gone. Raises OutcomeLost."""
        before = frozenset[int]()
        while True:
            await asyncio.sleep(_LONGEST_WITHOUT_OUTCOME)
            try:
                missed = await self._missed()
            except (AwsError, EventsLost) as error:
                logger.warning("outcomes that do not come cannot be looked for: %s", error)
                continue
            if missed & before:
                raise OutcomeLost(f"no outcome came of the attachment of {', '.join(map(hex, missed & before))}")
            before = missed

    async def _missed(self) -> frozenset[int]:
        """Sessions that are attached here by what storage says, and by no outcome: neither by one that came, nor by one
        that the head still has. A sequencer that cannot send replies commits nothing more, so the head has it then."""
        waiting = self.outbox.attaching(_LONGEST_WITHOUT_OUTCOME)
        head = await self.observer.catch_up() if waiting else None
        if head is None:
            return frozenset()
        told = tuple((number, outcome) for id, number, outcome in head.outcomes if id == self.id and number in waiting)
        cut = tuple((session, epoch) for id, session, epoch in head.detached if id == self.id)
        await self._handle_reply(ReplyMessage(head.zxid, head.base, told, None, cut, head.detached_at))
        ids = sorted(set(waiting.values()))
        stored = await asyncio.gather(*(read_session(self.bulk, self.service, id) for id in ids))
        return frozenset(
            id
            for id, session in zip(ids, stored, strict=True)
            if session is not None and session.gateway == self.id and not self.sessions.knows(id, session.epoch)
        )

    def _look_interval(self) -> float:
        return min((session.timeout for session in self.sessions), default=20 * TICK) / 3000

    def _expire(self, session: LocalSession) -> None:
        connection = session.connection
        if connection is not None and connection.unanswered and connection.writable.is_set():
            return  # it is this side that is slow
        session.expiring = True
        logger.info("session %#x was silent for %d ms", session.id, session.timeout)
        if connection is not None:
            connection.close()
        principal = Principal(session.id, session.epoch, session.password)
        outcome = self.outbox.submit(principal, CloseSession(silent=True))

        def done(future: asyncio.Future[Outcome]) -> None:
            if not future.cancelled() and future.exception() is None and future.result().code in _SESSION_IS_OVER:
                self.sessions.remove(session.id, session.epoch)
            else:
                session.expiring, session.heard = False, self.clock()

        outcome.add_done_callback(done)

    def _drop_connections(self) -> None:
        for connection in list(self.connections):
            connection.close()
