"""Lambda handler of the direct function, invoked by gateways that wait for its answer."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.committer import Committer
from faaskeeper.blocks.invocation import Contended, Forgotten
from faaskeeper.blocks.runtime import KEEP_WARM, LambdaContext, LambdaEvent, at_start, aws, milliseconds, run
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.environment import service
from faaskeeper.functions.sequencer.batch import Batch, DirectCall, Entry
from faaskeeper.functions.sequencer.sequencer import sequencer_committer
from faaskeeper.protocol.calls import CallId, Refusal, decode_call, encode_answer, encode_refused
from faaskeeper.protocol.messages import OtherVersion, RequestMessage, encode_refusal
from faaskeeper.protocol.service import Service
from faaskeeper.storage.lanes import lane_digest
from faaskeeper.storage.ledger import Head

logger = logging.getLogger(__name__)

MARGIN_SECONDS = 2.0
"""Seconds before the function's timeout at which an attempt ends."""
MOST_RACES = 3
"""Commits that a call loses to others before its gateway is sent to the queue, where nobody loses."""
_TIMEOUT_SECONDS = 3.0
"""Seconds for which an answer of AWS is waited for: the gateway waits with it."""


def handler(event: LambdaEvent, context: LambdaContext) -> LambdaEvent:
    if event == KEEP_WARM:
        return {}
    return run(_direct().answer(event, context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS))


@cache
def _direct() -> Direct:
    return Direct(aws(_TIMEOUT_SECONDS), service(), milliseconds, os.environ.get("NOTIFIER_FUNCTION") or None)


class Direct:
    """One instance of the function. ``clock`` gives ms since the epoch, ``notifier`` is a function name."""

    def __init__(self, aws: Aws, service: Service, clock: Callable[[], int], notifier: str | None = None) -> None:
        self._service = service
        self._clock = clock
        self._committer: Committer[Entry, Head, Batch] = sequencer_committer(aws, service, clock, notifier, self._keep)
        self._caller = ""
        self._replies: list[str] = []

    async def answer(self, event: LambdaEvent, seconds: float) -> LambdaEvent:
        """What the handler returns. When it raises, what became of the call is unknown to its gateway."""
        metrics = self._committer.metrics
        try:
            try:
                id, message = decode_call(event)
            except OtherVersion as error:
                logger.error("a call of gateway %r is refused: %s", error.gateway, error)
                metrics.add("Refused")
                return encode_answer([encode_refusal(str(error))])
            return await self._serve(id, message, seconds)
        finally:
            metrics.emit(self._service.name, self._clock())

    async def _serve(self, id: CallId, message: RequestMessage, seconds: float) -> LambdaEvent:
        self._caller, self._replies = message.gateway, []
        call = DirectCall(lane_digest(id.secret), id.since, id.repeated)
        entries = [
            Entry(Position(id.number, index), message.gateway, request, self._clock(), call=call)
            for index, request in enumerate(message.requests)
        ]
        head = await self._committer.look(seconds, lambda head: head.zxid < id.since)
        try:
            await self._committer.process(entries, seconds, most_races=MOST_RACES)
        except Contended:
            return encode_refused(Refusal.CONTENDED, head.zxid)
        except Forgotten:
            head = await self._committer.look(seconds, lambda head: False)
            return encode_refused(Refusal.STALE, head.zxid)
        return encode_answer(self._replies)

    def _keep(self, gateway: str, reply: str) -> bool:
        """The caller's own for the answer."""
        if gateway == self._caller:
            self._replies.append(reply)
        return gateway == self._caller


at_start(_direct)
