"""What a quota counts. Most of it is compared with a real ZooKeeper in ``tests/conformance``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faaskeeper.znode import quotas
from faaskeeper.znode.model import OPEN_ACL, Data
from faaskeeper.znode.operations import CloseSession, Create, Delete, Multi, Operation, SetData
from tests.znode.tree import Tree

NAMES = ("a", "b", "c")


def create(path: str, data: Data = b"", flags: int = 0) -> Create:
    return Create(path, data, OPEN_ACL, flags)


def set_quota(tree: Tree, top: str) -> None:
    """As zkCli's setquota."""
    stats = quotas.stats_path(top)
    above = [stats[:end] for end, slash in enumerate(stats) if slash == "/" and end]
    for path in above:
        tree.code(create(path))
    tree.do(create(quotas.limits_path(top), b"count=5,bytes=-1"))
    tree.do(create(stats, b"count=0,bytes=0"))


def stats(tree: Tree, top: str) -> Data:
    return tree.nodes[quotas.stats_path(top)].data


paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(lambda names: f"/{'/'.join(names)}")
data = st.sampled_from([None, b"", b"xy", b"z" * 30])
writes: st.SearchStrategy[Create | Delete | SetData] = st.one_of(
    *[st.builds(create, paths, data, st.sampled_from([0, 0, 1, 2, 3]))] * 3,
    st.builds(Delete, paths),
    st.builds(SetData, paths, data),
)
histories = st.lists(
    st.one_of(*[writes] * 5, st.lists(writes, max_size=4).map(tuple).map(Multi), st.just(CloseSession())), max_size=25
)


@given(before=histories, after=histories)
def test_a_quota_counts_what_is_there(before: list[Operation], after: list[Operation]) -> None:
    tree = Tree(1, 2)
    for operation in before:
        tree.code(operation)
    set_quota_by = 2
    for path in ("/zookeeper/quota/a", quotas.limits_path("/a"), quotas.stats_path("/a")):
        tree.do(create(path), set_quota_by)
    for operation in after:
        tree.code(operation)
    assert stats(tree, "/a") == quotas.stats_text(tree.usage("/a"))


def test_only_the_innermost_quota_counts() -> None:
    tree = Tree(1)
    for path in ("/a", "/a/b", "/ab"):
        tree.do(create(path, b"12"))
    set_quota(tree, "/a")
    set_quota(tree, "/a/b")
    tree.do(create("/a/b/c", b"345"))
    tree.do(create("/ab/c", b"345"))
    assert (stats(tree, "/a"), stats(tree, "/a/b")) == (b"count=2,bytes=4", b"count=2,bytes=5")
    tree.do(Delete(quotas.limits_path("/a/b")))
    tree.do(SetData("/a/b/c", b""))
    assert (stats(tree, "/a"), stats(tree, "/a/b")) == (b"count=2,bytes=1", b"count=2,bytes=5")


def test_counting_is_no_change_of_the_node() -> None:
    tree = Tree(1)
    set_quota(tree, "/a")
    path = quotas.stats_path("/a")
    before = tree.nodes[path]
    applied = tree.do(create("/a", b"xyz"))
    after = tree.nodes[path]
    assert after.data == b"count=1,bytes=3"
    assert (after.mzxid, after.mtime, after.version) == (before.mzxid, before.mtime, before.version)
    assert after.zxid == applied.outcome.zxid, "a reader must be able to tell which state it has seen"
    assert path not in {event.path for event in applied.events}


@pytest.mark.parametrize(
    ("written", "counted"),
    [
        (b"", b"count=0,bytes=1"),
        (None, b"count=0,bytes=1"),
        (b"bytes=5", b"count=0,bytes=7"),
        (b"count=4,bytes=5,", b"count=5,bytes=7"),
        (b"count=1,bytes=2;countHardLimit=3;byteHardLimit=5", b"count=2,bytes=4=;byteHardLimit=5;countHardLimit=3"),
        (b"count=2,bytes=4=;byteHardLimit=5", b"count=3,bytes=6=;byteHardLimit=5"),
        *((text, text) for text in (b"nonsense", b"count=,bytes=3", b"count=x", b"\xff", b",,a=1")),
    ],
)
def test_statistics_that_a_client_wrote(written: Data, counted: Data) -> None:
    """As StatsTrack of a ZooKeeper 3.9.5 goes on from them; those that would end it stay."""
    tree = Tree(1)
    set_quota(tree, "/a")
    tree.do(SetData(quotas.stats_path("/a"), written))
    tree.do(create("/a", b"xy"))
    assert stats(tree, "/a") == counted


@pytest.mark.parametrize(
    "path",
    [
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper/quotas/a/zookeeper_limits",
        "/zookeeper_limits",
        "/a/zookeeper_limits",
    ],
)
def test_no_quota(path: str) -> None:
    assert quotas.limited(path) is None
