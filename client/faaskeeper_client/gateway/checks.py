"""What a gateway looks after at short intervals: silent clients, outcomes that do not come, news that nobody sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.messages import Principal
from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import CloseSession, Outcome
from faaskeeper_client.gateway.liveness import Liveness
from faaskeeper_client.gateway.observer import EventsLost, Observer
from faaskeeper_client.gateway.outbox import LONGEST_WITHOUT_OUTCOME, Outbox
from faaskeeper_client.gateway.sessions import MAX_SESSION_TIMEOUT, LocalSession, Sessions
from faaskeeper_client.gateway.watches import Watches

logger = logging.getLogger(__name__)

_INTERVAL = 0.5
"""Seconds."""
_SESSION_IS_OVER = (Code.OK, Code.SESSION_EXPIRED, Code.SESSION_MOVED)
"""Outcomes of a close after which the session is nothing to this gateway."""


@dataclass(frozen=True, slots=True, eq=False)
class Checks:
    """``clock`` gives seconds and goes on while the machine sleeps; ``drop_connections`` closes every connection."""

    clock: Callable[[], float]
    drop_connections: Callable[[], None]
    liveness: Liveness
    sessions: Sessions
    outbox: Outbox
    observer: Observer
    watches: Watches

    async def run(self) -> None:
        """Until cancelled. Only with watches or ephemerals does it look for news."""
        looked = self.clock()
        while True:
            await asyncio.sleep(_INTERVAL)
            await self.liveness.alive()
            for session in self.sessions.silent():
                self._expire(session)
            self.outbox.give_up(LONGEST_WITHOUT_OUTCOME)
            if (self.watches or self.liveness.guards_any) and self.clock() - looked > self._look_interval():
                looked = self.clock()
                await self._look()

    async def _look(self) -> None:
        try:
            await self.observer.catch_up()
        except EventsLost as error:
            logger.warning("%s; connections are closed", error)
            self.drop_connections()
            # now that nobody watches, nobody misses them
            self.observer.skip(error.floor)
        except AwsError as error:
            logger.warning("the head cannot be read: %s", error)

    def _look_interval(self) -> float:
        """Seconds: a third of the shortest session timeout here."""
        return min((session.timeout for session in self.sessions), default=MAX_SESSION_TIMEOUT) / 3000

    def _expire(self, session: LocalSession) -> None:
        connection = session.connection
        if connection is not None and connection.is_behind:
            return
        session.expiring = True
        logger.info("session %#x was silent for %d ms", session.id, session.timeout)
        if connection is not None:
            connection.close()
        principal = Principal(session.id, session.epoch, session.password)
        outcome = self.outbox.submit(principal, CloseSession(silent=True))

        def done(future: asyncio.Future[Outcome]) -> None:
            if not future.cancelled() and future.exception() is None and future.result().code in _SESSION_IS_OVER:
                self.sessions.remove(session.id, session.epoch)
            else:
                session.expiring, session.heard = False, self.clock()

        outcome.add_done_callback(done)
