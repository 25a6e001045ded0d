"""The life of a session, and what becomes of its ephemerals."""

from __future__ import annotations

import pytest

from faaskeeper.znode.acl import Caller
from faaskeeper.znode.apply import apply
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Acl, Event, EventKind, Session
from faaskeeper.znode.operations import (
    AttachSession,
    CloseSession,
    Create,
    CreateSession,
    Delete,
    ExpireSession,
    Multi,
    Operation,
    Outcome,
    SetAcl,
)
from faaskeeper.znode.sessions import admit
from faaskeeper.znode.state import NotLoaded, State
from tests.znode.tree import Tree


def ephemeral(path: str, acl: tuple[Acl, ...] = OPEN_ACL) -> Create:
    return Create(path, b"", acl, flags=1)


class TestAdmit:
    SESSION = Session(b"hash", 4000, "gateway", epoch=3)
    STATE = State(sessions={1: SESSION, 2: None})

    @pytest.mark.parametrize(("epoch", "attaching"), [(3, False), (3, True), (2, True), (0, True)])
    def test_admitted(self, epoch: int, attaching: bool) -> None:
        assert admit(self.STATE, 1, b"hash", epoch, attaching=attaching) == self.SESSION

    @pytest.mark.parametrize(
        ("session", "password_hash", "epoch", "attaching", "code"),
        [
            (2, b"hash", 3, False, Code.SESSION_EXPIRED),
            (2, b"hash", 3, True, Code.SESSION_EXPIRED),
            (1, b"other", 3, False, Code.SESSION_EXPIRED),
            (1, b"", 3, True, Code.SESSION_EXPIRED),
            (1, b"other", 2, False, Code.SESSION_EXPIRED),
            (1, b"hash", 2, False, Code.SESSION_MOVED),
            (1, b"hash", 4, False, Code.SESSION_MOVED),
        ],
    )
    def test_refused(self, session: int, password_hash: bytes, epoch: int, attaching: bool, code: Code) -> None:
        with pytest.raises(ZnodeError) as raised:
            admit(self.STATE, session, password_hash, epoch, attaching=attaching)
        assert raised.value.code is code
        assert f"{session:#x}" in str(raised.value)

    def test_a_session_that_was_not_loaded(self) -> None:
        with pytest.raises(NotLoaded) as raised:
            admit(self.STATE, 3, b"hash", 1, attaching=False)
        assert raised.value.session == 3


def test_create_and_attach() -> None:
    tree = Tree()
    outcome = tree.do(CreateSession(b"hash", 4000), Caller(7, "g1")).outcome
    assert outcome == Outcome(Code.OK, 1, session=(4000, 1))
    assert tree.sessions[7] == Session(b"hash", 4000, "g1", 1)
    outcome = tree.do(AttachSession(6000), Caller(7, "g2")).outcome
    assert outcome == Outcome(Code.OK, 2, session=(6000, 2))
    assert tree.sessions[7] == Session(b"hash", 6000, "g2", 2)


def test_an_id_is_given_once() -> None:
    tree = Tree(7)
    before = tree.contents
    assert tree.code(CreateSession(b"other", 4000), Caller(7, "g2")) == Code.SYSTEM_ERROR
    assert tree.contents == before


@pytest.mark.parametrize("operation", [AttachSession(4000), CloseSession()])
def test_what_a_session_that_is_gone_cannot_do(operation: Operation) -> None:
    assert Tree().code(operation, 7) == Code.SESSION_EXPIRED


@pytest.mark.parametrize("close", [CloseSession(), ExpireSession(1)])
def test_the_ephemerals_go_with_their_session(close: Operation) -> None:
    """close.ephemeral_events, close.reply.zxid_is_close_txn: one zxid, each node's event before its parent's."""
    tree = Tree(1, 2)
    closed = (Acl(0, "world", "anyone"),)
    tree.do(Create("/p", b"", OPEN_ACL))
    for operation in (ephemeral("/p/b"), ephemeral("/p/a", closed), ephemeral("/c"), Create("/p/stays", b"", OPEN_ACL)):
        tree.do(operation, 1)
    tree.do(ephemeral("/p/other"), 2)
    tree.do(SetAcl("/p", closed), 1)
    before = tree.nodes["/p"].stat

    applied = tree.do(close, 1)

    assert applied.outcome == Outcome(Code.OK, tree.zxid)
    assert tree.sessions.keys() == {2}
    assert tree.children("/p").keys() == {"stays", "other"}
    assert "/c" not in tree.nodes
    assert tree.nodes["/p"].stat == before._replace(num_children=2, cversion=before.cversion + 2, pzxid=tree.zxid)
    assert tree.nodes["/"].pzxid == tree.zxid
    assert applied.events == (
        Event(tree.zxid, "/c", EventKind.DELETED, OPEN_ACL),
        Event(tree.zxid, "/", EventKind.CHILDREN, OPEN_ACL),
        Event(tree.zxid, "/p/a", EventKind.DELETED, closed),
        Event(tree.zxid, "/p", EventKind.CHILDREN, closed),
        Event(tree.zxid, "/p/b", EventKind.DELETED, OPEN_ACL),
        Event(tree.zxid, "/p", EventKind.CHILDREN, closed),
    )


def test_a_session_without_ephemerals_uses_a_zxid_too() -> None:
    tree = Tree(1)
    applied = tree.do(CloseSession(), 1)
    assert applied.changed
    assert applied.events == ()
    assert tree.sessions == {}


@pytest.mark.parametrize(("session", "epoch"), [(1, 1), (1, 3), (9, 1)])
def test_expiry_spares_a_session_that_was_attached_again_or_is_gone(session: int, epoch: int) -> None:
    tree = Tree(1)
    tree.do(AttachSession(4000), 1)
    tree.do(ephemeral("/e"), 1)
    before = tree.contents
    applied = tree.do(ExpireSession(epoch), session)
    assert not applied.changed
    assert applied.outcome == Outcome(Code.OK, tree.zxid)
    assert tree.contents == before


def test_one_batch_may_make_and_end_ephemerals() -> None:
    """As the sequencer does it: many operations on one state that was loaded before the first of them."""
    tree = Tree(1, 2)
    tree.do(ephemeral("/old"), 1)
    tree.do(ephemeral("/gone"), 1)
    state = State(
        {path: tree.nodes.get(path) for path in ("/", "/old", "/gone", "/new", "/again")},
        {1: tree.sessions[1]},
        {1: tree.ephemerals(1)},
    )
    caller = Caller(1)
    apply(state, Delete("/gone"), caller, 11, 1)
    apply(state, Multi((ephemeral("/new"), ephemeral("/again"), Delete("/again"))), caller, 12, 1)
    assert state.ephemerals(1) == ["/new", "/old"]
    applied = apply(state, CloseSession(), caller, 13, 1)
    assert [event.path for event in applied.events if event.kind is EventKind.DELETED] == ["/new", "/old"]
    changes = {path: (before is not None, after is not None) for path, before, after in state.changed_nodes()}
    gone, never = (True, False), (False, False)
    assert changes == {"/": (True, True), "/old": gone, "/gone": gone, "/new": never, "/again": never}
    assert list(state.changed_sessions()) == [(1, tree.sessions[1], None)]


def test_a_list_of_ephemerals_that_is_out_of_date_deletes_nothing_else() -> None:
    """Lists and nodes are read apart; DataTree.deleteNodes passes over what is gone, too."""
    tree = Tree(1, 2)
    for operation, session in ((ephemeral("/mine"), 1), (ephemeral("/other"), 2), (Create("/kept", b"", OPEN_ACL), 1)):
        tree.do(operation, session)
    state = State(
        {path: tree.nodes.get(path) for path in ("/", "/mine", "/other", "/kept", "/gone")},
        {1: tree.sessions[1]},
        {1: ["/mine", "/other", "/kept", "/gone"]},
    )
    apply(state, CloseSession(), Caller(1), 20, 1)
    assert {path for path, _, after in state.changed_nodes() if after is None} == {"/mine"}
