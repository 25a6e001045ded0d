"""Admission: may a request speak for its session (SessionTracker.checkSession, ZooKeeperServer.reopenSession)."""

from __future__ import annotations

from hmac import compare_digest

from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import Session
from faaskeeper.znode.state import State


def admit(state: State, session_id: int, password_hash: bytes, epoch: int, *, attaching: bool) -> Session:
    """The session a request speaks for, to be asked before the request is applied to the same state.

    ``epoch`` is the attach epoch the request was made under; one that is ``attaching`` has none yet.
    Raises ZnodeError: SESSION_EXPIRED for an unknown session or a wrong password, SESSION_MOVED for a wrong epoch;
    and NotLoaded.
    """
    session = state.session(session_id)
    if session is None:
        raise ZnodeError(Code.SESSION_EXPIRED, f"no session {session_id:#x}")
    if not compare_digest(session.password_hash, password_hash):
        raise ZnodeError(Code.SESSION_EXPIRED, f"wrong password for session {session_id:#x}")
    if not attaching and session.epoch != epoch:
        raise ZnodeError(Code.SESSION_MOVED, f"session {session_id:#x} is at epoch {session.epoch}, not {epoch}")
    return session
