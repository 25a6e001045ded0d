"""The part of the tree that a batch of operations reads and changes.

A State holds what was loaded and, above it, what the operations made of it. Nothing else is recorded: edges,
ephemeral entries and storage writes all follow from comparing a node before with the same node after, so they
cannot disagree with the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from faaskeeper.znode import quotas
from faaskeeper.znode.model import Session, Znode, data_length
from faaskeeper.znode.paths import Tops, is_within
from faaskeeper.znode.quotas import Usage


class NotLoaded(LookupError):
    """The operation needs something the State was not given: load that and apply again.

    One of: the node at ``path``, a ``session``, the ``ephemerals`` of a session, the names of a path's ``children``,
    the ``usage`` of a path's subtree.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        session: int | None = None,
        ephemerals: int | None = None,
        children: str | None = None,
        usage: str | None = None,
    ) -> None:
        super().__init__(f"{path=} {session=} {ephemerals=} {children=} {usage=}")
        self.path = path
        self.session = session
        self.ephemerals = ephemerals
        self.children = children
        self.usage = usage


class State:
    """Loaded nodes and sessions with an overlay of changes.

    ``nodes`` maps each loaded path to its Znode, or to None where none exists; ``sessions`` likewise;
    ``ephemerals`` maps a session to the paths it owns in storage, loaded for sessions that are being closed;
    ``children`` maps a path to the names of its children in storage, loaded for listings;
    ``quotas`` are the paths that have one, all of them; ``usage`` maps a path to what is in its subtree in storage,
    None if that is too much to count.
    """

    def __init__(
        self,
        nodes: Mapping[str, Znode | None] | None = None,
        sessions: Mapping[int, Session | None] | None = None,
        ephemerals: Mapping[int, Iterable[str]] | None = None,
        children: Mapping[str, Iterable[str]] | None = None,
        quotas: Tops | None = None,
        usage: Mapping[str, Usage | None] | None = None,
    ) -> None:
        self._loaded_nodes = dict(nodes or {})
        self._loaded_sessions = dict(sessions or {})
        self._loaded_ephemerals = {owner: frozenset(paths) for owner, paths in (ephemerals or {}).items()}
        self._loaded_children = {path: frozenset(names) for path, names in (children or {}).items()}
        self._loaded_quotas = quotas or Tops()
        self._loaded_usage = dict(usage or {})
        self._subtrees: dict[tuple[str, str], bool] = {}
        self._quotas: dict[str, bool] = {}
        self._nodes: dict[str, Znode | None] = {}
        self._sessions: dict[int, Session | None] = {}
        self._assumed: set[str] = set()
        self._parent: State | None = None

    def node(self, path: str) -> Znode | None:
        """The znode at ``path``, None if there is none. Raises NotLoaded."""
        state: State | None = self
        while state is not None:
            if path in state._nodes:
                return state._nodes[path]
            if state._parent is None:
                if path in state._loaded_nodes:
                    return state._loaded_nodes[path]
                if path in state._assumed:
                    return None
            state = state._parent
        raise NotLoaded(path=path)

    def node_or_assume_missing(self, path: str) -> Znode | None:
        """Like ``node``, but a path that was not loaded is taken to be missing.

        For names that are known only while applying (sequential creates): one that exists is rare, so storage
        makes the absence a condition of the commit instead of loading it first.
        """
        try:
            return self.node(path)
        except NotLoaded:
            self._root()._assumed.add(path)
            return None

    def session(self, session_id: int) -> Session | None:
        """The session, None if there is none. Raises NotLoaded."""
        state: State | None = self
        while state is not None:
            if session_id in state._sessions:
                return state._sessions[session_id]
            if state._parent is None and session_id in state._loaded_sessions:
                return state._loaded_sessions[session_id]
            state = state._parent
        raise NotLoaded(session=session_id)

    def ephemerals(self, session_id: int) -> list[str]:
        """Paths of the ephemerals that the session owns now, sorted. Raises NotLoaded."""
        root = self._root()
        if session_id not in root._loaded_ephemerals:
            raise NotLoaded(ephemerals=session_id)
        paths = set(root._loaded_ephemerals[session_id])
        for layer in self._layers():
            for path, node in layer._nodes.items():
                if node is not None and node.owner == session_id:
                    paths.add(path)
                else:
                    paths.discard(path)
        return sorted(paths)

    def child_names(self, path: str) -> list[str]:
        """Names of the children of ``path`` now, sorted. Raises NotLoaded."""
        root = self._root()
        if path not in root._loaded_children:
            raise NotLoaded(children=path)
        names = set(root._loaded_children[path])
        prefix = "/" if path == "/" else f"{path}/"
        for layer in self._layers():
            for child, node in layer._nodes.items():
                if child.startswith(prefix) and child != "/" and "/" not in child[len(prefix) :]:
                    (names.discard if node is None else names.add)(child[len(prefix) :])
        return sorted(names)

    def quota_top(self, path: str) -> str | None:
        """The path with the quota that the node at ``path`` is counted for, None if there is none."""
        layers = self._layers()
        tops = dict.fromkeys(layers[0]._loaded_quotas.over(path), True)
        for layer in layers:
            tops.update((top, present) for top, present in layer._quotas.items() if is_within(path, top))
        return max((top for top, present in tops.items() if present), key=len, default=None)

    def usage(self, path: str) -> Usage | None:
        """What is in the subtree of ``path`` now, None if that is too much to count. Raises NotLoaded."""
        root = self._root()
        if path not in root._loaded_usage:
            raise NotLoaded(usage=path)
        usage = root._loaded_usage[path]
        if usage is None:
            return None
        znodes, size = usage
        changed = {each: node for layer in self._layers() for each, node in layer._nodes.items()}
        for each, after in changed.items():
            if each == path or each.startswith(f"{path}/"):
                before = root._loaded_nodes.get(each)
                znodes += (after is not None) - (before is not None)
                size += data_length(after and after.data) - data_length(before and before.data)
        return Usage(znodes, size)

    def put(self, path: str, node: Znode | None) -> None:
        self._nodes[path] = node
        if top := quotas.limited(path):
            self._quotas[top] = node is not None

    def put_session(self, session_id: int, session: Session | None) -> None:
        self._sessions[session_id] = session

    def put_subtree_watch(self, path: str, gateway: str, present: bool) -> None:
        self._subtrees[path, gateway] = present

    def fork(self) -> State:
        """A State on top of this one; its changes reach this one with ``merge``, or are dropped with it."""
        child = State()
        child._parent = self
        return child

    def merge(self, fork: State) -> None:
        assert fork._parent is self
        self._nodes.update(fork._nodes)
        self._sessions.update(fork._sessions)
        self._subtrees.update(fork._subtrees)
        self._quotas.update(fork._quotas)

    @property
    def has_changes(self) -> bool:
        """Whether anything was put here since this State, or this fork, was made."""
        return bool(self._nodes or self._sessions or self._subtrees)

    def changed_nodes(self) -> Iterator[tuple[str, Znode | None, Znode | None]]:
        """(path, before, after) of every node that a merged operation touched and that differs now.

        A node that was missing, created and deleted again counts: its tombstone gets a new zxid.
        """
        for path, after in self._nodes.items():
            before = self._loaded_nodes.get(path)
            if before != after or after is None:
                yield path, before, after

    def changed_sessions(self) -> Iterator[tuple[int, Session | None, Session | None]]:
        """(id, before, after) of every session that differs now."""
        for session_id, after in self._sessions.items():
            before = self._loaded_sessions.get(session_id)
            if before != after:
                yield session_id, before, after

    @property
    def sessions_put(self) -> Mapping[int, Session | None]:
        """What was put for sessions since this State, or this fork, was made."""
        return self._sessions

    def changed_subtree_watches(self) -> Iterator[tuple[str, str, bool]]:
        """(path, gateway, whether it watches now) of every watch on a subtree that was put."""
        for (path, gateway), present in self._subtrees.items():
            yield path, gateway, present

    @property
    def assumed_missing(self) -> frozenset[str]:
        """Paths whose absence the commit must verify."""
        return frozenset(self._root()._assumed)

    def _root(self) -> State:
        state = self
        while state._parent is not None:
            state = state._parent
        return state

    def _layers(self) -> list[State]:
        """From the root up to this State, so that later layers override earlier ones."""
        layers: list[State] = []
        state: State | None = self
        while state is not None:
            layers.append(state)
            state = state._parent
        return layers[::-1]
