"""Reads from the cache and from storage, with or without setting a watch in the same request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import read_blob
from faaskeeper.blocks.errors import NotFound, Unavailable
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.service import Service
from faaskeeper.storage.znodes import (
    NodeItem,
    read_children,
    read_node,
    read_node_and_value,
    read_value,
    register_watch,
)
from faaskeeper.znode import paths
from faaskeeper.znode.model import Blob, Stored
from faaskeeper_client.gateway.cache import Cache
from faaskeeper_client.gateway.node_state import NodeChildren, NodeData, NodeState
from faaskeeper_client.gateway.watches import Watches, WatchKind

T = TypeVar("T")

_MAX_TRIES = 12
_MAX_LISTINGS = 6


class StorageReads:
    """Of the state at what is complete, or a newer one. With ``watch``, the gateway is in that watch set of the node in
    the very state that is returned: any later change fires."""

    def __init__(self, aws: Aws, service: Service, gateway_id: str, watches: Watches, cache: Cache) -> None:
        self._aws = aws
        self._service = service
        self._gateway_id = gateway_id
        self._watches = watches
        self._cache = cache

    async def node(self, path: str, watch: WatchKind | None = None) -> NodeState:
        """No request where it is known, else one, two if the watch set was thought to name this gateway and does not;
        none for a path that no node can have. "" is the root."""
        path = path or "/"
        if not paths.is_valid(path):
            return NodeState(path)
        known = await self._known(path, lambda: self._cache.node(path, _set_of(watch)))
        if known is not None:
            return known
        with self._cache.reading(path) as reading:
            node = await self._node(path, watch)
            reading.keep(node)
            return node

    async def _node(self, path: str, watch: WatchKind | None) -> NodeState:
        if watch is None:
            return self._state(await read_node(self._aws, self._service, path))
        if (watch, path) in self._watches.armed:
            node = self._state(await read_node(self._aws, self._service, path))
            if self._armed(node, watch):
                return node
        return self._state(await self._register(path, watch))

    async def stay(self, path: str) -> int:
        """Sets a persistent watch; the zxid of the state from which on it counts. Never from memory: such a watch can
        also be taken out of its set, which nobody but storage knows."""
        node = await self._node(path, WatchKind.PERSISTENT)
        return node.zxid

    async def data(self, path: str, watch: WatchKind | None = None) -> NodeData:
        """No request where it is known, else one for data inline or without a watch, else one more for the data."""
        known = await self._known(path, lambda: self._cache.data(path, _set_of(watch)))
        if known is not None:
            return known
        with self._cache.reading(path) as reading:
            found = await self._data(path, watch)
            reading.keep(found.node, data=found)
            return found

    async def _data(self, path: str, watch: WatchKind | None) -> NodeData:
        for attempt in range(_MAX_TRIES):
            value: bytes | None = None
            if watch is not None and (watch, path) not in self._watches.armed:
                item = await self._register(path, watch)
                node = self._state(item)
            else:
                item, value = await read_node_and_value(self._aws, self._service, path)
                node = self._state(item)
                if watch is not None and not self._armed(node, watch):
                    continue
            znode = node.znode
            if znode is None:
                return NodeData(node, None)
            if isinstance(znode.data, Blob):
                value = await self._blob(znode.data)
            elif isinstance(znode.data, Stored):
                value = value if value is not None else await read_value(self._aws, self._service, item)
            else:
                return NodeData(node, znode.data)
            if value is not None:
                return NodeData(node, value)
            await asyncio.sleep(delay(attempt))
        raise Unavailable("storage", "read", "Changing", f"data of {path!r} does not come to match its node")

    async def children(self, path: str, watch: WatchKind | None = None) -> NodeChildren | None:
        """No request where they are known, else one for each MB of names, one more to set the watch.

        None if the node changes so fast that no listing is of one state: then the sequencer can make one.
        """
        known = await self._known(path, lambda: self._cache.children(path, _set_of(watch)))
        if known is not None:
            return known
        with self._cache.reading(path) as reading:
            found = await self._children(path, watch)
            if found is not None:
                reading.keep(found.node, children=found)
            return found

    async def _children(self, path: str, watch: WatchKind | None) -> NodeChildren | None:
        for attempt in range(_MAX_LISTINGS):
            if watch is not None and (watch, path) not in self._watches.armed:
                await self._register(path, watch)
            listing = await read_children(self._aws, self._service, path)
            if listing is not None:
                node = self._state(listing.node)
                if watch is None or self._armed(node, watch):
                    return NodeChildren(node, listing.names)
            await asyncio.sleep(delay(attempt))
        return None

    async def _known(self, path: str, find: Callable[[], T | None]) -> T | None:
        known = find()
        if known is None and (other := self._cache.awaited(path)) is not None:
            await other.ended.wait()
            known = find()
        return known

    def _state(self, item: NodeItem) -> NodeState:
        return NodeState.of(item, self._gateway_id)

    def _armed(self, node: NodeState, watch: WatchKind) -> bool:
        if watch.value in node.watched:
            return True
        self._watches.armed.discard((watch, node.path))
        return False

    async def _register(self, path: str, watch: WatchKind) -> NodeItem:
        node = await register_watch(self._aws, self._service, path, watch.value, self._gateway_id)
        self._watches.arm(watch, path)
        return node

    async def _blob(self, blob: Blob) -> bytes | None:
        try:
            return await read_blob(self._aws, self._service, blob.key)
        except NotFound:
            return None  # replaced since the node was read, and collected


def _set_of(watch: WatchKind | None) -> str | None:
    return None if watch is None else watch.value
