"""What this gateway has read of znodes and no transaction has changed since: what it may answer from memory.

Every entry is the state of its path at ``zxid``, and at any between that and its own, so a read from here is a read at
``zxid``, as exact as one from storage. Why that holds: docs/consistency.md, "Cached reads".
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar

from faaskeeper.protocol.changes import Changes, digest
from faaskeeper_client.gateway.lease import Lease
from faaskeeper_client.gateway.node_state import NodeChildren, NodeData, NodeState
from faaskeeper_client.wire.statistics import CacheStatistics

T = TypeVar("T")

_ENTRY_BYTES = 1500
"""Of an entry without data and names: a little more than CPython takes for it."""
_NAME_BYTES = 60
"""Of a name beside its characters."""


@dataclass(slots=True)
class _Entry:
    node: NodeState
    data: NodeData | None
    children: NodeChildren | None

    @property
    def size(self) -> int:
        size = _ENTRY_BYTES + 2 * len(self.node.path)
        if self.data is not None:
            size += len(self.data.data or b"")
        if self.children is not None:
            size += sum(_NAME_BYTES + len(name) for name in self.children.names)
        return size


class Reading:
    """A read from storage under way, while its context lasts."""

    def __init__(self, cache: Cache, path: str) -> None:
        self.path = path
        self.digest = digest(path)
        self.changed = 0
        """The last transaction since it began that changed its path, or may have."""
        self.ended = asyncio.Event()
        self._cache = cache

    def keep(self, node: NodeState, data: NodeData | None = None, children: NodeChildren | None = None) -> None:
        """What was read is kept, if it is surely not older than what the cache has taken into account."""
        if node.zxid >= self.changed:
            self._cache.put(self.digest, node, data, children)

    def __enter__(self) -> Self:
        self._cache.under_way.setdefault(self.digest, {})[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ended.set()
        readings = self._cache.under_way[self.digest]
        del readings[self]
        if not readings:
            del self._cache.under_way[self.digest]


class Cache:
    """Of at most ``most`` bytes, about; the entries that were not used for longest go. 0: nothing is kept. Raises
    ValueError if ``most`` is negative.

    ``zxid`` is the observer's ``complete``: what changed up to it is taken into account.
    """

    def __init__(self, most: int, lease: Lease) -> None:
        if most < 0:
            raise ValueError(f"cache_bytes={most}: at least 0, which turns the cache off")
        self.zxid = 0
        self.lease = lease
        self.statistics = CacheStatistics()
        self.under_way: dict[int, dict[Reading, None]] = {}
        self._most = most
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        """By the digest of their path, the one used last at the end."""

    def node(self, path: str, watch: str | None = None) -> NodeState | None:
        """None if it is not known; with ``watch``, if it is not known that this watch set names the gateway."""
        entry = self._usable(path, watch)
        return self._found(entry.node if entry else None)

    def data(self, path: str, watch: str | None = None) -> NodeData | None:
        """Likewise."""
        entry = self._usable(path, watch)
        return self._found(entry.data if entry else None)

    def children(self, path: str, watch: str | None = None) -> NodeChildren | None:
        """Likewise."""
        entry = self._usable(path, watch)
        return self._found(entry.children if entry else None)

    def reading(self, path: str) -> Reading:
        """Of what is not known."""
        self.statistics.misses += 1
        return Reading(self, path)

    def awaited(self, path: str) -> Reading | None:
        """A read under way of what is not known, after which it may be: when many ask for what has just changed, one
        of them asks storage."""
        readings = self.under_way.get(digest(path))
        return next(iter(readings)) if readings and self.lease.holds else None

    def follow(self, zxid: int, changes: Changes | None) -> None:
        """To be called in the moment in which ``zxid`` becomes complete."""
        if zxid <= self.zxid:
            return
        known = changes.between(self.zxid, zxid) if changes is not None else None
        self.zxid = zxid
        if known is None:
            self.drop()
            return
        for changed_at, digests in known:
            for changed in digests:
                self._change(changed, changed_at)

    def drop(self) -> None:
        """Nothing of what is kept, or under way, may be shown any more."""
        self.statistics.invalidations += len(self._entries)
        self._entries.clear()
        self.statistics.entries = self.statistics.bytes = 0
        for readings in self.under_way.values():
            for reading in readings:
                reading.changed = self.zxid

    def put(self, key: int, node: NodeState, data: NodeData | None, children: NodeChildren | None) -> None:
        old = self._entries.get(key)
        if old is not None and old.node.path == node.path:
            if old.node.zxid > node.zxid:
                return
            if old.node.zxid == node.zxid:
                # while no transaction touches the node, its watch sets only grow
                node = replace(node, watched=old.node.watched | node.watched)
                data, children = data or old.data, children or old.children
        if data is not None:
            data = replace(data, node=node)
        if children is not None:
            children = replace(children, node=node)
        self._remove(key)
        entry = _Entry(node, data, children)
        if entry.size > self._most:
            return
        self._entries[key] = entry
        self._count(1, entry)
        while self.statistics.bytes > self._most:
            self._remove(next(iter(self._entries)))

    def _found(self, part: T | None) -> T | None:
        if part is not None:
            self.statistics.hits += 1
        return part

    def _usable(self, path: str, watch: str | None) -> _Entry | None:
        key = digest(path)
        entry = self._entries.get(key)
        if entry is None:
            return None
        node = entry.node
        if node.path != path or node.zxid > self.zxid or (watch is not None and watch not in node.watched):
            return None
        self.lease.want()
        if not self.lease.holds:
            return None
        self._entries.move_to_end(key)
        return entry

    def _change(self, changed: int, zxid: int) -> None:
        entry = self._entries.get(changed)
        # a read may have shown it before it was known to be complete
        if entry is not None and entry.node.zxid < zxid:
            self._remove(changed)
            self.statistics.invalidations += 1
        for reading in self.under_way.get(changed, ()):
            reading.changed = max(reading.changed, zxid)

    def _remove(self, key: int) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._count(-1, entry)

    def _count(self, sign: int, entry: _Entry) -> None:
        self.statistics.entries += sign
        self.statistics.bytes += sign * entry.size
