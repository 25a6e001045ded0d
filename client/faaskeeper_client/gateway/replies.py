"""What a gateway does with the sequencer's replies."""

from __future__ import annotations

import asyncio

from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper_client.gateway.observer import Observer
from faaskeeper_client.gateway.outbox import Outbox
from faaskeeper_client.gateway.sessions import Sessions


class Replies:
    """Handles one reply after the other, each in this order: events, outcomes, sessions that left."""

    def __init__(self, observer: Observer, outbox: Outbox, sessions: Sessions) -> None:
        self._observer = observer
        self._outbox = outbox
        self._sessions = sessions
        self._lock = asyncio.Lock()

    async def handle(self, message: ReplyMessage) -> None:
        """Raises AwsError, EventsLost."""
        async with self._lock:
            await self._take(message)

    async def _take(self, message: ReplyMessage) -> None:
        await self._observer.learn(message)
        for number, outcome in message.outcomes:
            self._outbox.resolve(number, outcome)
        # whoever waited for an outcome takes note before anything else is handled
        await asyncio.sleep(0)
        # what came and left in one transaction
        for session, epoch in message.detached:
            self._sessions.remove(session, epoch)
