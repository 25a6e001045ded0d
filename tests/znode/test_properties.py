"""What holds for every history of operations, found by trying to break it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from faaskeeper.znode import paths
from faaskeeper.znode.acl import Caller, digest_id
from faaskeeper.znode.apply import Applied, apply
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Acl, EventKind, Identity, Znode
from faaskeeper.znode.operations import (
    AttachSession,
    Check,
    CloseSession,
    Create,
    CreateSession,
    Delete,
    DeleteContainer,
    ExpireSession,
    Multi,
    Operation,
    SetAcl,
    SetData,
)
from faaskeeper.znode.state import State
from faaskeeper.znode.touched import touched
from tests.znode.tree import Tree

BOSS = Identity("digest", digest_id("boss:pw"))
SESSIONS = (1, 2, 3)
NAMES = ("a", "b", "c", "a0000000000", "a0000000001")
PATHS = [
    *("/" + name for name in NAMES),
    *(f"/{first}/{second}" for first in NAMES[:3] for second in NAMES),
    *(f"/a/{second}/{third}" for second in NAMES[:3] for third in NAMES[:3]),
]
ODD_PATHS = [
    "/",
    "",
    "a",
    "/a/",
    "//",
    "/a//b",
    "/a/.",
    "/a\0",
    "/\U0001f600",
    "/zookeeper",
    "/zookeeper/config",
    "/nix/a",
]
ACLS = [
    *([OPEN_ACL] * 12),
    (),
    (Acl(1, "world", "anyone"),),
    (Acl(31, "auth", ""),),
    (Acl(31, *BOSS), Acl(13, "world", "anyone")),
    (Acl(30, "world", "anyone"),),
    (Acl(31, "nosuch", "x"),),
]

path = st.sampled_from(PATHS * 4 + ODD_PATHS)
acl = st.sampled_from(ACLS)
data = st.sampled_from([None, b"", b"x", b"longer"])
version = st.sampled_from([-1] * 6 + [0, 0, 1, 2, -2])
flags = st.sampled_from([0] * 6 + [1, 1, 1, 2, 3, 3, 4, 5, 9])
creates = st.one_of(
    st.builds(Create, path, data, acl, flags),
    st.builds(Create, path, data, acl, flags),
    st.builds(Create, path, data, acl, st.sampled_from([5, 6]), st.sampled_from([0, 1, 20, 2**40])),
)
deletes = st.builds(Delete, path, version)
sets = st.builds(SetData, path, data, version)
checks = st.builds(Check, path, version)
sub_operations = st.lists(st.one_of(creates, creates, deletes, sets, checks), max_size=5).map(tuple)
operations: st.SearchStrategy[Operation] = st.one_of(
    creates,
    creates,
    creates,
    deletes,
    deletes,
    sets,
    st.builds(SetAcl, path, acl, version),
    checks,
    sub_operations.map(Multi),
    st.builds(CreateSession, st.just(b"hash"), st.just(4000)),
    st.sampled_from([CloseSession(), AttachSession(5000), ExpireSession(1), ExpireSession(2)]),
    st.sampled_from(PATHS).map(lambda path: DeleteContainer(path, 0, 0, 0)),
)
callers = st.sampled_from(
    [
        *(Caller(session) for session in SESSIONS for _ in range(3)),
        *(Caller(session, identities=(BOSS,)) for session in SESSIONS),
        Caller(1, superuser=True),
    ]
)
histories = st.lists(st.tuples(operations, callers), max_size=40)


def as_seen(operation: Operation, tree: Tree) -> Operation:
    """Of the node as it is: the janitor has just looked."""
    node = tree.nodes.get(operation.path) if isinstance(operation, DeleteContainer) else None
    if not isinstance(operation, DeleteContainer) or node is None:
        return operation
    return DeleteContainer(operation.path, node.czxid, node.mzxid, node.pzxid)


def attempt(tree: Tree, operation: Operation, caller: Caller) -> Applied | Code:
    try:
        return tree.do(as_seen(operation, tree), caller)
    except ZnodeError as error:
        return error.code


def grown(history: list[tuple[Operation, Caller]]) -> Tree:
    tree = Tree(*SESSIONS)
    for operation, caller in history:
        attempt(tree, operation, caller)
    return tree


@settings(max_examples=300, deadline=None)
@given(histories)
def test_every_step_of_a_history(history: list[tuple[Operation, Caller]]) -> None:
    tree = Tree(*SESSIONS)
    for operation, caller in history:
        before = tree.contents
        result = attempt(tree, operation, caller)
        if isinstance(result, Code):
            assert result is not Code.OK
            assert tree.contents == before
            continue
        assert (tree.zxid > before.zxid) is result.changed
        if not result.changed:
            assert tree.contents == before
            continue
        check_step(tree, before.nodes, result)
        if isinstance(operation, CloseSession):
            assert caller.session not in tree.sessions
            owned = {path for path, node in before.nodes.items() if node.owner == caller.session}
            assert before.nodes.keys() - tree.nodes.keys() == owned
        elif not isinstance(operation, ExpireSession):
            assert tree.sessions.keys() >= before.sessions.keys()
    tree.check_invariants()


def check_step(tree: Tree, before: dict[str, Znode], result: Applied) -> None:
    """Stats, zxids and events of one transaction against the difference it made."""
    zxid = tree.zxid
    counts = Counter((event.path, event.kind) for event in result.events)
    for event, following in pairwise((*result.events, None)):
        assert event is not None
        assert event.zxid == zxid
        if event.kind in (EventKind.CREATED, EventKind.DELETED):
            assert following is not None
            assert (following.path, following.kind) == (paths.parent(event.path), EventKind.CHILDREN)
    for path in before.keys() - tree.nodes.keys():
        assert counts[path, EventKind.DELETED] == counts[path, EventKind.CREATED] + 1
    for path, node in tree.nodes.items():
        old = before.get(path)
        if old is None or old.czxid != node.czxid:
            assert (node.czxid, node.zxid) == (zxid, zxid)
            assert counts[path, EventKind.CREATED] == counts[path, EventKind.DELETED] + (old is None)
            continue
        steps = counts[path, EventKind.CHILDREN]
        writes = counts[path, EventKind.DATA]
        assert (node.zxid == zxid) is (node != old)
        assert node.stat.cversion - old.stat.cversion == steps
        assert node.pzxid == (zxid if steps else old.pzxid)
        assert node.version - old.version == writes
        assert (node.mzxid, node.mtime) == ((zxid, tree.time) if writes else (old.mzxid, old.mtime))
        assert (node.ctime, node.kind, node.owner, node.ttl) == (old.ctime, old.kind, old.owner, old.ttl)
        assert writes or node.data == old.data
        assert (node.aversion == old.aversion) is (node.acl == old.acl) or node.aversion == old.aversion + 1


def timeless(nodes: dict[str, Znode]) -> dict[str, Znode]:
    return {
        path: replace(node, czxid=0, mzxid=0, pzxid=0, zxid=0, ctime=0, mtime=0, children_sum=0)
        for path, node in nodes.items()
    }


@settings(max_examples=300, deadline=None)
@given(histories, sub_operations, callers)
def test_a_multi_is_its_operations_or_nothing(
    history: list[tuple[Operation, Caller]],
    parts: tuple[Create | Delete | SetData | Check, ...],
    caller: Caller,
) -> None:
    together, singly = grown(history), grown(history)
    before = together.contents
    codes = together.codes(Multi(parts), caller)
    expected: list[Code] = []
    for part in parts:
        if set(expected) - {Code.OK}:
            expected.append(Code.RUNTIME_INCONSISTENCY)
        elif isinstance(part, Check):
            expected += singly.codes(Multi((part,)), caller)
        else:
            expected.append(singly.code(part, caller))
    assert codes == expected
    if set(codes) <= {Code.OK}:
        assert timeless(together.nodes) == timeless(singly.nodes)
        together.check_invariants()
    else:
        assert together.contents == before


@settings(max_examples=200, deadline=None)
@given(histories, histories)
def test_a_batch_on_one_state_is_its_operations_one_by_one(
    history: list[tuple[Operation, Caller]], batch: list[tuple[Operation, Caller]]
) -> None:
    """The sequencer's group commit; and whatever else was loaded makes no difference."""
    tree, alone = grown(history), grown(history)
    expected: list[tuple[Operation, Caller, Applied | Code, dict[int, frozenset[str]]]] = []
    for operation, caller in batch:
        seen = as_seen(operation, alone)
        result = attempt(alone, seen, caller)
        expected.append((seen, caller, result, {session: alone.ephemerals(session) for session in SESSIONS}))
    known = frozenset(tree.nodes).union(*(touched(operation, 0).paths for operation, _ in batch))
    state = State(
        {path: tree.nodes.get(path) for path in known},
        {session: tree.sessions.get(session) for session in SESSIONS},
        {session: tree.ephemerals(session) for session in SESSIONS},
    )
    zxid, time = tree.zxid, tree.time
    for operation, caller, result, ephemerals in expected:
        applied: Applied | Code
        try:
            applied = apply(state, operation, caller, zxid + 1, time + 1)
            zxid, time = zxid + applied.changed, time + applied.changed
        except ZnodeError as error:
            applied = error.code
        assert applied == result
        assert {session: frozenset(state.ephemerals(session)) for session in SESSIONS} == ephemerals
    for path, before, after in state.changed_nodes():
        assert tree.nodes.pop(path, None) == before
        if after is not None:
            tree.nodes[path] = after
    assert tree.nodes == alone.nodes
    for session, before, after in state.changed_sessions():
        assert (tree.sessions.get(session), alone.sessions.get(session)) == (before, after)
