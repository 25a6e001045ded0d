"""What the janitor does, in steps that each can be repeated, doubled or left out without harm.

A step is given where to begin ("" for the beginning) and returns where the next begins, None when it was the last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import delete_blobs, list_blobs
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.queues import delete_reply_queue, list_receivers, send_timer
from faaskeeper.functions.requests import send_to_sequencer
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper.storage.candidates import Candidate, drop_candidate, move_candidate, read_candidates
from faaskeeper.storage.keys import gateway_key, node_key
from faaskeeper.storage.ledger import Head, read_subtrees
from faaskeeper.storage.leftovers import (
    Leftover,
    forget_watchers,
    remove_leftover,
    scan_gateways,
    scan_leftovers,
)
from faaskeeper.storage.loading import batch_get
from faaskeeper.storage.sessions import GatewayItem, gateway_of
from faaskeeper.storage.znode_blobs import list_references
from faaskeeper.storage.znodes import NodeItem
from faaskeeper.znode.containers import candidate_from, waits_only_for_time
from faaskeeper.znode.operations import DeleteContainer, Operation, UnwatchSubtree

CANDIDATES_PER_STEP = 100
MIN_QUEUE_AGE_MS = 3_600_000
"""ms. A gateway makes its queue before it makes itself known, and is not that slow."""
MIN_BLOB_AGE_MS = 3 * 3_600_000
"""ms. A request with the blob follows it within minutes, else its gateway is dead and with it the session that asks;
and it fails after an hour in the queue (``batch.MAX_REQUEST_AGE_MS``). What has no reference by then will have none."""
_KEYS_PER_BATCH = 100


@dataclass(slots=True)
class Chores:
    """One run's. ``now`` is in ms since the epoch, ``head`` the head as it was when the run began.

    Steps that return where they were to begin did nothing, and are to be asked again later.
    """

    aws: Aws
    service: Service
    metrics: Metrics
    now: int
    head: Head
    units: float = 0.0
    """Read units that scans of the znodes have cost."""
    _alive: dict[str, bool] = field(default_factory=dict[str, bool])

    async def containers(self, after: Candidate | None) -> Candidate | None:
        """Asks the sequencer to delete the candidates whose time has come. It decides, as between this look and its
        turn they may have got children or data (ContainerManager, and deleteContainer in
        PrepRequestProcessor). One read unit a znode looked at."""
        candidates = await read_candidates(self.aws, self.service, self.now, CANDIDATES_PER_STEP, after)
        items = await batch_get(self.aws, self.service, [node_key(candidate.path) for candidate in candidates])
        asked: list[tuple[int, Operation]] = []
        handled = [
            self._look_at(candidate, NodeItem(candidate.path, items.get(node_key(candidate.path), {})), asked)
            for candidate in candidates
        ]
        await asyncio.gather(*handled)
        if asked:
            await send_to_sequencer(self.aws, self.service, asked)
            self.metrics.add("ReapedZnodes", len(asked))
        return candidates[-1] if len(candidates) == CANDIDATES_PER_STEP else None

    async def _look_at(self, candidate: Candidate, item: NodeItem, asked: list[tuple[int, Operation]]) -> None:
        node = item.znode
        if item.zxid < candidate.zxid and candidate.zxid > self.head.floor:
            return  # the candidate's transaction is just becoming visible
        if node is None or not waits_only_for_time(node):
            await drop_candidate(self.aws, self.service, candidate)
        elif candidate_from(node) > self.now:
            await move_candidate(self.aws, self.service, candidate, node, self.now)
        else:
            # the candidate stays until it is seen that the node is gone
            asked.append((0, DeleteContainer(candidate.path, node.czxid, node.mzxid, node.pzxid)))

    async def gateways(self, start: str) -> str | None:
        """Sends each gateway's reaper a timer as if its chain of timers were lost. If it is not, the timer number
        will have moved on, and the timer is one too many; if it is, the chain begins anew, and a gateway that is
        dead will be found. For one that is known to be dead, its end is taken up where it was left."""
        found, following = await scan_gateways(self.aws, self.service, _key_of(start))
        await asyncio.gather(*(self._arm(gateway) for gateway in found))
        return _text_of(following)

    async def _arm(self, gateway: GatewayItem) -> None:
        timer = GatewayTimer(gateway.gateway, gateway.beat, gateway.timer)
        delay = gateway.timeout / 1000 if gateway.alive else 0.0
        await send_timer(self.aws, self.service, encode_timer(timer), delay)

    async def queues(self, start: str) -> str | None:
        """Deletes the reply queues of gateways that are gone."""
        owners = await list_receivers(self.aws, self.service)
        gone = await self._gone(owners)
        before = self.now - MIN_QUEUE_AGE_MS
        deleted = await asyncio.gather(
            *(delete_reply_queue(self.aws, self.service, owner, before) for owner in sorted(gone))
        )
        if any(deleted):
            self.metrics.add("RemovedQueues", sum(deleted))
        return None

    async def subtree_watches(self, start: str) -> str | None:
        """Takes back the persistent-recursive watches of gateways that are gone."""
        watching = (await read_subtrees(self.aws, self.service)).watching
        gone = await self._gone(frozenset[str]().union(*watching.values()))
        operations = [
            (0, UnwatchSubtree(path, gateway))
            for path, gateways in sorted(watching.items())
            for gateway in sorted(gateways & gone)
        ]
        await send_to_sequencer(self.aws, self.service, operations)
        return None

    async def leftovers(self, start: str) -> str | None:
        """Removes tombstones and placeholders, and from the watch sets the gateways that are gone.

        A tombstone is there so that NoNode carries a zxid, which a gateway observes before it answers. The floor is
        more than an hour behind the head, and no gateway is alive that long without having seen the head.
        """
        found, following, units = await scan_leftovers(self.aws, self.service, _key_of(start))
        self.units += units
        gone = await self._gone(frozenset[str]().union(*(members for item in found for members in item.sets.values())))
        removed = await asyncio.gather(*(self._tidy(item, gone) for item in found))
        if any(removed):
            self.metrics.add("RemovedItems", sum(removed))
        return _text_of(following)

    async def _tidy(self, item: Leftover, gone: frozenset[str]) -> bool:
        if any(members & gone for members in item.sets.values()):
            await forget_watchers(self.aws, self.service, item, gone)
        if not item.without(gone).removable(self.head.floor):
            return False
        return await remove_leftover(self.aws, self.service, item, self.head.floor)

    async def blobs(self, start: str) -> str | None:
        """Deletes blobs that are old and have no reference. Both lists come in the order of the keys."""
        if self.head.journal:
            return start  # a transaction that is half done may be about to make references
        found, more = await list_blobs(self.aws, self.service, start)
        old = [blob.key for blob in found if blob.modified < self.now - MIN_BLOB_AGE_MS]
        if old:
            used = await list_references(self.aws, self.service, old[0], old[-1])
            if orphans := [key for key in old if key not in used]:
                await delete_blobs(self.aws, self.service, orphans)
                self.metrics.add("RemovedBlobs", len(orphans))
        return found[-1].key if more else None

    async def _gone(self, gateways: Iterable[str]) -> frozenset[str]:
        """Those of ``gateways`` that are dead or forgotten. Ids are never used again, so gone is gone for good; and
        to be taken for alive a run too long does no harm."""
        asked = set(gateways)
        unknown = sorted(asked - self._alive.keys())
        for first in range(0, len(unknown), _KEYS_PER_BATCH):
            part = unknown[first : first + _KEYS_PER_BATCH]
            items = await batch_get(self.aws, self.service, [gateway_key(gateway) for gateway in part])
            for gateway in part:
                item = gateway_of(gateway, items.get(gateway_key(gateway), {}))
                self._alive[gateway] = item is not None and item.alive
        return frozenset(gateway for gateway in asked if not self._alive[gateway])


def _key_of(text: str) -> dict[str, dict[str, str]]:
    return json.loads(text) if text else {}


def _text_of(key: object) -> str | None:
    return json.dumps(key) if key else None
