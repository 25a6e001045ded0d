"""One client's connection: its bytes, as many as it may have under way, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from faaskeeper.blocks.errors import AwsError
from faaskeeper_client.gateway.handshake import Handshake
from faaskeeper_client.gateway.life import Life
from faaskeeper_client.gateway.outbox import ConnectionLost
from faaskeeper_client.gateway.pipeline import Pipeline
from faaskeeper_client.gateway.sessions import LocalSession
from faaskeeper_client.gateway.tasks import Tasks
from faaskeeper_client.wire.decoding import decode
from faaskeeper_client.wire.frames import Command, Frames
from faaskeeper_client.wire.jute import MarshallingError
from faaskeeper_client.wire.requests import Op
from faaskeeper_client.wire.statistics import Statistics

T = TypeVar("T")

logger = logging.getLogger(__name__)

_MAX_UNANSWERED = 1000
"""Requests of one connection that are taken on; its socket is not read while there are more."""
_MAX_AT_ONCE = 500
"""Requests of one packet that are answered before anybody else has a turn: some 30 ms."""
_MAX_INCOMING_BYTES = 4_000_000
"""Bytes of requests that wait to be taken on, likewise."""
_LONGEST_SILENCE = 10.0
"""Seconds for which a connection may be without a session (ZooKeeper's zookeeper.nio.sessionlessCnxnTimeout)."""


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


class Host(Protocol):
    """The gateway, as far as its connections are concerned: what is not of one life."""

    @property
    def statistics(self) -> Statistics:
        """Of all connections."""
        ...

    @property
    def tasks(self) -> Tasks: ...

    def forget(self, connection: Connection) -> None:
        """Called once, when the connection is closed."""
        ...


class Connection:
    """``address`` is the client's host and port. No reply is sent while ``writable`` is not set: a client that does
    not read its replies gets no more of them made."""

    def __init__(self, host: Host, life: Life, client: Client, address: tuple[str, int]) -> None:
        self.address = address
        self.peer = address[0]
        self.established = life.clock()
        self.session: LocalSession | None = None
        self.statistics = Statistics()
        self.writable = asyncio.Event()
        self.writable.set()
        self._host = host
        self._life = life
        self._client = client
        self._frames = Frames()
        self._incoming: deque[tuple[bytes, float]] = deque()
        self._incoming_bytes = 0
        self._arrived = asyncio.Event()
        self._pipeline: Pipeline | None = None
        self._open = True
        self._tasks: set[asyncio.Task[Any]] = set()
        self.spawn(self._closing_after(self._run))

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def overloaded(self) -> bool:
        """Whether the transport should stop reading for now."""
        return self.unanswered > _MAX_UNANSWERED or self._incoming_bytes > _MAX_INCOMING_BYTES

    @property
    def unanswered(self) -> int:
        """Requests received and not answered yet."""
        return len(self._incoming) + (self._pipeline.unanswered if self._pipeline is not None else 0)

    @property
    def is_behind(self) -> bool:
        return self.unanswered > 0 and self.writable.is_set()

    def feed(self, data: bytes) -> None:
        """Bytes from the client. Four-letter words are answered by the server before a connection is made of them."""
        if not self._open:
            return
        if self.session is not None:
            self._life.sessions.touch(self.session)
        arrived = self._life.clock()
        at_once = 0
        try:
            for frame in self._frames.feed(data):
                if isinstance(frame, Command):
                    self._client.answer(frame)
                    return
                for statistics in (self.statistics, self._host.statistics):
                    statistics.came(frame)
                if at_once < _MAX_AT_ONCE and self._answers(frame, arrived):
                    at_once += 1
                    continue
                self._incoming.append((frame, arrived))
                self._incoming_bytes += len(frame)
        except MarshallingError as error:
            logger.info("connection of %s is closed: %s", self.peer, error)
            self.close()
            return
        self._arrived.set()

    def _answers(self, frame: bytes, arrived: float) -> bool:
        """Whether it is answered, in its turn, from what is known already."""
        return self._pipeline is not None and not self._incoming and self._pipeline.take_at_once(frame, arrived)

    def write(self, data: bytes) -> None:
        if self._open:
            for statistics in (self.statistics, self._host.statistics):
                statistics.went(data)
            self._life.liveness.when_alive(self._client.send, data)

    def count(self, op: int, xid: int, zxid: int, arrived: float) -> None:
        """A request that ``arrived`` at that second was answered with ``zxid``."""
        now = self._life.clock()
        for statistics in (self.statistics, self._host.statistics):
            statistics.replied(op, xid, zxid, arrived, now)

    def drained(self) -> None:
        self._client.drained()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that ends with the connection."""
        task = self._host.tasks.spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Drops the connection; its session lives on until it is closed or expires."""
        if not self._open:
            return
        self._open = False
        self._host.forget(self)
        if self._pipeline is not None:
            self._life.watches.forget(self._pipeline)
        if self.session is not None and self.session.connection is self:
            self.session.connection = None
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
        self._client.close()

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_SILENCE):
                first, arrived = await self._next_frame()
        except TimeoutError:
            logger.info("connection of %s is closed: nothing came", self.peer)
            return
        admitted = await Handshake(self._life, self).run(first)
        if admitted is None:
            return
        pipeline = self._pipeline = Pipeline(self._life, self, admitted.session, admitted.seen)
        self.count(Op.CREATE_SESSION, 0, admitted.seen, arrived)
        self.spawn(self._closing_after(pipeline.answer))
        while True:
            frame, arrived = await self._next_frame()
            await pipeline.take(decode(frame), arrived)

    async def _closing_after(self, work: Callable[[], Awaitable[None]]) -> None:
        """Closes the connection when ``work`` ends, however it does."""
        try:
            await work()
        except (MarshallingError, ConnectionLost) as error:
            logger.info("connection of %s is closed: %s", self.peer, error)
        except AwsError as error:
            logger.warning("connection of %s is closed: %s", self.peer, error)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("connection of %s is closed", self.peer)
        self.close()

    async def _next_frame(self) -> tuple[bytes, float]:
        """And when it arrived."""
        while not self._incoming:
            self._arrived.clear()
            await self._arrived.wait()
        frame, arrived = self._incoming.popleft()
        self._incoming_bytes -= len(frame)
        return frame, arrived
