"""The sessions attached to this gateway, and when each was last heard of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

TICK = 2000
"""ms; the unit of session timeouts (ZooKeeperServer.DEFAULT_TICK_TIME)."""
MIN_SESSION_TIMEOUT = 2 * TICK
MAX_SESSION_TIMEOUT = 20 * TICK


class ClientConnection(Protocol):
    """The connection to a session's client, as far as the session is concerned."""

    @property
    def is_behind(self) -> bool:
        """Whether the client waits for replies, and would take them: its silence is no fault of its own."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class LocalSession:
    """``zxid`` is that of the transaction that attached it. ``timeout`` in ms; ``heard`` in seconds of the gateway's
    clock; ``connection`` is None while the client is away. ``expiring`` once this gateway has asked for its end,
    ``closing`` once its client has."""

    id: int
    password: bytes
    epoch: int
    zxid: int
    timeout: int
    heard: float
    connection: ClientConnection | None = None
    expiring: bool = False
    closing: bool = False


class Sessions:
    """``clock`` gives seconds and goes on while the machine sleeps; ``removed`` is told each session that leaves."""

    def __init__(self, clock: Callable[[], float], removed: Callable[[int], None]) -> None:
        self._clock = clock
        self._removed = removed
        self._sessions: dict[int, LocalSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LocalSession]:
        return iter(list(self._sessions.values()))

    def get(self, session_id: int) -> LocalSession | None:
        return self._sessions.get(session_id)

    def knows(self, session_id: int, epoch: int) -> bool:
        """Whether the session is attached here with that epoch or a later one."""
        session = self._sessions.get(session_id)
        return session is not None and session.epoch >= epoch

    def attach(
        self, session_id: int, password: bytes, epoch: int, zxid: int, timeout: int, connection: ClientConnection | None
    ) -> LocalSession:
        """Binds the session to ``connection``; the one it had before is closed. Outcomes may come in another order
        than they were made in: an earlier epoch than the one known changes nothing."""
        before = self._sessions.get(session_id)
        if before is not None:
            if before.epoch >= epoch:
                return before
            if before.connection is not None and before.connection is not connection:
                before.connection.close()
        session = LocalSession(session_id, password, epoch, zxid, timeout, self._clock(), connection)
        self._sessions[session_id] = session
        return session

    def touch(self, session: LocalSession) -> None:
        session.heard = self._clock()

    def remove(self, session_id: int, upto_epoch: int) -> None:
        """Forgets the session if it is attached here with an epoch up to ``upto_epoch``, and closes its connection."""
        session = self._sessions.get(session_id)
        if session is None or session.epoch > upto_epoch:
            return
        del self._sessions[session_id]
        self._removed(session_id)
        if session.connection is not None:
            session.connection.close()

    def keep(self, attached: Collection[int], zxid: int) -> None:
        """Removes what is not among those ``attached`` to this gateway by storage, as it was at ``zxid`` or later. Who
        asked for the end waits for the answer, and is shown nothing else."""
        for session in self:
            if session.zxid <= zxid and session.id not in attached and not session.closing:
                self.remove(session.id, session.epoch)

    def silent(self) -> Iterator[LocalSession]:
        """Sessions not heard of for their timeout."""
        now = self._clock()
        for session in self:
            if not session.expiring and now - session.heard > session.timeout / 1000:
                yield session


def granted_timeout(asked: int) -> int:
    """The session timeout in ms that a client gets that asks for ``asked`` (ZooKeeperServer.processConnectRequest)."""
    return max(MIN_SESSION_TIMEOUT, min(MAX_SESSION_TIMEOUT, asked))
