"""What the tables of a service hold, read whole, and whether it fits together.

The znodes' items and the sessions are the truth; edges, ephemeral entries, references and the like follow from them, by
the same code that writes transactions. What is there is compared with what follows, and a restore derives it anew.

All of it is held in memory. Takes permission to scan the tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from faaskeeper.blocks.attributes import Item, get_number, get_string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import list_blobs
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import Plan, plan
from faaskeeper.storage.keys import (
    CANDIDATE,
    CHILD_PREFIX,
    EPHEMERAL_PREFIX,
    GATEWAY,
    GATEWAY_SESSION_PREFIX,
    KEY_NAMES,
    NODE,
    REFERENCE,
    SESSION,
    VALUE,
    Key,
    gateway_partition,
    head_key,
    quota_key,
    session_partition,
    unhex64,
)
from faaskeeper.storage.ledger import Head, Subtrees, head_of
from faaskeeper.storage.loading import Snapshot
from faaskeeper.storage.sessions import GatewayItem, gateway_of, session_of
from faaskeeper.storage.znodes import znode_of
from faaskeeper.znode import paths
from faaskeeper.znode.children import add_child
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.model import Blob, Session, Stored, Znode
from faaskeeper.znode.state import State
from faaskeeper_client.administration.progress import Progress, untold
from faaskeeper_client.administration.scan import scan_all

_SESSIONS = session_partition(0).rstrip("0")
_GATEWAYS = gateway_partition("")
_QUOTA = "#" + quota_key("/").sort.rpartition("#")[2]
Derived = dict[Key, Item]


@dataclass(slots=True)
class Contents:
    """``nodes`` have their data as bytes or Blob, never Stored. ``deleted`` are the zxids of tombstones by path;
    ``zxid`` is the highest that any item carries. ``derived`` are the items that follow from the others. ``torn`` is
    what already the reading found not to fit together."""

    nodes: dict[str, Znode] = field(default_factory=dict[str, Znode])
    sessions: dict[int, Session] = field(default_factory=dict[int, Session])
    gateways: dict[str, GatewayItem] = field(default_factory=dict[str, GatewayItem])
    deleted: dict[str, int] = field(default_factory=dict[str, int])
    derived: Derived = field(default_factory=dict[Key, Item])
    head: Head | None = None
    zxid: int = 0
    torn: list[str] = field(default_factory=list[str])


async def read_contents(aws: Aws, service: Service, tell: Progress = untold) -> Contents:
    """By scans: one state only if nobody writes meanwhile. Raises IncompatibleVersion, AwsError."""
    znodes, sessions, ledger = await asyncio.gather(
        *(scan_all(aws, table, tell) for table in (service.znodes, service.sessions, service.ledger))
    )
    contents = Contents()
    _read_znodes(contents, znodes)
    _read_sessions(contents, sessions)
    for item in ledger:
        partition, sort = (get_string(item, name) for name in KEY_NAMES["ledger"])
        if (partition, sort) == (head_key().partition, head_key().sort):
            contents.head = head_of(item)
        elif partition == REFERENCE or sort.endswith(_QUOTA):
            contents.derived[Key("ledger", partition, sort)] = item
    return contents


def problems(contents: Contents, service: Service) -> list[str]:
    """What does not fit together, each in a line. Those of a live service may be of the moment."""
    found = list(contents.torn)
    head = contents.head
    if head is None:
        return [*found, "there is no head"] if contents.nodes else found
    if head.journal:
        found.append(f"a transaction above {head.zxid:#x} is carried out in steps: {head.journal}")
    if contents.zxid > head.zxid:
        found.append(f"there is an item of transaction {contents.zxid:#x}, and the head is at {head.zxid:#x}")
    if len(contents.sessions) != head.sessions:
        found.append(f"the head counts {head.sessions} sessions, there are {len(contents.sessions)}")
    nodes = mended(contents)
    for path, node in contents.nodes.items():
        after = nodes.get(path)
        if after is None:
            found.append(f"{path}: its parent or its session is gone")
        elif (node.children, node.children_sum) != (after.children, after.children_sum):
            found.append(f"{path}: it counts {node.children} children, there are {after.children}, or others")
    found += [f"{path}: it is gone, and has children" for path in sorted(nodes.keys() - contents.nodes.keys())]
    found += [
        f"session {id:#x}: its gateway {session.gateway} is not known"
        for id, session in sorted(contents.sessions.items())
        if session.gateway not in contents.gateways
    ]
    expected = {
        key: action["Put"]["Item"]
        for each in plans(service, contents.nodes, contents.sessions, 0)
        for key, action in zip(each.keys, each.actions, strict=True)
        if "Put" in action and key.sort != VALUE and key.partition != CANDIDATE
    }
    found += [f"{_named(key)}: missing" for key in sorted(expected.keys() - contents.derived.keys(), key=_named)]
    found += [f"{_named(key)}: stands for nothing" for key in sorted(contents.derived.keys() - expected, key=_named)]
    found += [
        f"{_named(key)}: is of another znode"
        for key in sorted(expected.keys() & contents.derived.keys(), key=_named)
        if expected[key] != contents.derived[key]
    ]
    return found


async def missing_blobs(aws: Aws, service: Service, contents: Contents) -> list[str]:
    """A line for each znode whose data is not in the bucket. Raises AwsError."""
    held = {path: node.data.key for path, node in contents.nodes.items() if isinstance(node.data, Blob)}
    there: set[str] = set()
    after, more = "", bool(held)
    while more:
        page, more = await list_blobs(aws, service, after)
        there |= {blob.key for blob in page}
        after = page[-1].key if page else ""
    return [f"{path}: its data is not in the bucket" for path, key in sorted(held.items()) if key not in there]


def mended(contents: Contents) -> dict[str, Znode]:
    """The nodes as a tree: with what every tree has, with parents, with children that are counted right, and no
    ephemeral without its session. What is mended already stays as it is.

    A node without a parent was deleted if the parent was after the node was made; else it is the parent whose
    creation is missing, and it is made anew.
    """
    nodes = {**GENESIS, **contents.nodes}
    for path in sorted(contents.nodes, key=lambda path: path.count("/")):
        node = nodes[path]
        above = paths.parent(path)
        if node.owner and node.owner not in contents.sessions:
            del nodes[path]
        elif path != "/" and above not in nodes:
            if contents.deleted.get(above, -1) > node.czxid:
                del nodes[path]
                continue
            while above not in nodes:
                nodes[above] = Znode(node.czxid, node.czxid, node.czxid, node.czxid, node.ctime, node.ctime, data=b"")
                above = paths.parent(above)
    counts: dict[str, tuple[int, int]] = dict.fromkeys(nodes, (0, 0))
    for path, node in nodes.items():
        if path != "/":
            count, total = counts[paths.parent(path)]
            counts[paths.parent(path)] = count + 1, add_child(total, paths.name(path), node.czxid)
    return {path: replace(node, children=counts[path][0], children_sum=counts[path][1]) for path, node in nodes.items()}


def plans(service: Service, nodes: Mapping[str, Znode], sessions: Mapping[int, Session], time: int) -> Iterable[Plan]:
    """The writes that bring empty tables to these, a node or a session each; ``time`` in ms is for what waits only
    for time."""
    for path, node in nodes.items():
        state = State({path: None})
        state.put(path, node)
        yield plan(service, state, Snapshot(), (), Subtrees(), 0, time)
    for id, session in sessions.items():
        state = State(sessions={id: None})
        state.put_session(id, session)
        yield plan(service, state, Snapshot(), (), Subtrees(), 0, time)


def _read_znodes(contents: Contents, items: Iterable[Item]) -> None:
    values: dict[str, Item] = {}
    partitions: dict[str, str] = {}
    for item in items:
        partition, part = (get_string(item, name) for name in KEY_NAMES["znodes"])
        if part == VALUE:
            values[partition] = item
            contents.zxid = max(contents.zxid, get_number(item, "mzxid"))
        elif part.startswith(CHILD_PREFIX):
            contents.derived[Key("znodes", partition, part, _full(item))] = item
            contents.zxid = max(contents.zxid, get_number(item, "czxid"))
        elif part == NODE:
            path = get_string(item, "full", partition)
            contents.zxid = max(contents.zxid, get_number(item, "zxid"))
            if (node := znode_of(item)) is not None:
                contents.nodes[path] = node
                partitions[path] = partition
            else:
                contents.deleted[path] = get_number(item, "zxid")
    for path, partition in partitions.items():
        node, value = contents.nodes[path], values.pop(partition, None)
        if not isinstance(node.data, Stored):
            if value is not None:
                contents.torn.append(f"{path}: there is data beside it that is not its own")
            continue
        data = bytes(value["data"]["B"]) if value is not None else b""
        if value is None:
            contents.torn.append(f"{path}: its data is missing")
        elif get_number(value, "mzxid") != node.mzxid:
            contents.torn.append(f"{path}: its data is that of another moment")
        contents.nodes[path] = replace(node, data=data)
    contents.torn += [f"{partition}: there is data of no znode" for partition in sorted(values)]


def _read_sessions(contents: Contents, items: Iterable[Item]) -> None:
    for item in items:
        partition, part = (get_string(item, name) for name in KEY_NAMES["sessions"])
        key = Key("sessions", partition, part, _full(item))
        if part == SESSION and (session := session_of(item)) is not None:
            contents.sessions[unhex64(partition.removeprefix(_SESSIONS))] = session
            contents.derived[key] = item
        elif part == GATEWAY and (gateway := gateway_of(partition.removeprefix(_GATEWAYS), item)) is not None:
            contents.gateways[gateway.gateway] = gateway
        elif part.startswith((EPHEMERAL_PREFIX, GATEWAY_SESSION_PREFIX)):
            contents.derived[key] = item


def _full(item: Item) -> str | None:
    return get_string(item, "full") or None


def _named(key: Key) -> str:
    return f"{key.table} {key.partition} {key.sort}"
