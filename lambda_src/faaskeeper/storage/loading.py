"""Loads what a batch of operations touches, in as few requests as DynamoDB allows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from faaskeeper.blocks.attributes import Item, get_string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import Throttled
from faaskeeper.blocks.retry import delay, repeat
from faaskeeper.blocks.transactions import Moved
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import KEY_NAMES, Key, gateway_key, node_key, session_key
from faaskeeper.storage.sessions import gateway_of, list_ephemerals, session_of
from faaskeeper.storage.znodes import NodeItem, read_children
from faaskeeper.znode import paths
from faaskeeper.znode.model import Session, data_length
from faaskeeper.znode.paths import Tops
from faaskeeper.znode.quotas import Usage
from faaskeeper.znode.state import State

MAX_KEYS = 100
"""Of a BatchGetItem (DynamoDB limit)."""
_ROUNDS = 8
_MAX_COUNTED_ZNODES = 10_000
"""Znodes in the subtrees that a batch has counted: all writes wait meanwhile."""
_PARENT = 10
"""Znodes that one with children counts for besides: it takes a request of its own."""
_LEVEL = 100
"""And a level of a subtree: it waits for the one above."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to load: node paths, session ids, ids of sessions whose ephemerals are listed, gateway ids, paths whose
    children are listed, paths whose subtrees are counted."""

    paths: frozenset[str] = frozenset()
    sessions: frozenset[int] = frozenset()
    ephemerals: frozenset[int] = frozenset()
    gateways: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    usage: frozenset[str] = frozenset()

    @property
    def keys(self) -> int:
        """How many items it takes, without those that are listed."""
        return len(self.paths) + len(self.sessions) + len(self.gateways)

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(
            self.paths | other.paths,
            self.sessions | other.sessions,
            self.ephemerals | other.ephemerals,
            self.gateways | other.gateways,
            self.children | other.children,
            self.usage | other.usage,
        )


@dataclass(slots=True)
class Snapshot:
    """What was loaded: the stored form of nodes and sessions, for planning the commit, and gateways that live."""

    items: dict[str, NodeItem] = field(default_factory=dict[str, NodeItem])
    sessions: dict[int, Session | None] = field(default_factory=dict[int, "Session | None"])
    ephemerals: dict[int, list[str]] = field(default_factory=dict[int, "list[str]"])
    alive: dict[str, bool] = field(default_factory=dict[str, bool])
    children: dict[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    quotas: Tops = field(default_factory=Tops)
    usage: dict[str, Usage | None] = field(default_factory=dict[str, "Usage | None"])
    counted: int = 0

    def state(self) -> State:
        return State(
            {path: item.znode for path, item in self.items.items()},
            self.sessions,
            self.ephemerals,
            self.children,
            self.quotas,
            self.usage,
        )


async def load(aws: Aws, service: Service, wanted: Wanted, into: Snapshot) -> None:
    """Adds what is ``wanted`` to ``into``. One BatchGetItem for up to 100 items, all strongly consistent.

    BatchGetItem may see a transaction half done: the caller knows that none is under way, or lets the condition
    on the head find out. Raises Moved when a listing shows that one was.
    """
    keys = [
        *(node_key(path) for path in sorted(wanted.paths)),
        *(session_key(session) for session in sorted(wanted.sessions)),
        *(gateway_key(gateway) for gateway in sorted(wanted.gateways)),
    ]
    groups = [keys[start : start + MAX_KEYS] for start in range(0, len(keys), MAX_KEYS)]
    ephemerals = sorted(wanted.ephemerals)
    loaded, listed = await asyncio.gather(
        asyncio.gather(*(batch_get(aws, service, group) for group in groups)),
        asyncio.gather(*(list_ephemerals(aws, service, session) for session in ephemerals)),
    )
    for path in sorted(wanted.children):
        listing = await read_children(aws, service, path)
        if listing is None:
            raise Moved(path)
        into.children[path] = listing.names
    for path in sorted(wanted.usage):
        into.usage[path], into.counted = await _usage(aws, service, path, into.counted)
    items: dict[Key, Item] = {}
    for part in loaded:
        items |= part
    for path in wanted.paths:
        into.items[path] = NodeItem(path, items.get(node_key(path), {}))
    for session in wanted.sessions:
        into.sessions[session] = session_of(items.get(session_key(session), {}))
    for gateway in wanted.gateways:
        found = gateway_of(gateway, items.get(gateway_key(gateway), {}))
        into.alive[gateway] = found is not None and found.alive
    into.ephemerals.update(zip(ephemerals, listed, strict=True))


async def batch_get(aws: Aws, service: Service, keys: Iterable[Key]) -> dict[Key, Item]:
    """The items that exist among at most 100 ``keys``. Raises Throttled if DynamoDB keeps leaving some out."""
    by_name = {(key.table_name(service), key.partition, key.sort): key for key in keys}
    tables = {key.table_name(service): KEY_NAMES[key.table] for key in by_name.values()}
    pending: dict[str, dict[str, object]] = defaultdict(lambda: {"Keys": [], "ConsistentRead": True})
    for table, partition, sort in by_name:
        keys_of_table: list[object] = pending[table]["Keys"]  # type: ignore[assignment]
        keys_of_table.append(by_name[table, partition, sort].attributes)
    found: dict[Key, Item] = {}
    for attempt in range(_ROUNDS):
        if not pending:
            return found
        request = dict(pending)
        response = await repeat(lambda request=request: aws.call("dynamodb", "batch_get_item", RequestItems=request))
        for table, items in response["Responses"].items():
            partition_name, sort_name = tables[table]
            for item in items:
                key = by_name[table, get_string(item, partition_name), get_string(item, sort_name)]
                found[key] = item
        pending = response.get("UnprocessedKeys", {})
        if pending:
            await asyncio.sleep(delay(attempt))
    if pending:
        raise Throttled(
            "dynamodb", "batch_get_item", "UnprocessedKeys", f"{len(pending)} tables left after {_ROUNDS} tries"
        )
    return found


async def _usage(aws: Aws, service: Service, top: str, counted: int) -> tuple[Usage | None, int]:
    """What is in the subtree of ``top``, level by level, and what is counted with it; None if that is too much, and so
    is all that comes after it. Raises Moved."""
    znodes = size = 0
    level = [top]
    while level:
        counted += _LEVEL + len(level)
        if counted > _MAX_COUNTED_ZNODES:
            return None, counted
        groups = [level[start : start + MAX_KEYS] for start in range(0, len(level), MAX_KEYS)]
        loaded = await asyncio.gather(*(batch_get(aws, service, map(node_key, group)) for group in groups))
        items = {key: item for part in loaded for key, item in part.items()}
        found = [(path, NodeItem(path, items.get(node_key(path), {})).znode) for path in level]
        nodes = [(path, node) for path, node in found if node is not None]
        if len(nodes) < len(found) and level != [top]:
            raise Moved(top)
        znodes += len(nodes)
        size += sum(data_length(node.data) for _, node in nodes)
        parents = [path for path, node in nodes if node.children]
        counted += _PARENT * len(parents)
        if counted + sum(node.children for _, node in nodes) > _MAX_COUNTED_ZNODES:
            return None, _MAX_COUNTED_ZNODES
        listings = await asyncio.gather(*(read_children(aws, service, path) for path in parents))
        level = list[str]()
        for path, listing in zip(parents, listings, strict=True):
            if listing is None:
                raise Moved(path)
            level.extend(paths.child(path, name) for name in listing.names)
    return Usage(znodes, size), counted
