"""The items of the znodes table: a znode and its watch sets, a tombstone, a placeholder; its value; its edges."""

from __future__ import annotations

import json
from dataclasses import dataclass

from faaskeeper.blocks.attributes import (
    Attribute,
    Item,
    binary,
    get_number,
    get_set,
    get_string,
    number,
    string,
)
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.primitives import AtomicSet, SetFull
from faaskeeper.blocks.query import query_all
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.messages import is_gateway, pack_acl, unpack_acl
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import CHILD_PREFIX, NODE, VALUE, node_key, value_key
from faaskeeper.znode.children import add_child
from faaskeeper.znode.model import OPEN_ACL, Acl, Blob, Data, Stored, Znode, ZnodeKind, data_length

WATCH_DATA = "watch_data"
"""Gateways with a data or exists watch; emptied when it fires."""
WATCH_CHILD = "watch_child"
"""Gateways with a children watch; emptied when it fires."""
WATCH_STAY = "watch_stay"
"""Gateways with a persistent watch; fires for everything and stays."""
FIRED = {WATCH_DATA: "fired_data", WATCH_CHILD: "fired_child"}
"""Where a set goes when it fires, until the next time."""
MAX_WATCHERS = 200
"""Gateways in a watch set. Above that it says EVERYBODY, which keeps the sets, and so the cost of a write, bounded."""

WATCH_SETS = (WATCH_DATA, WATCH_CHILD, WATCH_STAY)

_WATCHING = frozenset((*WATCH_SETS, *FIRED.values()))
_KEY_ATTRIBUTES = frozenset(("path", "part", "full"))


@dataclass(frozen=True, slots=True)
class NodeItem:
    """What is stored at a path.

    ``znode`` is None for a tombstone, a placeholder (only watch sets) and no item at all; ``zxid`` is that of the
    last transaction that touched it, 0 if none is known. The znode's data is bytes or None when it is inline,
    ``Blob`` when in the bucket, ``Stored`` when in the value item beside it.
    """

    path: str
    attributes: Item

    @property
    def zxid(self) -> int:
        return get_number(self.attributes, "zxid")

    @property
    def znode(self) -> Znode | None:
        return znode_of(self.attributes)

    @property
    def has_value(self) -> bool:
        """Whether the data is in the value item."""
        return "length" in self.attributes and "blob" not in self.attributes

    def watchers(self, watch_set: str) -> frozenset[str]:
        """Ids of the gateways in ``watch_set``, possibly EVERYBODY."""
        return get_set(self.attributes, watch_set)

    def is_forged(self, watch_set: str) -> bool:
        """Whether what is in place of the set is none that gateways made. Whoever may watch may write it."""
        return watch_set in self.attributes and not (
            0 < len(self.watchers(watch_set)) <= MAX_WATCHERS + 1
            and all(id == EVERYBODY or is_gateway(id) for id in self.watchers(watch_set))
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """A node with the names of its children, all of one state; in no particular order."""

    node: NodeItem
    names: tuple[str, ...]


def znode_of(item: Item) -> Znode | None:
    if "czxid" not in item:
        return None
    return Znode(
        czxid=get_number(item, "czxid"),
        mzxid=get_number(item, "mzxid"),
        pzxid=get_number(item, "pzxid"),
        zxid=get_number(item, "zxid"),
        ctime=get_number(item, "ctime"),
        mtime=get_number(item, "mtime"),
        version=get_number(item, "version"),
        creates=get_number(item, "creates"),
        aversion=get_number(item, "aversion"),
        owner=get_number(item, "owner"),
        children=get_number(item, "children"),
        children_sum=get_number(item, "children_sum"),
        acl=_acl_of(item),
        kind=ZnodeKind(get_number(item, "kind")),
        ttl=get_number(item, "ttl"),
        data=_data_of(item),
    )


def attributes_of(znode: Znode, inline_limit: int) -> dict[str, Attribute]:
    """The attributes that store ``znode``: zeros and defaults are left out, so that small nodes stay below 1 KB."""
    attributes = {
        name: number(value)
        for name, value in (
            ("version", znode.version),
            ("creates", znode.creates),
            ("aversion", znode.aversion),
            ("owner", znode.owner),
            ("children", znode.children),
            ("children_sum", znode.children_sum),
            ("kind", int(znode.kind)),
            ("ttl", znode.ttl),
        )
        if value
    }
    for name, value in (
        ("czxid", znode.czxid),
        ("mzxid", znode.mzxid),
        ("pzxid", znode.pzxid),
        ("zxid", znode.zxid),
        ("ctime", znode.ctime),
        ("mtime", znode.mtime),
    ):
        attributes[name] = number(value)
    if znode.acl != OPEN_ACL:
        attributes["acl"] = string(json.dumps(pack_acl(znode.acl), separators=(",", ":")))
    if isinstance(znode.data, Blob):
        attributes["blob"] = string(znode.data.key)
    if isinstance(znode.data, bytes) and len(znode.data) <= inline_limit:
        attributes["data"] = binary(znode.data)
    elif znode.data is not None:
        attributes["length"] = number(data_length(znode.data))
    return attributes


def tombstone_attributes(zxid: int) -> dict[str, Attribute]:
    """What stays of a deleted znode, so that NO_NODE has a zxid too."""
    return {"zxid": number(zxid)}


def plain_attributes(item: Item) -> dict[str, Attribute]:
    """The attributes of ``item`` that transactions write: all but the key and the watch sets."""
    return {name: value for name, value in item.items() if name not in _WATCHING and name not in _KEY_ATTRIBUTES}


async def read_node(aws: Aws, service: Service, path: str) -> NodeItem:
    """One strongly consistent GetItem."""
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "get_item",
            TableName=service.znodes,
            Key=node_key(path).attributes,
            ConsistentRead=True,
        )
    )
    return NodeItem(path, response.get("Item", {}))


async def read_node_and_value(aws: Aws, service: Service, path: str) -> tuple[NodeItem, bytes | None]:
    """One strongly consistent Query for the node and the value beside it.

    The value is None if the data is elsewhere, or if what was read belongs to another mzxid than the node: then
    a transaction was becoming visible, and the caller reads again.
    """
    items = await query_all(
        aws,
        TableName=service.znodes,
        KeyConditionExpression="#path = :path AND part >= :node",
        ExpressionAttributeNames={"#path": "path"},
        ExpressionAttributeValues={":path": string(node_key(path).partition), ":node": string(NODE)},
    )
    node: Item = {}
    value: Item = {}
    for item in items:
        if get_string(item, "part") == NODE:
            node = item
        elif get_string(item, "part") == VALUE:
            value = item
    if value and get_number(value, "mzxid", -1) == get_number(node, "mzxid"):
        return NodeItem(path, node), bytes(value["data"]["B"])
    return NodeItem(path, node), None


async def read_value(aws: Aws, service: Service, node: NodeItem) -> bytes | None:
    """The value beside ``node``, None if it belongs to another mzxid by now: then the node is read again."""
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "get_item",
            TableName=service.znodes,
            Key=value_key(node.path).attributes,
            ConsistentRead=True,
        )
    )
    item: Item = response.get("Item", {})
    return bytes(item["data"]["B"]) if get_number(item, "mzxid", -1) == get_number(node.attributes, "mzxid") else None


async def register_watch(aws: Aws, service: Service, path: str, watch_set: str, gateway: str) -> NodeItem:
    """Adds ``gateway`` to a watch set and reads the node, atomically, in one UpdateItem.

    On a missing path this makes a placeholder. When MAX_WATCHERS are there already, EVERYBODY is added instead.
    """
    watchers = _watchers(aws, service, path, watch_set)
    try:
        return NodeItem(path, await watchers.add(gateway, most=MAX_WATCHERS))
    except SetFull:
        return NodeItem(path, await watchers.add(EVERYBODY))


async def unregister_watch(aws: Aws, service: Service, path: str, watch_set: str, gateway: str) -> None:
    """Takes ``gateway`` out of a watch set. EVERYBODY stays: others may be meant by it."""
    await _watchers(aws, service, path, watch_set).discard(gateway)


def _watchers(aws: Aws, service: Service, path: str, watch_set: str) -> AtomicSet:
    return AtomicSet(aws, service.znodes, node_key(path).attributes, watch_set)


async def read_children(aws: Aws, service: Service, path: str) -> Listing | None:
    """The node and its children by strongly consistent Queries, from the node downwards through its edges.

    None if what was read is not one state: the count and the children sum of the node do not match the edges.
    """
    items = await query_all(
        aws,
        TableName=service.znodes,
        KeyConditionExpression="#path = :path AND part <= :node",
        ExpressionAttributeNames={"#path": "path"},
        ExpressionAttributeValues={":path": string(node_key(path).partition), ":node": string(NODE)},
        ScanIndexForward=False,
    )
    node: NodeItem | None = None
    names: list[str] = []
    total = 0
    for item in items:
        part = get_string(item, "part")
        if part == NODE:
            node = NodeItem(path, item)
            continue
        if "czxid" not in item or not part.startswith(CHILD_PREFIX):
            continue  # an item that whoever may watch made
        child = get_string(item, "full", part.removeprefix(CHILD_PREFIX))
        names.append(child)
        total = add_child(total, child, get_number(item, "czxid"))
    node = node or NodeItem(path, {})
    znode = node.znode
    count, expected = (znode.children, znode.children_sum) if znode else (0, 0)
    return Listing(node, tuple(names)) if (len(names), total) == (count, expected) else None


def _acl_of(item: Item) -> tuple[Acl, ...]:
    return unpack_acl(json.loads(get_string(item, "acl"))) if "acl" in item else OPEN_ACL


def _data_of(item: Item) -> Data:
    if "blob" in item:
        return Blob(get_string(item, "blob"), get_number(item, "length"))
    if "data" in item:
        return bytes(item["data"]["B"])
    return Stored(get_number(item, "length")) if "length" in item else None
