"""The tree a new service starts with, against a fresh ZooKeeper 3.9.5."""

from __future__ import annotations

import pytest

from faaskeeper.znode import paths
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.model import OPEN_ACL, READ_ACL, Acl, Stat
from tests.znode.tree import Tree


@pytest.mark.parametrize(
    ("path", "children", "cversion", "aversion", "acl"),
    [
        ("/", ["zookeeper"], -1, 0, OPEN_ACL),
        ("/zookeeper", ["config", "quota"], -2, 0, OPEN_ACL),
        ("/zookeeper/config", [], 0, -1, READ_ACL),
        ("/zookeeper/quota", [], 0, 0, OPEN_ACL),
    ],
)
def test_node(path: str, children: list[str], cversion: int, aversion: int, acl: tuple[Acl, ...]) -> None:
    node = GENESIS[path]
    assert node.stat == Stat(0, 0, 0, 0, 0, cversion, aversion, 0, 0, len(children), 0)
    assert (node.data, node.acl, node.zxid) == (b"", acl, 0)
    assert sorted(Tree().children(path)) == children


def test_nothing_else() -> None:
    assert GENESIS.keys() == paths.SPECIAL_PATHS
    Tree().check_invariants()
