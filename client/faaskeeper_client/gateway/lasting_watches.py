"""Persistent and recursive watches: whether storage tells this gateway of what they watch."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.messages import Principal
from faaskeeper.protocol.service import Service
from faaskeeper.storage.znodes import unregister_watch
from faaskeeper.znode import paths
from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import UnwatchSubtree, WatchSubtree
from faaskeeper_client.gateway.observer import Observer
from faaskeeper_client.gateway.outbox import ConnectionLost, Outbox
from faaskeeper_client.gateway.storage_reads import StorageReads
from faaskeeper_client.gateway.tasks import Tasks
from faaskeeper_client.gateway.watches import Registration, Watcher, Watches, WatchKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LastingWatches:
    """Lasting watches are set and removed one at a time a path, so that neither undoes the other.

    ``aws`` and the parts are those of the gateway's life whose id is ``gateway_id``.
    """

    aws: Aws
    service: Service
    gateway_id: str
    watches: Watches
    storage: StorageReads
    observer: Observer
    outbox: Outbox
    tasks: Tasks
    _locks: WeakValueDictionary[tuple[WatchKind, str], asyncio.Lock] = field(
        default_factory=WeakValueDictionary[tuple[WatchKind, str], asyncio.Lock], init=False
    )

    async def begin(self, kind: WatchKind, path: str, watcher: Watcher) -> tuple[Registration, int]:
        """The registration, and the zxid from which on it counts. Raises AwsError, ConnectionLost."""
        registration = self.watches.begin(kind, path, watcher)
        if not paths.is_valid(path):
            return registration, 0
        return registration, await self._watch(kind, path)

    def unwatched(self, kind: WatchKind, path: str) -> None:
        """The last watch of its kind on ``path`` is gone."""
        if kind in (WatchKind.PERSISTENT, WatchKind.RECURSIVE):
            self.tasks.spawn(self._unwatch(kind, path))

    async def _watch(self, kind: WatchKind, path: str) -> int:
        """Makes sure that storage tells this gateway of changes at ``path``, or below it; the zxid from which on it
        does."""
        async with self._one_by_one(kind, path):
            if kind is WatchKind.PERSISTENT:
                return await self.storage.stay(path)
            if (kind, path) in self.watches.armed:
                return self.observer.complete  # what was complete when it was asked for may be before it was armed
            outcome = await self.outbox.submit(Principal(0), WatchSubtree(path, self.gateway_id))
            if outcome.code is not Code.OK:
                raise ConnectionLost(f"{path!r} cannot be watched: {outcome.code.name}")
            self.watches.arm(kind, path)
            return outcome.zxid

    async def _unwatch(self, kind: WatchKind, path: str) -> None:
        async with self._one_by_one(kind, path):
            if self.watches.anyone(kind, path) or (kind, path) not in self.watches.armed:
                return
            self.watches.armed.discard((kind, path))
            try:
                if kind is WatchKind.PERSISTENT:
                    await unregister_watch(self.aws, self.service, path, kind.value, self.gateway_id)
                else:
                    await self.outbox.submit(Principal(0), UnwatchSubtree(path, self.gateway_id))
            except (AwsError, ConnectionLost) as error:
                logger.info("the watch on %r stays for the janitor: %s", path, error)

    def _one_by_one(self, kind: WatchKind, path: str) -> asyncio.Lock:
        return self._locks.setdefault((kind, path), asyncio.Lock())
