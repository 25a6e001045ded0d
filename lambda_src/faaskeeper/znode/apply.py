"""One operation against one state, with ZooKeeper's results (PrepRequestProcessor, DataTree).

The order of the checks is ZooKeeper's: it decides which error a client sees when several would do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from faaskeeper.znode import acl as acls
from faaskeeper.znode import paths, quotas
from faaskeeper.znode.acl import Caller
from faaskeeper.znode.children import add_child, remove_child
from faaskeeper.znode.create_mode import CREATE_MODES, MAX_TTL_MS, CreateMode
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import Event, EventKind, Permission, Session, Znode, ZnodeKind, data_length, int32
from faaskeeper.znode.operations import (
    AttachSession,
    Check,
    CloseSession,
    Create,
    CreateSession,
    Delete,
    DeleteContainer,
    ExpireSession,
    ListChildren,
    Multi,
    Operation,
    Outcome,
    SetAcl,
    SetData,
    UnwatchSubtree,
    WatchSubtree,
)
from faaskeeper.znode.state import State

__all__ = ["Applied", "Caller", "apply"]

_MAX_CREATES = 2**31 - 1
MAX_CLOSED_ZNODES = 10_000
"""Ephemerals that go in one transaction with their session; before it those go that it owns besides."""
_MAX_CLOSED_CHARACTERS = 4_000_000
"""Characters of their paths and ACLs, which the events of their end repeat, likewise."""
MAX_LISTED_CHILDREN = 50_000
"""Children of a node that ListChildren lists: all writes wait while it does."""
MAX_NAME_CHARACTERS = 1_000_000
"""Characters of their names, of which each takes six bytes at most in a reply."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an operation that was not refused.

    ``changed`` tells whether it made a transaction: if not, the zxid it was given is still free, the state is as
    before, there are no events, and ``outcome.zxid`` is the zxid before. Events are in the order they fire.
    Unless ``finished``, the operation is to be applied again: its outcome is to come.
    """

    outcome: Outcome
    events: tuple[Event, ...] = ()
    changed: bool = True
    finished: bool = True


def apply(state: State, operation: Operation, caller: Caller, zxid: int, time: int) -> Applied:
    """Applies ``operation`` to ``state`` as transaction ``zxid``, one above the last, at ``time`` (ms since the epoch).

    ``caller`` has been admitted (``sessions.admit``); what it may do to which node is decided here.
    Raises ZnodeError or NotLoaded, both with the state as before. A multi that fails is an outcome, not an error.
    """
    fork = state.fork()
    transaction = _Transaction(fork, caller, zxid, time)
    if isinstance(operation, Multi):
        results: list[Outcome] = []
        for index, each in enumerate(operation.operations):
            try:
                results.append(transaction.run(each))
            except ZnodeError as error:
                codes = [Code.OK] * index + [error.code]
                codes += [Code.RUNTIME_INCONSISTENCY] * (len(operation.operations) - len(codes))
                return _unchanged(zxid, codes)
        outcome = Outcome(Code.OK, zxid, results=tuple(results))
    elif isinstance(operation, Check):
        raise ZnodeError(Code.UNIMPLEMENTED, "check stands only inside a multi")
    else:
        outcome = transaction.run(operation)
    if not fork.has_changes:
        if outcome.names is not None:
            return Applied(outcome, changed=False)
        return _unchanged(zxid, None if outcome.results is None else [result.code for result in outcome.results])
    state.merge(fork)
    return Applied(outcome, tuple(transaction.events), finished=transaction.finished)


def _unchanged(zxid: int, codes: list[Code] | None) -> Applied:
    before = zxid - 1
    results = None if codes is None else tuple(Outcome(code, before) for code in codes)
    return Applied(Outcome(Code.OK, before, results=results), changed=False)


class _Transaction:
    """Changes a state that nobody else holds, so that whoever made it can drop it."""

    def __init__(self, state: State, caller: Caller, zxid: int, time: int) -> None:
        self.events: list[Event] = []
        self.finished = True
        self._state = state
        self._caller = caller
        self._zxid = zxid
        self._time = time

    def run(self, operation: Operation) -> Outcome:
        match operation:
            case Create():
                return self._create(operation)
            case Delete():
                return self._delete(operation)
            case SetData():
                return self._set_data(operation)
            case SetAcl():
                return self._set_acl(operation)
            case Check():
                return self._check(operation)
            case CreateSession():
                return self._create_session(operation)
            case AttachSession():
                return self._attach_session(operation)
            case CloseSession():
                return self._close_session()
            case ExpireSession():
                return self._expire_session(operation)
            case DeleteContainer():
                return self._delete_container(operation)
            case WatchSubtree() | UnwatchSubtree():
                if not paths.is_valid(operation.path):
                    raise ZnodeError(Code.BAD_ARGUMENTS, "no znode can be there")
                self._state.put_subtree_watch(operation.path, operation.gateway, isinstance(operation, WatchSubtree))
                return Outcome(Code.OK, self._zxid)
            case ListChildren():
                return self._list_children(operation)
            case Multi():
                raise ZnodeError(Code.MARSHALLING_ERROR, "a multi inside a multi")

    def _create(self, create: Create) -> Outcome:
        mode = _create_mode(create)
        if mode.kind is ZnodeKind.EPHEMERAL:
            self._existing_session()
        if "/" not in create.path or "\0" in create.path:
            raise ZnodeError(Code.BAD_ARGUMENTS, f"invalid path {create.path!r}")
        acl = acls.fixup(create.acl, self._caller)
        parent_path = paths.parent(create.path)
        parent = self._existing(parent_path)
        acls.check(parent.acl, Permission.CREATE, self._caller)
        path = f"{create.path}{parent.creates:010d}" if mode.sequential else create.path
        paths.validate(path)
        if not paths.is_valid(path):
            raise ZnodeError(Code.SYSTEM_ERROR, "too long to be stored")
        if (self._state.node_or_assume_missing(path) if mode.sequential else self._state.node(path)) is not None:
            raise ZnodeError(Code.NODE_EXISTS, path)
        if parent.kind is ZnodeKind.EPHEMERAL:
            raise ZnodeError(Code.NO_CHILDREN_FOR_EPHEMERALS, parent_path)
        node = Znode(
            czxid=self._zxid,
            mzxid=self._zxid,
            pzxid=self._zxid,
            zxid=self._zxid,
            ctime=self._time,
            mtime=self._time,
            owner=self._caller.session if mode.kind is ZnodeKind.EPHEMERAL else 0,
            acl=acl,
            kind=mode.kind,
            ttl=create.ttl or 0,
            data=create.data,
        )
        self._state.put(path, node)
        self._put_parent(
            parent_path,
            parent,
            creates=min(parent.creates + 1, _MAX_CREATES),
            children=parent.children + 1,
            children_sum=add_child(parent.children_sum, paths.name(path), self._zxid),
        )
        self._begin_to_count(path, node)
        self._count(path, 1, data_length(node.data))
        self._fire(path, EventKind.CREATED, node)
        self._fire(parent_path, EventKind.CHILDREN, parent)
        return Outcome(Code.OK, self._zxid, path=path, stat=node.stat)

    def _delete(self, delete: Delete) -> Outcome:
        path = delete.path
        if "/" not in path or "\0" in path or path in paths.SPECIAL_PATHS:
            raise ZnodeError(Code.BAD_ARGUMENTS, f"{path!r} cannot be deleted")
        acls.check(self._existing(paths.parent(path)).acl, Permission.DELETE, self._caller)
        node = self._existing(path)
        _check_version(path, node.version, delete.version)
        if node.children:
            raise ZnodeError(Code.NOT_EMPTY, path)
        self._remove(path, node)
        return Outcome(Code.OK, self._zxid)

    def _set_data(self, set_data: SetData) -> Outcome:
        path = set_data.path
        paths.validate(path)
        before = self._existing(path)
        acls.check(before.acl, Permission.WRITE, self._caller)
        _check_version(path, before.version, set_data.version)
        node = replace(
            before,
            mzxid=self._zxid,
            zxid=self._zxid,
            mtime=self._time,
            version=int32(before.version + 1),
            data=set_data.data,
        )
        self._state.put(path, node)
        self._count(path, 0, data_length(node.data) - data_length(before.data))
        self._fire(path, EventKind.DATA, node)
        return Outcome(Code.OK, self._zxid, stat=node.stat)

    def _set_acl(self, set_acl: SetAcl) -> Outcome:
        path = set_acl.path
        paths.validate(path)
        acl = acls.fixup(set_acl.acl, self._caller)
        before = self._existing(path)
        acls.check(before.acl, Permission.ADMIN, self._caller)
        _check_version(path, before.aversion, set_acl.version)
        node = replace(before, zxid=self._zxid, aversion=int32(before.aversion + 1), acl=acl)
        self._state.put(path, node)
        return Outcome(Code.OK, self._zxid, stat=node.stat)

    def _check(self, check: Check) -> Outcome:
        paths.validate(check.path)
        node = self._existing(check.path)
        acls.check(node.acl, Permission.READ, self._caller)
        _check_version(check.path, node.version, check.version)
        return Outcome(Code.OK, self._zxid)

    def _create_session(self, create: CreateSession) -> Outcome:
        session_id = self._caller.session
        if self._state.session(session_id) is not None:
            raise ZnodeError(Code.SYSTEM_ERROR, f"session {session_id:#x} exists")
        session = Session(create.password_hash, create.timeout, self._caller.gateway, epoch=1)
        return self._put_session(session)

    def _attach_session(self, attach: AttachSession) -> Outcome:
        session = self._existing_session()
        return self._put_session(
            replace(session, timeout=attach.timeout, gateway=self._caller.gateway, epoch=session.epoch + 1)
        )

    def _close_session(self) -> Outcome:
        self._existing_session()
        session_id = self._caller.session
        owned = self._state.ephemerals(session_id)
        closed = size = 0
        for path in owned[:MAX_CLOSED_ZNODES]:
            if size > _MAX_CLOSED_CHARACTERS:
                break
            node = self._state.node(path)
            if node is not None and node.owner == session_id:
                self._remove(path, node)
                size += len(path) + sum(len(entry.scheme) + len(entry.id) for entry in node.acl)
            closed += 1
        self.finished = closed == len(owned)
        if self.finished:
            self._state.put_session(session_id, None)
        return Outcome(Code.OK, self._zxid)

    def _expire_session(self, expire: ExpireSession) -> Outcome:
        session = self._state.session(self._caller.session)
        if session is not None and session.epoch == expire.epoch:
            return self._close_session()
        return Outcome(Code.OK, self._zxid)

    def _delete_container(self, delete: DeleteContainer) -> Outcome:
        node = self._existing(delete.path)
        same = (node.czxid, node.pzxid) == (delete.czxid, delete.pzxid)
        match node.kind:
            case ZnodeKind.CONTAINER:
                candidate = same and node.creates > 0
            case ZnodeKind.TTL:
                candidate = same and node.mzxid == delete.mzxid and node.mtime + node.ttl <= self._time
            case _:
                candidate = False
        if not candidate:
            raise ZnodeError(Code.BAD_VERSION, f"{delete.path} is not what the janitor saw, or its time has not come")
        if node.children:
            raise ZnodeError(Code.NOT_EMPTY, delete.path)
        self._remove(delete.path, node)
        return Outcome(Code.OK, self._zxid)

    def _list_children(self, listing: ListChildren) -> Outcome:
        node = self._existing(listing.path)
        acls.check(node.acl, Permission.READ, self._caller)
        if node.children > MAX_LISTED_CHILDREN:
            raise ZnodeError(Code.OPERATION_TIMEOUT, f"{listing.path} has {node.children} children")
        names = self._state.child_names(listing.path)
        if sum(map(len, names)) > MAX_NAME_CHARACTERS:
            raise ZnodeError(Code.OPERATION_TIMEOUT, f"the children of {listing.path} have names too long")
        return Outcome(Code.OK, self._zxid - 1, stat=node.stat, names=tuple(names))

    def _existing(self, path: str) -> Znode:
        # No node is at an invalid path, so storage need not be able to look there.
        node = self._state.node(path) if paths.is_valid(path) else None
        if node is None:
            raise ZnodeError(Code.NO_NODE, path)
        return node

    def _existing_session(self) -> Session:
        session = self._state.session(self._caller.session)
        if session is None:
            raise ZnodeError(Code.SESSION_EXPIRED, f"no session {self._caller.session:#x}")
        return session

    def _put_session(self, session: Session) -> Outcome:
        self._state.put_session(self._caller.session, session)
        return Outcome(Code.OK, self._zxid, session=(session.timeout, session.epoch))

    def _put_parent(self, path: str, before: Znode, *, creates: int, children: int, children_sum: int) -> None:
        node = replace(
            before, pzxid=self._zxid, zxid=self._zxid, creates=creates, children=children, children_sum=children_sum
        )
        self._state.put(path, node)

    def _remove(self, path: str, node: Znode) -> None:
        parent_path = paths.parent(path)
        parent = self._existing(parent_path)
        self._state.put(path, None)
        self._put_parent(
            parent_path,
            parent,
            creates=parent.creates,
            children=parent.children - 1,
            children_sum=remove_child(parent.children_sum, paths.name(path), node.czxid),
        )
        self._count(path, -1, -data_length(node.data))
        self._fire(path, EventKind.DELETED, node)
        self._fire(parent_path, EventKind.CHILDREN, parent)

    def _begin_to_count(self, path: str, node: Znode) -> None:
        """A new ``zookeeper_stats`` says what is there, whatever its creator wrote (DataTree.updateQuotaForPath)."""
        top = quotas.counted(path)
        if top is None:
            return
        usage = self._state.usage(top)
        if usage is None:
            raise ZnodeError(Code.SYSTEM_ERROR, f"{top} has too much below it to be counted")
        self._state.put(path, replace(node, data=quotas.stats_text(usage)))

    def _count(self, path: str, znodes: int, size: int) -> None:
        """Changes nothing of the ``zookeeper_stats`` but its data: no version, no mzxid, and no watch fires."""
        top = self._state.quota_top(path)
        node = self._state.node(quotas.stats_path(top)) if top else None
        if top and node is not None:
            counted = replace(node, zxid=self._zxid, data=quotas.add(node.data, znodes, size))
            self._state.put(quotas.stats_path(top), counted)

    def _fire(self, path: str, kind: EventKind, node: Znode) -> None:
        self.events.append(Event(self._zxid, path, kind, node.acl))


def _create_mode(create: Create) -> CreateMode:
    mode = CREATE_MODES.get(create.flags)
    if mode is None:
        raise ZnodeError(Code.BAD_ARGUMENTS, f"flags {create.flags} are no create mode")
    if mode.kind is ZnodeKind.TTL:
        if create.ttl is None or not 0 < create.ttl <= MAX_TTL_MS:
            raise ZnodeError(Code.BAD_ARGUMENTS, f"ttl {create.ttl} is not within 1 and {MAX_TTL_MS} ms")
    elif create.ttl is not None:
        raise ZnodeError(Code.BAD_ARGUMENTS, f"flags {create.flags} take no ttl, but it is {create.ttl}")
    return mode


def _check_version(path: str, actual: int, expected: int) -> None:
    if expected not in (-1, actual):
        raise ZnodeError(Code.BAD_VERSION, f"{path} is at version {actual}, not {expected}")
