"""A connection's first request: it creates a session, or attaches one that was elsewhere."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from faaskeeper.protocol.messages import Principal
from faaskeeper.znode.operations import AttachSession, CreateSession, Operation, Outcome
from faaskeeper_client.gateway.life import Life
from faaskeeper_client.gateway.sessions import ClientConnection, LocalSession, granted_timeout
from faaskeeper_client.wire import responses
from faaskeeper_client.wire.decoding import decode_connect
from faaskeeper_client.wire.requests import ConnectRequest

logger = logging.getLogger(__name__)


class Newcomer(ClientConnection, Protocol):
    """A connection, as far as its handshake is concerned."""

    peer: str
    """The client's host."""
    session: LocalSession | None
    """Of the handshake's making."""

    @property
    def is_open(self) -> bool: ...

    def write(self, data: bytes) -> None:
        """Sends a whole frame."""
        ...


class Admitted(NamedTuple):
    """``seen`` is the highest zxid that the client has been shown."""

    session: LocalSession
    seen: int


class Handshake:
    """For one connection, once."""

    def __init__(self, life: Life, connection: Newcomer) -> None:
        self._life = life
        self._connection = connection
        self._may_have_left = False

    async def run(self, frame: bytes) -> Admitted | None:
        """Creates or attaches the session, and answers (ZooKeeperServer.processConnectRequest). None: close the
        connection. Raises MarshallingError, AwsError, ConnectionLost."""
        request = decode_connect(frame)
        life, connection = self._life, self._connection
        await life.liveness.alive()
        if not await self._is_abreast(request.last_zxid_seen):
            logger.info("client %s has seen %#x, ahead of the service", connection.peer, request.last_zxid_seen)
            return None
        session_id, password, joining = await self._submit(request)
        try:
            # should the client go once the request has left, the session will be attached here all the same
            outcome = await asyncio.shield(joining)
        except asyncio.CancelledError:
            # sent late, it would take the session from the gateway to which the client has gone
            life.outbox.withdraw(joining)
            raise
        if outcome.session is None:
            connection.write(responses.session_expired(_writable(request)))
            return None
        if self._may_have_left:
            await life.observer.confirm_sessions()
        session = connection.session
        if session is None or not connection.is_open:
            return None
        if request.session != 0:
            # for the timeout that it was granted
            await life.liveness.guard(session_id, session.timeout)
        connection.write(responses.connected(session.timeout, session_id, password, _writable(request)))
        return Admitted(session, max(request.last_zxid_seen, outcome.zxid))

    async def _is_abreast(self, zxid: int) -> bool:
        """Whether the service has come to ``zxid``, which the client has seen."""
        if zxid <= self._life.observer.complete:
            return True
        head = await self._life.observer.catch_up()
        return head is not None and zxid <= head.zxid

    async def _submit(self, request: ConnectRequest) -> tuple[int, bytes, asyncio.Future[Outcome]]:
        """The session's id and password, and what will come of it."""
        life = self._life
        timeout = granted_timeout(request.timeout)
        if request.session == 0:
            # positive, so that tools print it as they do ZooKeeper's
            session_id, password = life.entropy.getrandbits(62) + 1, life.entropy.randbytes(16)
            operation: Operation = CreateSession(sha256(password).digest(), timeout)
        else:
            session_id, password = request.session, request.password
            operation = AttachSession(timeout)
            life.liveness.expect(session_id)
            try:
                await life.liveness.guard(session_id, timeout)
            except BaseException:
                self._joined(session_id)
                raise
        joining = life.outbox.submit(
            Principal(session_id, 0, password), operation, partial(self._join, session_id, password)
        )
        joining.add_done_callback(_noticed)
        if request.session != 0:
            joining.add_done_callback(lambda _: self._joined(session_id))
        return session_id, password, joining

    def _joined(self, session_id: int) -> None:
        """Whatever came of it."""
        self._life.liveness.expect_no_more(session_id)
        if self._life.sessions.get(session_id) is None:
            self._life.liveness.release(session_id)

    def _join(self, session_id: int, password: bytes, outcome: Outcome) -> None:
        """Takes note of what came of the attachment, also if the client has gone meanwhile: nobody but this gateway
        would notice that it does not come back."""
        life = self._life
        if outcome.session is not None:
            timeout, epoch = outcome.session
            if epoch > 1:
                life.liveness.hold(session_id, timeout)
            connection = self._connection if self._connection.is_open else None
            session = life.sessions.attach(session_id, password, epoch, outcome.zxid, timeout, connection)
            self._connection.session = session if session.connection is self._connection else None
            # news of that may have overtaken the outcome
            self._may_have_left = life.observer.detached_at > outcome.zxid
            return
        known = life.sessions.get(session_id)
        if known is None:
            life.liveness.release(session_id)
            return
        life.liveness.hold(session_id, known.timeout)
        if known.connection is not None:
            known.connection.close()


def _noticed(future: asyncio.Future[Any]) -> None:
    """Its failure concerns nobody once its client is gone."""
    if not future.cancelled():
        future.exception()


def _writable(request: ConnectRequest) -> bool | None:
    """The answer's read-only flag: never, and absent where the request had none."""
    return None if request.read_only is None else False
