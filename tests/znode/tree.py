"""A whole service in memory: loads what ``touched`` names, applies, keeps what changed. As the sequencer does it."""

from __future__ import annotations

from typing import NamedTuple

from faaskeeper.znode import paths, quotas
from faaskeeper.znode.apply import Applied, Caller, apply
from faaskeeper.znode.children import edge_hash
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.model import Session, Znode, ZnodeKind, data_length, int32
from faaskeeper.znode.operations import CreateSession, Operation
from faaskeeper.znode.quotas import Usage
from faaskeeper.znode.state import State
from faaskeeper.znode.touched import touched, with_parents


class Contents(NamedTuple):
    nodes: dict[str, Znode]
    sessions: dict[int, Session]
    zxid: int


class Tree:
    """``zxid`` and ``time`` are those of the last transaction; time goes on by 1 ms a transaction."""

    def __init__(self, *sessions: int) -> None:
        self.nodes: dict[str, Znode] = dict(GENESIS)
        self.sessions: dict[int, Session] = {}
        self.zxid = 0
        self.time = 1000
        self.assumed: frozenset[str] = frozenset()
        for session in sessions:
            self.do(CreateSession(b"hash", 10_000), Caller(session, "gateway"))

    @property
    def contents(self) -> Contents:
        return Contents(dict(self.nodes), dict(self.sessions), self.zxid)

    def do(self, operation: Operation, caller: Caller | int = 1) -> Applied:
        """Raises ZnodeError, with nothing changed."""
        caller = Caller(caller) if isinstance(caller, int) else caller
        while True:
            state = self.load(operation, caller)
            applied = apply(state, operation, caller, self.zxid + 1, self.time + 1)
            if all(path not in self.nodes for path in state.assumed_missing):
                self.store(state, applied)
                return applied
            self.assumed |= state.assumed_missing

    def code(self, operation: Operation, caller: Caller | int = 1) -> Code:
        try:
            return self.do(operation, caller).outcome.code
        except ZnodeError as error:
            return error.code

    def codes(self, operation: Operation, caller: Caller | int = 1) -> list[Code]:
        """Of a multi's sub-operations."""
        results = self.do(operation, caller).outcome.results
        assert results is not None
        return [result.code for result in results]

    def load(self, operation: Operation, caller: Caller) -> State:
        what = touched(operation, caller.session)
        ephemerals = {session: self.ephemerals(session) for session in what.ephemerals}
        needed = what.paths | self.assumed | with_parents(frozenset[str]().union(*ephemerals.values()))
        limited = {top for path in self.nodes if (top := quotas.limited(path))}
        needed |= {quotas.stats_path(top) for top in limited}
        counted = {top for path in needed if (top := quotas.counted(path))}
        return State(
            {path: self.nodes.get(path) for path in needed},
            {session: self.sessions.get(session) for session in what.sessions},
            ephemerals,
            quotas=paths.Tops(limited),
            usage={top: self.usage(top) for top in counted},
        )

    def store(self, state: State, applied: Applied) -> None:
        nodes, sessions = list(state.changed_nodes()), list(state.changed_sessions())
        assert applied.changed or not (nodes or sessions or applied.events)
        for path, _, after in nodes:
            if after is None:
                self.nodes.pop(path, None)
            else:
                self.nodes[path] = after
        for session, _, after in sessions:
            if after is None:
                del self.sessions[session]
            else:
                self.sessions[session] = after
        if applied.changed:
            self.zxid += 1
            self.time += 1
        assert applied.outcome.zxid == self.zxid

    def ephemerals(self, session: int) -> frozenset[str]:
        return frozenset(path for path, node in self.nodes.items() if node.owner == session)

    def usage(self, top: str) -> Usage:
        below = [node for path, node in self.nodes.items() if path == top or path.startswith(f"{top}/")]
        return Usage(len(below), sum(data_length(node.data) for node in below))

    def children(self, path: str) -> dict[str, Znode]:
        return {
            paths.name(other): node
            for other, node in self.nodes.items()
            if other != "/" and paths.parent(other) == path
        }

    def check_invariants(self) -> None:
        """What no history may break."""
        for path, node in self.nodes.items():
            assert paths.is_valid(path)
            assert paths.parent(path) in self.nodes, f"{path} is an orphan"
            children = self.children(path)
            assert node.children == len(children)
            assert node.children_sum == sum(edge_hash(name, child.czxid) for name, child in children.items()) % 2**64
            assert node.stat.cversion == int32(2 * node.creates - node.children)
            assert (node.kind is ZnodeKind.EPHEMERAL) == (node.owner != 0)
            assert (node.kind is ZnodeKind.TTL) == (node.ttl > 0)
            assert node.acl
            assert node.czxid <= min(node.mzxid, node.pzxid)
            assert max(node.mzxid, node.pzxid) <= node.zxid <= self.zxid
            assert node.ctime <= node.mtime <= self.time
            if node.owner:
                assert node.owner in self.sessions, f"{path} outlives its session"
                assert not children
        assert self.nodes.keys() >= GENESIS.keys()
