"""What must be loaded for an operation, and that ``apply`` asks for nothing else."""

from __future__ import annotations

import pytest

from faaskeeper.znode.acl import Caller
from faaskeeper.znode.apply import apply
from faaskeeper.znode.errors import ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Session, Znode
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
from faaskeeper.znode.state import NotLoaded, State
from faaskeeper.znode.touched import touched, with_parents
from tests.znode.tree import Tree


def create(path: str, flags: int = 0) -> Create:
    return Create(path, b"", OPEN_ACL, flags)


@pytest.mark.parametrize(
    ("operation", "paths"),
    [
        (create("/a/b"), {"/a", "/a/b"}),
        (create("/a"), {"/", "/a"}),
        (create("/"), {"/"}),
        (create("/a/b-", 2), {"/a"}),
        (create("/a/", 3), {"/a"}),
        (create("/", 2), {"/"}),
        (Create("/a/b", b"", OPEN_ACL, 6, 5), {"/a"}),
        (Delete("/a/b"), {"/a", "/a/b"}),
        (SetData("/a/b", b""), {"/a/b"}),
        (SetAcl("/a/b", OPEN_ACL), {"/a/b"}),
        (Multi((Check("/v"), create("/a"), create("/a/b"), SetData("/c", b""))), {"/v", "/", "/a", "/a/b", "/c"}),
        (Multi(()), set[str]()),
        (CreateSession(b"", 1), set[str]()),
        (AttachSession(1), set[str]()),
    ],
)
def test_paths(operation: Operation, paths: set[str]) -> None:
    what = touched(operation, 7)
    assert what.paths == paths
    assert what.sessions == {7}
    assert what.ephemerals == set()


@pytest.mark.parametrize("operation", [CloseSession(), ExpireSession(1)])
def test_a_close_needs_the_ephemerals(operation: Operation) -> None:
    what = touched(operation, 7)
    assert (what.paths, what.sessions, what.ephemerals) == (set(), {7}, {7})


def test_the_janitor_has_no_session() -> None:
    what = touched(DeleteContainer("/a/b", 1, 1, 1), 0)
    assert (what.paths, what.sessions, what.ephemerals) == ({"/a", "/a/b"}, set(), set())


@pytest.mark.parametrize(
    "path", ["", "a", "a/b", "/a/", "//", "//a", "/a//b", "/./a", "/a/..", "/\0", "/a\ud800", "\0"]
)
def test_where_no_node_can_be_nothing_is_loaded(path: str) -> None:
    """An empty key, a NUL or half a surrogate pair would be storage's trouble."""
    bad: list[Operation] = [
        create(path),
        create(path, 1),
        create(path, 2),
        create(path, 9),
        Delete(path),
        SetData(path, b""),
        SetAcl(path, OPEN_ACL),
        Multi((Check(path),)),
        DeleteContainer(path, 1, 1, 1),
    ]
    tree = Tree(1)
    tree.do(create("/a"))
    for operation in bad:
        assert touched(operation, 1).paths <= {"/", "/a"}
        tree.code(operation)  # which loads no more than that


def test_not_loaded_leaves_the_state_alone_and_says_what_to_load() -> None:
    """A close names its nodes one by one to whoever does not load ``with_parents`` of the ephemerals."""
    tree = Tree(1)
    tree.do(create("/a"))
    for path in ("/a/x", "/a/y", "/z"):
        tree.do(create(path, 1))
    nodes: dict[str, Znode | None] = {}
    sessions: dict[int, Session | None] = {}
    ephemerals: dict[int, frozenset[str]] = {}
    asked: list[str | int | None] = []
    while True:
        state = State(nodes, sessions, ephemerals)
        try:
            applied = apply(state, CloseSession(), Caller(1), tree.zxid + 1, 1)
            break
        except NotLoaded as missing:
            assert not list(state.changed_nodes())
            assert not list(state.changed_sessions())
            if missing.path is not None:
                nodes[missing.path] = tree.nodes.get(missing.path)
            elif missing.session is not None:
                sessions[missing.session] = tree.sessions.get(missing.session)
            elif missing.ephemerals is not None:
                ephemerals[missing.ephemerals] = tree.ephemerals(missing.ephemerals)
            asked.append(missing.path)
    assert len(applied.events) == 6
    assert {path for path in asked if path} == with_parents(tree.ephemerals(1)) == {"/", "/a", "/a/x", "/a/y", "/z"}


@pytest.mark.parametrize(
    "operation", [create("/a"), create("/a/b"), Delete("/a"), SetData("/a", b""), Multi((create("/a"), Check("/a/b")))]
)
def test_apply_refuses_to_guess(operation: Operation) -> None:
    """A node that was not loaded is neither there nor missing."""
    state = State({"/": Tree().nodes["/"]}, {1: None})
    with pytest.raises(NotLoaded):
        apply(state, operation, Caller(1), 1, 1)
    assert not list(state.changed_nodes())


def test_a_sequential_name_is_assumed_to_be_free_and_that_is_recorded() -> None:
    tree = Tree(1)
    state = tree.load(create("/s-", 2), Caller(1))
    applied = apply(state, create("/s-", 2), Caller(1), 2, 1)
    assert applied.outcome.path == "/s-0000000000"
    assert state.assumed_missing == {"/s-0000000000"}
    with pytest.raises(ZnodeError):
        apply(State({**tree.nodes, "/s-0000000000": tree.nodes["/zookeeper"]}), create("/s-", 2), Caller(1), 2, 1)
