"""The whole tree as the pure core makes it, one operation after the other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from faaskeeper.protocol.messages import Request
from faaskeeper.znode import paths
from faaskeeper.znode.acl import Caller, digest_id
from faaskeeper.znode.apply import Applied, apply
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.model import Identity, Session, Stat, Znode
from faaskeeper.znode.operations import (
    AttachSession,
    CreateSession,
    DeleteContainer,
    ExpireSession,
    Operation,
    Outcome,
    UnwatchSubtree,
    WatchSubtree,
)
from faaskeeper.znode.sessions import admit
from faaskeeper.znode.state import NotLoaded, State
from faaskeeper.znode.touched import touched

UNPROVEN = (CreateSession, ExpireSession, DeleteContainer, WatchSubtree, UnwatchSubtree)
"""What nobody proves by a password (faaskeeper.functions.sequencer.batch)."""
_DOOMSDAY = 1 << 62


class Model:
    """Times are not those of any clock: a transaction happens at the time of its zxid, so that a Stat's ctime and mtime
    are its czxid and mzxid, whatever the sequencer's clock showed."""

    def __init__(self) -> None:
        self.zxid = 0
        self.nodes: dict[str, Znode] = dict(GENESIS)
        self.names: dict[str, set[str]] = defaultdict(set)
        self.sessions: dict[int, Session] = {}
        self.owned: dict[int, set[str]] = defaultdict(set)
        self.touched: list[str] = []
        """Paths that the last transaction changed."""
        for path in GENESIS:
            if path != "/":
                self.names[paths.parent(path)].add(paths.name(path))

    def apply(self, request: Request, operation: Operation, gateway: str) -> Applied:
        """What comes of the request, made with ``operation`` in place of its own; then it is done."""
        principal = request.principal
        caller = caller_of(principal.session, gateway, principal.credentials)
        session, password = principal.session, sha256(principal.password).digest()
        attaching = isinstance(operation, AttachSession)
        need = _Need(set(touched(operation, session).paths), {session})
        while True:
            state = self._state(need)
            try:
                if not isinstance(operation, UNPROVEN):
                    admit(state, session, password, principal.epoch, attaching=attaching)
                time = _DOOMSDAY if isinstance(operation, DeleteContainer) else self.zxid + 1
                applied = apply(state, operation, caller, self.zxid + 1, time)
            except ZnodeError as error:
                return Applied(Outcome(error.code, self.zxid), changed=False)
            except NotLoaded as missing:
                need.add(missing)
                continue
            assumed_wrongly = {path for path in state.assumed_missing if path in self.nodes}
            if not assumed_wrongly:
                break
            need.paths |= assumed_wrongly
        if applied.changed:
            self._take(state)
            self.zxid += 1
        return applied

    def pass_over(self) -> None:
        """A transaction that put down only what was answered."""
        self.zxid += 1
        self.touched.clear()

    def refuse(self, code: Code) -> Applied:
        """What comes of a request that was refused for a reason that the model does not know of."""
        return Applied(Outcome(code, self.zxid), changed=False)

    def _state(self, need: _Need) -> State:
        return State(
            {path: self.nodes.get(path) for path in need.paths},
            {session: self.sessions.get(session) for session in need.sessions},
            {session: self.owned.get(session, ()) for session in need.ephemerals},
            {path: self.names.get(path, ()) for path in need.children},
        )

    def _take(self, state: State) -> None:
        self.touched.clear()
        for path, before, after in state.changed_nodes():
            self.touched.append(path)
            if before is not None and before.owner:
                self.owned[before.owner].discard(path)
            if after is not None and after.owner:
                self.owned[after.owner].add(path)
            if after is None:
                self.nodes.pop(path, None)
                self.names[paths.parent(path)].discard(paths.name(path))
            else:
                self.nodes[path] = after
                if path != "/":
                    self.names[paths.parent(path)].add(paths.name(path))
        for session_id, _, session in state.changed_sessions():
            if session is None:
                del self.sessions[session_id]
            else:
                self.sessions[session_id] = session


@dataclass(slots=True)
class _Need:
    """What an operation was found to look at."""

    paths: set[str]
    sessions: set[int]
    ephemerals: set[int] = field(default_factory=set[int])
    children: set[str] = field(default_factory=set[str])

    def add(self, missing: NotLoaded) -> None:
        if missing.path is not None:
            self.paths.add(missing.path)
        if missing.session is not None:
            self.sessions.add(missing.session)
        if missing.ephemerals is not None:
            self.ephemerals.add(missing.ephemerals)
        if missing.children is not None:
            self.children.add(missing.children)


def caller_of(session: int, gateway: str, credentials: tuple[tuple[str, str], ...]) -> Caller:
    identities = tuple(
        Identity(scheme, digest_id(credential) if scheme == "digest" else credential)
        for scheme, credential in credentials
    )
    return Caller(session, gateway, identities)


def timeless(stat: Stat | None) -> Stat | None:
    """A Stat as the model's: ctime and mtime give way to the zxids that they belong to."""
    return None if stat is None else stat._replace(ctime=stat.czxid, mtime=stat.mzxid)
