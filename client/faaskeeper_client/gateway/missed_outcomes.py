"""Finds sessions that are attached to this gateway without its knowledge, because an outcome was lost."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper.protocol.service import Service
from faaskeeper.storage.sessions import read_session
from faaskeeper_client.gateway.observer import EventsLost, Observer
from faaskeeper_client.gateway.outbox import LONGEST_WITHOUT_OUTCOME, Outbox
from faaskeeper_client.gateway.replies import Replies
from faaskeeper_client.gateway.sessions import Sessions

logger = logging.getLogger(__name__)


class OutcomeLost(Exception):
    """A session is attached to this gateway, which was not told: it must start anew under another id, so that the
    reaper finds the session."""


@dataclass(frozen=True, slots=True, eq=False)
class MissedOutcomes:
    """Looks once in ``LONGEST_WITHOUT_OUTCOME`` seconds."""

    aws: Aws
    service: Service
    gateway_id: str
    outbox: Outbox
    observer: Observer
    sessions: Sessions
    replies: Replies

    async def run(self) -> None:
        """Until the outcome of an attachment is lost: storage has had its session here for a whole interval, but this
        gateway does not know it, and would not notice that its client is gone. Raises OutcomeLost."""
        before = frozenset[int]()
        while True:
            await asyncio.sleep(LONGEST_WITHOUT_OUTCOME)
            try:
                missed = await self._missed()
            except (AwsError, EventsLost) as error:
                logger.warning("outcomes that do not come cannot be looked for: %s", error)
                continue
            if missed & before:
                raise OutcomeLost(f"no outcome came of the attachment of {', '.join(map(hex, missed & before))}")
            before = missed

    async def _missed(self) -> frozenset[int]:
        """Sessions that are attached here by what storage says, and by no outcome: neither by one that came, nor by one
        that the head still has. A sequencer that cannot send replies commits nothing more, so the head has it then."""
        waiting = self.outbox.attaching(LONGEST_WITHOUT_OUTCOME)
        head = await self.observer.catch_up() if waiting else None
        if head is None:
            return frozenset()
        own = self.gateway_id
        told = tuple((number, outcome) for id, number, outcome in head.outcomes if id == own and number in waiting)
        cut = tuple((session, epoch) for id, session, epoch in head.detached if id == own)
        await self.replies.handle(ReplyMessage(head.zxid, head.base, told, None, cut, head.detached_at))
        ids = sorted(set(waiting.values()))
        stored = await asyncio.gather(*(read_session(self.aws, self.service, id) for id in ids))
        return frozenset(
            id
            for id, session in zip(ids, stored, strict=True)
            if session is not None and session.gateway == own and not self.sessions.knows(id, session.epoch)
        )
