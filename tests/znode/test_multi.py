"""multi: the probe's facts ``multi.*`` and ``seq.*multi``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faaskeeper.znode.acl import Caller
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, READ_ACL, Acl, Event, EventKind, Identity
from faaskeeper.znode.operations import Check, Create, Delete, Multi, Outcome, SetData
from tests.znode.tree import Tree

OK, UNDONE = Code.OK, Code.RUNTIME_INCONSISTENCY
SubOperation = Create | Delete | SetData | Check


def create(path: str, flags: int = 0) -> Create:
    return Create(path, b"", OPEN_ACL, flags)


@pytest.fixture
def tree() -> Tree:
    """/a (version 0), /t, and /closed that may only be read."""
    tree = Tree(1)
    for operation in (create("/a"), create("/t"), Create("/closed", b"", READ_ACL)):
        tree.do(operation)
    return tree


@pytest.mark.parametrize(
    ("operations", "codes"),
    [
        pytest.param((), [], id="multi.empty"),
        pytest.param((Check("/none"),), [Code.NO_NODE], id="multi.check_missing"),
        pytest.param((Check("/a", 77),), [Code.BAD_VERSION], id="multi.check_bad"),
        pytest.param((Check("/a", -1), Check("/a", 0)), [OK, OK], id="multi.check_-1"),
        pytest.param((Check("/a/"),), [Code.BAD_ARGUMENTS], id="check validates"),
        pytest.param((Check(""),), [Code.BAD_ARGUMENTS], id="check empty"),
        pytest.param(
            (create("/x"), SetData("/none", b""), create("/y"), Delete("/alsonone")),
            [OK, Code.NO_NODE, UNDONE, UNDONE],
            id="multi.fail.results",
        ),
        pytest.param((Delete("/none"), create("/y")), [Code.NO_NODE, UNDONE], id="multi.fail.first"),
        pytest.param((create("/y"), create("/a")), [OK, Code.NODE_EXISTS], id="multi.fail.last"),
        pytest.param(
            (create("/a/e", 1), create("/a/e/k")), [OK, Code.NO_CHILDREN_FOR_EPHEMERALS], id="multi.ephemeral+child"
        ),
        pytest.param((create("/y"), SetData("/closed", b"")), [OK, Code.NO_AUTH], id="no permission"),
        pytest.param((create("/y"), Create("/z", b"", ())), [OK, Code.INVALID_ACL], id="bad acl"),
        pytest.param((create("/y"), create("/y", 9)), [OK, Code.BAD_ARGUMENTS], id="bad flags"),
        pytest.param((create("/a/k"), Delete("/a")), [OK, Code.NOT_EMPTY], id="sees the child"),
        pytest.param((Delete("/t"), Check("/t")), [OK, Code.NO_NODE], id="sees the delete"),
        pytest.param((SetData("/a", b"", 0), SetData("/a", b"", 0)), [OK, Code.BAD_VERSION], id="sees the version"),
    ],
)
def test_nothing_changes(tree: Tree, operations: tuple[SubOperation, ...], codes: list[Code]) -> None:
    """multi.fail.header_err, multi.fail.rolled_back; no zxid is used up."""
    before = tree.contents
    applied = tree.do(Multi(operations))
    expected = tuple(Outcome(code, tree.zxid) for code in codes)
    assert applied.outcome == Outcome(Code.OK, tree.zxid, results=expected)
    assert not applied.changed
    assert applied.events == ()
    assert tree.contents == before


def test_all_or_nothing_with_one_zxid(tree: Tree) -> None:
    """multi.ok, multi.ok.setversion, multi.one_zxid, multi.parent_cversion"""
    before = tree.zxid
    outcome = tree.do(
        Multi((create("/b"), SetData("/b", b"1", 0), Check("/b", 1), create("/b/c"), Delete("/b/c"), create("/b/d")))
    ).outcome
    assert tree.zxid == before + 1
    assert outcome.results is not None
    created, written, checked, child, deleted, _ = outcome.results
    assert created.path == "/b"
    assert created.stat is not None
    assert (created.stat.version, created.stat.num_children) == (0, 0)
    assert written.stat is not None
    assert (written.stat.version, written.stat.num_children) == (1, 0)
    assert checked == deleted == Outcome(Code.OK, tree.zxid)
    assert child.path == "/b/c"
    node = tree.nodes["/b"]
    assert (node.czxid, node.mzxid, node.pzxid, node.zxid) == (tree.zxid,) * 4
    assert (node.version, node.stat.cversion, node.children) == (1, 3, 1)


def test_create_delete_create(tree: Tree) -> None:
    """multi.create_then_delete_same"""
    assert tree.codes(Multi((create("/n"), Delete("/n"), create("/n")))) == [OK, OK, OK]
    assert tree.nodes["/n"].czxid == tree.zxid


def test_a_node_that_comes_and_goes_leaves_its_traces(tree: Tree) -> None:
    before = tree.nodes["/"].stat
    applied = tree.do(Multi((create("/n"), Delete("/n"))))
    assert applied.changed
    assert tree.nodes["/"].stat == before._replace(cversion=before.cversion + 2, pzxid=tree.zxid)
    assert [event.kind for event in applied.events] == [
        EventKind.CREATED,
        EventKind.CHILDREN,
        EventKind.DELETED,
        EventKind.CHILDREN,
    ]


def test_sequence_numbers(tree: Tree) -> None:
    """seq.in_multi, seq.after_failed_multi"""
    s = create("/a/m-", 2)
    outcome = tree.do(Multi((s, s, s))).outcome
    assert [result.path for result in outcome.results or ()] == [f"/a/m-000000000{number}" for number in range(3)]
    assert tree.codes(Multi((s, Delete("/a/none")))) == [OK, Code.NO_NODE]
    assert tree.do(s).outcome.path == "/a/m-0000000003"


def test_a_sequential_name_can_be_used_by_later_operations(tree: Tree) -> None:
    assert tree.codes(Multi((create("/a/m-", 2), create("/a/m-0000000000/k")))) == [OK, OK]
    assert tree.codes(Multi((create("/a/m-", 2), create("/a/m-0000000001")))) == [OK, Code.NODE_EXISTS]


def test_events_are_in_the_order_of_the_operations(tree: Tree) -> None:
    """multi.watch_events_order"""
    events = tree.do(Multi((create("/w"), SetData("/t", b"q"), Delete("/t"), SetData("/", b"1")))).events
    assert events == tuple(
        Event(tree.zxid, path, kind)
        for path, kind in [
            ("/w", EventKind.CREATED),
            ("/", EventKind.CHILDREN),
            ("/t", EventKind.DATA),
            ("/t", EventKind.DELETED),
            ("/", EventKind.CHILDREN),
            ("/", EventKind.DATA),
        ]
    )


def test_no_multi_in_a_multi(tree: Tree) -> None:
    inner: tuple[SubOperation, ...] = (Multi((create("/x"),)),)  # type: ignore[assignment]
    assert tree.codes(Multi((create("/y"), *inner))) == [OK, Code.MARSHALLING_ERROR]
    assert "/y" not in tree.nodes


def test_an_ephemeral_in_a_multi_is_the_session_s(tree: Tree) -> None:
    tree.do(Multi((create("/e", 1), create("/a/e", 3))))
    assert tree.ephemerals(1) == {"/e", "/a/e0000000000"}
    with pytest.raises(ZnodeError):
        tree.do(create("/e/k"))


def test_who_asks_is_found_out_once(tree: Tree) -> None:
    """However many parts ask for it: each by itself would take so long that this test would not end."""
    endless = Caller(1, identities=(Identity("digest", "u" * 1_000_000),))
    acl = (Acl(31, "auth", ""),)
    assert set(tree.codes(Multi(tuple(Create(f"/n{index}", b"", acl) for index in range(5000))), endless)) == {OK}
    others = tuple(Acl(31, "ip", f"10.{index >> 8}.{index & 255}.0/24") for index in range(30_000))
    tree.nodes["/a"] = replace(tree.nodes["/a"], acl=others)
    assert tree.codes(Multi((Check("/a"),)), endless) == [Code.NO_AUTH]
    tree.nodes["/a"] = replace(tree.nodes["/a"], acl=(*others, *OPEN_ACL))
    assert set(tree.codes(Multi((Check("/a"),) * 5000), endless)) == {OK}
