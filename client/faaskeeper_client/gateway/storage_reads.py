"""Reads from storage, with or without setting a watch in the same request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import read_blob
from faaskeeper.blocks.errors import NotFound, Unavailable
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.service import Service
from faaskeeper.storage.znodes import (
    Listing,
    NodeItem,
    read_children,
    read_node,
    read_node_and_value,
    read_value,
    register_watch,
)
from faaskeeper.znode import paths
from faaskeeper.znode.model import Blob, Stored
from faaskeeper_client.gateway.watches import Watches, WatchKind

_MAX_TRIES = 12
_MAX_LISTINGS = 6


@dataclass(frozen=True, slots=True)
class NodeData:
    """A node and its data, of one state."""

    node: NodeItem
    data: bytes | None


class StorageReads:
    """Strongly consistent reads. With ``watch``, the gateway is in that watch set of the node in the very state that
    is returned: any later change fires."""

    def __init__(self, aws: Aws, service: Service, gateway_id: str, watches: Watches) -> None:
        self._aws = aws
        self._service = service
        self._gateway_id = gateway_id
        self._watches = watches

    async def node(self, path: str, watch: WatchKind | None = None) -> NodeItem:
        """One request, two if the watch set was thought to name this gateway and does not; none for a path that no
        node can have. "" is the root."""
        path = path or "/"
        if not paths.is_valid(path):
            return NodeItem(path, {})
        if watch is None:
            return await read_node(self._aws, self._service, path)
        if (watch, path) in self._watches.armed:
            node = await read_node(self._aws, self._service, path)
            if self._armed(node, watch):
                return node
        return await self._register(path, watch)

    async def data(self, path: str, watch: WatchKind | None = None) -> NodeData:
        """One request for data inline or without a watch, else one more for the data."""
        for attempt in range(_MAX_TRIES):
            value: bytes | None = None
            if watch is not None and (watch, path) not in self._watches.armed:
                node = await self._register(path, watch)
            else:
                node, value = await read_node_and_value(self._aws, self._service, path)
                if watch is not None and not self._armed(node, watch):
                    continue
            znode = node.znode
            if znode is None:
                return NodeData(node, None)
            if isinstance(znode.data, Blob):
                value = await self._blob(znode.data)
            elif isinstance(znode.data, Stored):
                value = value if value is not None else await read_value(self._aws, self._service, node)
            else:
                return NodeData(node, znode.data)
            if value is not None:
                return NodeData(node, value)
            await asyncio.sleep(delay(attempt))
        raise Unavailable("storage", "read", "Changing", f"data of {path!r} does not come to match its node")

    async def children(self, path: str, watch: WatchKind | None = None) -> Listing | None:
        """One request for each MB of names, one more to set the watch.

        None if the node changes so fast that no listing is of one state: then the sequencer can make one.
        """
        for attempt in range(_MAX_LISTINGS):
            if watch is not None and (watch, path) not in self._watches.armed:
                await self._register(path, watch)
            listing = await read_children(self._aws, self._service, path)
            if listing is not None and (watch is None or self._armed(listing.node, watch)):
                return listing
            await asyncio.sleep(delay(attempt))
        return None

    def _armed(self, node: NodeItem, watch: WatchKind) -> bool:
        if node.watchers(watch.value) & {self._gateway_id, EVERYBODY}:
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
