"""Which zxids this gateway may show: those whose transactions are complete, whose events it has delivered, and after
which its sessions are still its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AccessDenied, AwsError
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.changes import Changes
from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper.protocol.service import Service
from faaskeeper.storage.ledger import Head, confirm_complete, may_read, read_events, read_head
from faaskeeper.storage.sessions import list_gateway_sessions
from faaskeeper.znode.model import Event
from faaskeeper_client.gateway.cache import Cache
from faaskeeper_client.gateway.sessions import Sessions
from faaskeeper_client.gateway.watches import Watches

logger = logging.getLogger(__name__)

_UNITS_TO_LOOK = 1
_UNITS_TO_FOLLOW = 8
"""Read units, about, that it takes to find that nothing has changed, or that something has."""
_STALE = 60.0
"""Seconds; the events of that time are read at once."""


class EventsLost(Exception):
    """Events that this gateway has not read yet are gone, up to zxid ``floor``: its clients must reconnect and set
    their watches anew."""

    def __init__(self, floor: int, complete: int) -> None:
        super().__init__(f"events up to {floor} are gone, delivered are those up to {complete}")
        self.floor = floor


class Observer:
    """Follows the head of the ledger.

    ``complete``: every transaction up to it is fully visible, every watch event up to it has been handed to the
    connections, and sessions that left this gateway up to it have none any more. All that holds before it is
    published, so whoever may show ``complete`` has sent what precedes it. ``detached_at`` is the last transaction known
    in which a session left some gateway.
    """

    def __init__(
        self, aws: Aws, service: Service, gateway_id: str, watches: Watches, sessions: Sessions, cache: Cache
    ) -> None:
        self.complete = 0
        self.detached_at = 0
        self._aws = aws
        self._service = service
        self._gateway_id = gateway_id
        self._watches = watches
        self._sessions = sessions
        self._cache = cache
        self._lock = asyncio.Lock()
        self._advanced = float("-inf")

    async def observe(self, zxid: int, head: Head | None = None) -> None:
        """Returns once ``zxid`` is complete and its events are delivered. Concurrent calls share the work. ``head``, if
        it is at hand, was read just now. Raises EventsLost."""
        attempt = 0
        while self.complete < zxid:
            async with self._lock:
                if self.complete >= zxid or await self._follow(zxid, head):
                    continue
            head = None
            await asyncio.sleep(delay(attempt))
            attempt += 1

    async def keep_up(self) -> None:
        """To be called before the first watch is set: else the events of all the time in which nobody watched would
        have to be read. Raises EventsLost."""
        if asyncio.get_running_loop().time() - self._advanced > _STALE:
            await self.catch_up()
            self._advanced = asyncio.get_running_loop().time()

    async def catch_up(self) -> Head | None:
        """Observes the present head, which it returns; None before a service's first transaction. Raises EventsLost."""
        asked = self._cache.lease.reading()
        head = await read_head(self._aws, self._service)
        if head is not None:
            await self.observe(head.zxid, head)
            self._cache.lease.renew(asked)
        return head

    async def keep_lease(self) -> None:
        """Catches up for the cache, while it is worth it. Never returns."""
        await self._cache.lease.keep(self._look)

    async def _look(self) -> int:
        before = self.complete
        try:
            await self.catch_up()
        except (AwsError, EventsLost) as error:
            logger.info("nothing is answered from memory: %s", error)
        return _UNITS_TO_LOOK if self.complete == before else _UNITS_TO_FOLLOW

    def skip(self, floor: int) -> None:
        """Events up to zxid ``floor`` are lost, and nobody misses them now."""
        if floor > self.complete:
            self._cache.follow(floor, None)
            self.complete = floor

    async def learn(self, news: ReplyMessage) -> None:
        """From the sequencer."""
        if news.zxid <= self.complete:
            return
        if news.events is not None and news.base <= self.complete:
            # nothing to be asked for, so whoever is just asking need not be waited for
            await self._succeed(news)
            return
        async with self._lock:
            if news.zxid <= self.complete:
                return
            if news.base <= self.complete:
                await self._succeed(news)
            else:
                await self._leap(news.zxid, news.detached_at, news.changes)

    async def confirm_sessions(self) -> None:
        """Removes the sessions that have left this gateway up to ``complete``. Raises AwsError."""
        await self._confirm_sessions(self.complete)

    async def _follow(self, zxid: int, head: Head | None) -> bool:
        """One attempt to get to ``zxid``; False if the ledger is not there yet."""
        if head is None:
            head = await read_head(self._aws, self._service)
        if head is None or head.zxid < zxid:
            return False
        if head.floor > self.complete and len(self._watches):
            raise EventsLost(head.floor, self.complete)
        if zxid <= head.base:
            # a transaction follows only when the one before is known to be complete
            await self._leap(head.base, head.detached_at, head.changes)
            return True
        if not await self._is_complete(head):
            return False
        await self._leap(head.zxid, head.detached_at, head.changes)
        return True

    async def _is_complete(self, head: Head) -> bool:
        """So far as this gateway may read what the transaction wrote: the rest it cannot show to anybody."""
        try:
            return await confirm_complete(self._aws, self._service, head)
        except AccessDenied:
            may = await asyncio.gather(*(may_read(self._aws, self._service, key) for key in head.keys))
            readable = [key for key, allowed in zip(head.keys, may, strict=True) if allowed]
            return await confirm_complete(self._aws, self._service, head, readable)

    async def _succeed(self, news: ReplyMessage) -> None:
        """To the transaction that follows on ``complete``, or on one before it."""
        self.detached_at = max(self.detached_at, news.detached_at)
        for session, epoch in news.detached:
            self._sessions.remove(session, epoch)
        await self._advance(news.zxid, news.events, news.changes)

    async def _leap(self, zxid: int, detached_at: int, changes: Changes | None) -> None:
        """To a complete ``zxid``, over transactions that nobody has told of."""
        # before anything is waited for: whoever joins from now on may be missing in what is listed
        self.detached_at = max(self.detached_at, detached_at)
        if detached_at > self.complete and len(self._sessions):
            await self._confirm_sessions(zxid)
        await self._advance(zxid, None, changes)

    async def _confirm_sessions(self, zxid: int) -> None:
        attached = await list_gateway_sessions(self._aws, self._service, self._gateway_id)
        self._sessions.keep(frozenset(attached), zxid)

    async def _advance(self, zxid: int, events: Sequence[Event] | None, changes: Changes | None) -> None:
        if zxid <= self.complete:
            return  # while the head was read, news came
        if events is None:
            events = await read_events(self._aws, self._service, self.complete, zxid) if self._watches else ()
        # while they were read, news may have come
        for event in events:
            if event.zxid > self.complete:
                self._watches.fire(event)
        self._cache.follow(zxid, changes)
        self.complete = max(self.complete, zxid)
        self._advanced = asyncio.get_running_loop().time()
