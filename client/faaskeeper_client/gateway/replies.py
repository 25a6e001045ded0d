"""What a gateway does with the sequencer's replies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper_client.gateway.observer import Observer
from faaskeeper_client.gateway.outbox import Outbox
from faaskeeper_client.gateway.sessions import Sessions


@dataclass(frozen=True, slots=True, eq=False)
class Replies:
    """Handles each reply in this order: events, outcomes, sessions that left."""

    observer: Observer
    outbox: Outbox
    sessions: Sessions

    async def handle(self, message: ReplyMessage) -> None:
        """Raises AwsError, EventsLost."""
        await self.observer.learn(message)
        for number, outcome in message.outcomes:
            self.outbox.resolve(number, outcome, message.zxid)
        # the task that waits for an outcome takes note of it before anything else is handled
        await asyncio.sleep(0)
        # what came and left in one transaction
        for session, epoch in message.detached:
            self.sessions.remove(session, epoch)
