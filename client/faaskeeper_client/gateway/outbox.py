"""Sends the sessions' writes to the sequencer, in order, and hands each its outcome."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TypeAlias

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, Unavailable
from faaskeeper.blocks.queues import MAX_MESSAGE_BYTES, send_request
from faaskeeper.protocol.calls import MAX_CALL_BYTES
from faaskeeper.protocol.messages import MAX_REQUESTS, Principal, ReplyMessage, Request, encode_first
from faaskeeper.protocol.service import Service
from faaskeeper.znode.operations import AttachSession, CreateSession, ListChildren, Multi, Operation, Outcome
from faaskeeper_client.gateway.direct import DirectCalls
from faaskeeper_client.gateway.inbox import surely

logger = logging.getLogger(__name__)

_GIVE_UP = 120.0
"""Seconds after which a send is given up: SQS forgets after 300 what it has seen, and a retry could run twice."""
LONGEST_WITHOUT_OUTCOME = 60.0
"""Seconds after which the outcome of a request is taken for lost."""
_ATTACH = (AttachSession, CreateSession)
_MAX_CALLED_OPERATIONS = 90
"""Of a multi in a direct call. What takes a function long is better in the queue, which brings it back in portions."""

Note: TypeAlias = Callable[[Outcome], None]
"""Takes note of an outcome."""


class ConnectionLost(Exception):
    """Whether the request took effect is unknown; its connection must be closed, as ZooKeeper's would be."""


@dataclass(slots=True, eq=False)
class _Sent:
    request: Request
    outcome: asyncio.Future[Outcome]
    since: float
    note: Note | None


class Outbox:
    """One gateway's requests. One message is under way at a time, so that none can overtake another; what comes
    meanwhile goes into the next. ``clock`` gives seconds and goes on while the machine sleeps.

    A message goes by a direct call where ``direct`` may be used and the queue has answered all it was sent, else by
    the queue. ``handle`` takes the replies of direct calls.
    """

    def __init__(
        self,
        aws: Aws,
        service: Service,
        gateway_id: str,
        entropy: random.Random,
        clock: Callable[[], float],
        direct: DirectCalls,
        handle: Callable[[ReplyMessage], Awaitable[None]],
    ) -> None:
        self._aws = aws
        self._service = service
        self._gateway_id = gateway_id
        self._waiting: deque[_Sent] = deque()
        self._unanswered: dict[int, _Sent] = {}
        self._wake = asyncio.Event()
        self._entropy = entropy
        self._clock = clock
        self._messages = 0
        self._direct = direct
        self._handle = handle
        self._queued: set[int] = set()
        """Numbers of requests that the queue was sent and has not answered."""
        self._closed = False

    def __len__(self) -> int:
        """Requests without an outcome."""
        return len(self._unanswered)

    def submit(self, principal: Principal, operation: Operation, note: Note | None = None) -> asyncio.Future[Outcome]:
        """Queues the operation behind all submitted before. The future raises ConnectionLost. ``note`` is called when
        an outcome comes, before any other news is handled."""
        # whoever knew it could send a request in this gateway's name, and its outcome would be taken for this one's
        number = self._entropy.getrandbits(62)
        loop = asyncio.get_running_loop()
        sent = _Sent(Request(principal, number, operation), loop.create_future(), loop.time(), note)
        if self._closed:
            self._fail([sent], "the gateway stopped")
            return sent.outcome
        self._waiting.append(sent)
        self._unanswered[number] = sent
        self._wake.set()
        return sent.outcome

    def withdraw(self, outcome: asyncio.Future[Outcome]) -> None:
        """Takes the request of that ``outcome`` back, if it has not left."""
        for sent in self._waiting:
            if sent.outcome is outcome:
                self._waiting.remove(sent)
                self._fail([sent], "its client is gone")
                return

    def resolve(self, number: int, outcome: Outcome) -> None:
        """An outcome came; the same may come twice."""
        sent = self._unanswered.pop(number, None)
        self._queued.discard(number)
        if sent is not None and not sent.outcome.done():
            if sent.note is not None:
                sent.note(outcome)
            sent.outcome.set_result(outcome)

    def give_up(self, older_than: float) -> None:
        """Fails what has waited for an outcome for more than ``older_than`` seconds.

        Not so what attaches sessions: one that is attached after all would never be expired. Its client goes away.
        """
        waiting = self._older(older_than)
        self._fail([sent for sent in waiting if not isinstance(sent.request.operation, _ATTACH)], "no outcome came")

    def attaching(self, older_than: float) -> dict[int, int]:
        """By request number, sessions whose attachment has waited for an outcome for more than ``older_than``
        seconds."""
        requests = (sent.request for sent in self._older(older_than))
        return {each.number: each.principal.session for each in requests if isinstance(each.operation, _ATTACH)}

    def _older(self, seconds: float) -> list[_Sent]:
        limit = asyncio.get_running_loop().time() - seconds
        return [sent for sent in self._unanswered.values() if sent.since < limit]

    async def run(self) -> None:
        """Sends until cancelled. Raises Unavailable when it cannot be known whether SQS has a message, or what became
        of a direct call: sessions may have been attached by it, so the gateway must not live on as if they had not."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                may_call = self._direct.ready() and not self._queued
                if not (may_call and _is_light(self._waiting[0])):
                    await self._send(*self._next_message())
                else:
                    taken, body = self._next_call()
                    if len(body) > MAX_CALL_BYTES:
                        await self._send(taken, body)
                    elif not await self._call(taken, body):
                        # by the queue; clients may have gone meanwhile
                        self._waiting.extendleft(reversed(taken))

    def close(self) -> None:
        """Fails what waits, and whatever is submitted from now on: nobody would send it."""
        self._closed = True
        self._direct.close()
        self._waiting.clear()
        self._fail(list(self._unanswered.values()), "the gateway stops")

    def _next_message(self) -> tuple[list[_Sent], str]:
        return self._take(islice(self._waiting, MAX_REQUESTS), MAX_MESSAGE_BYTES)

    def _next_call(self) -> tuple[list[_Sent], str]:
        return self._take(takewhile(_is_light, islice(self._waiting, MAX_REQUESTS)), MAX_CALL_BYTES)

    def _take(self, first: Iterable[_Sent], most: int) -> tuple[list[_Sent], str]:
        body, count = encode_first(self._gateway_id, (sent.request for sent in first), most)
        return [self._waiting.popleft() for _ in range(count)], body

    async def _call(self, taken: list[_Sent], body: str) -> bool:
        """False if nothing of it was done, nor will be."""
        try:
            replies = await self._direct.commit(body)
        except Unavailable as error:
            logger.warning("what became of %d requests is unknown: %s", len(taken), error)
            self._fail(taken, str(error))
            raise
        if replies is None:
            return False
        for reply in replies:
            await surely(lambda reply=reply: self._handle(reply))
        # applied by a copy whose answer is lost, and forgotten by the head
        self._fail(
            [each for each in taken if not each.outcome.done() and not isinstance(each.request.operation, _ATTACH)],
            "the outcome is lost",
        )
        return True

    async def _send(self, taken: list[_Sent], body: str) -> None:
        self._messages += 1
        self._queued.update(sent.request.number for sent in taken if sent.request.number in self._unanswered)
        try:
            number = f"{self._gateway_id}-{self._messages}"
            await send_request(self._aws, self._service, body, number, seconds=_GIVE_UP, clock=self._clock)
        except AwsError as error:
            logger.warning("%d requests could not be sent: %s", len(taken), error)
            # nothing of a connection may overtake what it sent before
            lost = {_connection(sent) for sent in taken}
            behind = [sent for sent in self._waiting if _connection(sent) in lost]
            self._waiting = deque(sent for sent in self._waiting if _connection(sent) not in lost)
            self._fail([*taken, *behind], str(error))
            if isinstance(error, Unavailable):
                raise

    def _fail(self, sent: list[_Sent], reason: str) -> None:
        for each in sent:
            self._unanswered.pop(each.request.number, None)
            self._queued.discard(each.request.number)
            if not each.outcome.done():
                each.outcome.set_exception(ConnectionLost(reason))


def _is_light(sent: _Sent) -> bool:
    """Whether a function gets through it soon, with an outcome that is small."""
    operation = sent.request.operation
    if isinstance(operation, Multi):
        return len(operation.operations) <= _MAX_CALLED_OPERATIONS
    return not isinstance(operation, ListChildren)


def _connection(sent: _Sent) -> tuple[int, int]:
    return sent.request.principal.session, sent.request.principal.epoch
