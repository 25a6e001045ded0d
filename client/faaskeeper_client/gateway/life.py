"""A gateway's life: everything it has and knows under one id.

A gateway that was declared dead, or whose parts fail, begins a new life under a new id, with nothing of the old one:
whatever still works for the old life cannot touch the new.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from faaskeeper.blocks.aws import Aws, Bounded
from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper.protocol.service import Service
from faaskeeper_client.gateway.cache import Cache
from faaskeeper_client.gateway.checks import Checks
from faaskeeper_client.gateway.claim_check import ClaimCheck
from faaskeeper_client.gateway.direct import DirectCalls
from faaskeeper_client.gateway.inbox import Inbox
from faaskeeper_client.gateway.lasting_watches import LastingWatches
from faaskeeper_client.gateway.lease import Lease
from faaskeeper_client.gateway.liveness import Liveness
from faaskeeper_client.gateway.missed_outcomes import MissedOutcomes
from faaskeeper_client.gateway.observer import Observer
from faaskeeper_client.gateway.outbox import Outbox
from faaskeeper_client.gateway.replies import Replies
from faaskeeper_client.gateway.sessions import Sessions
from faaskeeper_client.gateway.storage_reads import StorageReads
from faaskeeper_client.gateway.tasks import Tasks
from faaskeeper_client.gateway.watches import Watches, WatchKind

_SETTLING = 1.0
"""Seconds for which SQS may not know a new queue everywhere yet (CreateQueue)."""
_MAX_BULK = 24
"""Calls under way of all but beats, requests and replies: fewer than there are threads for calls."""


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """``clock`` gives seconds and goes on while the machine sleeps, ``entropy`` makes ids and passwords. ``bulk`` is
    for calls of which there may be many at once."""

    id: str
    service: Service
    clock: Callable[[], float]
    entropy: random.Random
    bulk: Aws
    watches: Watches
    sessions: Sessions
    direct: DirectCalls
    outbox: Outbox
    inbox: Inbox
    liveness: Liveness
    observer: Observer
    cache: Cache
    storage: StorageReads
    claim_check: ClaimCheck
    lasting_watches: LastingWatches
    checks: Checks
    missed_outcomes: MissedOutcomes

    async def open(self) -> None:
        """Makes the gateway known under this id. Raises AwsError, DeclaredDead."""
        await self.inbox.open()
        self.direct.ready()  # what takes a moment to find out is known when the queue is usable
        usable = asyncio.get_running_loop().time() + _SETTLING
        try:
            await self.liveness.beat()
            await self.observer.catch_up()
        except BaseException:
            await self.inbox.close()
            raise
        await asyncio.sleep(usable - asyncio.get_running_loop().time())

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What runs while the life lasts: it is over when one of these ends."""
        return (
            self.inbox.run(),
            self.outbox.run(),
            self.liveness.run(),
            self.checks.run(),
            self.missed_outcomes.run(),
            self.observer.keep_lease(),
        )


def begin(
    aws: Aws,
    service: Service,
    *,
    clock: Callable[[], float],
    wall: Callable[[], float],
    entropy: random.Random,
    cache_bytes: int,
    tasks: Tasks,
    drop_connections: Callable[[], None],
) -> Life:
    """A life under a new id. ``wall`` gives seconds by another clock than ``clock``. ``tasks`` keeps what it leaves to
    run; ``drop_connections`` closes every connection."""

    def unwatched(kind: WatchKind, path: str) -> None:
        lasting_watches.unwatched(kind, path)

    async def handle(message: ReplyMessage) -> None:
        await replies.handle(message)

    id = f"{entropy.getrandbits(64):016x}"
    bulk = Bounded(aws, _MAX_BULK)
    watches = Watches(unwatched)
    direct = DirectCalls(aws, service.direct, id, entropy, clock, lambda: observer.complete)
    outbox = Outbox(aws, service, id, entropy, clock, direct, handle)
    liveness = Liveness(aws, service, id, clock)
    sessions = Sessions(clock, liveness.release)
    cache = Cache(cache_bytes, Lease(clock, wall))
    observer = Observer(bulk, service, id, watches, sessions, cache)
    storage = StorageReads(bulk, service, id, watches, cache)
    replies = Replies(observer, outbox, sessions)
    lasting_watches = LastingWatches(
        bulk, service, id, watches=watches, storage=storage, observer=observer, outbox=outbox, tasks=tasks
    )
    return Life(
        id=id,
        direct=direct,
        service=service,
        clock=clock,
        entropy=entropy,
        bulk=bulk,
        watches=watches,
        sessions=sessions,
        outbox=outbox,
        inbox=Inbox(aws, service, id, replies.handle),
        liveness=liveness,
        observer=observer,
        cache=cache,
        storage=storage,
        claim_check=ClaimCheck(bulk, service, id, entropy),
        lasting_watches=lasting_watches,
        checks=Checks(
            clock,
            drop_connections,
            liveness=liveness,
            sessions=sessions,
            outbox=outbox,
            observer=observer,
            watches=watches,
        ),
        missed_outcomes=MissedOutcomes(
            bulk, service, id, outbox=outbox, observer=observer, sessions=sessions, replies=replies
        ),
    )
