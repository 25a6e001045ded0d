"""The tree of a fresh ensemble, as ZooKeeper 3.9.5 shows it (DataTree's constructor, DataTree.addConfigNode)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from faaskeeper.znode.children import add_child
from faaskeeper.znode.model import READ_ACL, Znode

_NODE = Znode(czxid=0, mzxid=0, pzxid=0, zxid=0, ctime=0, mtime=0, data=b"")


def _with_children(*names: str) -> Znode:
    """ZooKeeper adds these children without counting a create, so the cversion of their parents is negative."""
    children_sum = 0
    for name in names:
        children_sum = add_child(children_sum, name, _NODE.czxid)
    return replace(_NODE, children=len(names), children_sum=children_sum)


GENESIS: Mapping[str, Znode] = MappingProxyType(
    {
        "/": _with_children("zookeeper"),
        "/zookeeper": _with_children("config", "quota"),
        "/zookeeper/config": replace(_NODE, aversion=-1, acl=READ_ACL),
        "/zookeeper/quota": _NODE,
    }
)
"""Path to znode; what a new service's storage is filled with."""
