"""Sends the sessions' writes to the sequencer, in order, and hands each its outcome."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from faaskeeper.protocol.messages import MOST_REQUESTS, Principal, Request, RequestMessage, encode_requests
from faaskeeper.protocol.service import Service
from faaskeeper.storage.aws import Aws
from faaskeeper.storage.errors import AwsError, Unavailable
from faaskeeper.storage.queues import MOST_BYTES, send_request
from faaskeeper.znode.model import Acl
from faaskeeper.znode.operations import AttachSession, CreateSession, Operation, Outcome

logger = logging.getLogger(__name__)

_GIVE_UP = 120.0
"""Seconds after which a send is given up: SQS forgets after 300 what it has seen, and a retry could run twice."""
_ATTACH = (AttachSession, CreateSession)

Note: TypeAlias = Callable[[Outcome, int], None]
"""Takes note of an outcome and of the zxid that came with it, its transaction's if it changed anything."""


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
    meanwhile goes into the next."""

    def __init__(self, aws: Aws, service: Service, gateway: str, entropy: random.Random) -> None:
        self._aws = aws
        self._service = service
        self._gateway = gateway
        self._waiting: deque[_Sent] = deque()
        self._unanswered: dict[int, _Sent] = {}
        self._wake = asyncio.Event()
        self._entropy = entropy
        self._messages = 0

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
        self._waiting.append(sent)
        self._unanswered[number] = sent
        self._wake.set()
        return sent.outcome

    def resolve(self, number: int, outcome: Outcome, zxid: int) -> None:
        """An outcome came, with ``zxid``; the same may come twice."""
        sent = self._unanswered.pop(number, None)
        if sent is not None and not sent.outcome.done():
            if sent.note is not None:
                sent.note(outcome, zxid)
            sent.outcome.set_result(outcome)

    def give_up(self, older_than: float) -> None:
        """Fails what has waited for an outcome for more than ``older_than`` seconds.

        Not so what attaches sessions: one that is attached after all would never be expired. Its client goes away.
        """
        limit = asyncio.get_running_loop().time() - older_than
        waiting = [sent for sent in self._unanswered.values() if sent.since < limit]
        self._fail([sent for sent in waiting if not isinstance(sent.request.operation, _ATTACH)], "no outcome came")

    async def run(self) -> None:
        """Sends until cancelled. Raises Unavailable when it cannot be known whether SQS has a message: sessions may
        have been attached by it, so the gateway must not live on as if they had not."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._send(*self._next_message())

    def close(self) -> None:
        self._waiting.clear()
        self._fail(list(self._unanswered.values()), "the gateway stops")

    def _next_message(self) -> tuple[list[_Sent], str]:
        taken: list[_Sent] = []
        principals: set[Principal] = set()
        size = 0
        while self._waiting and len(taken) < MOST_REQUESTS:
            request = self._waiting[0].request
            size += _size(request.operation)
            if request.principal not in principals:
                principals.add(request.principal)
                size += 100 + sum(30 + 6 * len(credential) for _, credential in request.principal.credentials)
            if taken and size > MOST_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken, encode_requests(RequestMessage(self._gateway, tuple(sent.request for sent in taken)))

    async def _send(self, taken: list[_Sent], body: str) -> None:
        self._messages += 1
        try:
            await send_request(self._aws, self._service, body, f"{self._gateway}-{self._messages}", seconds=_GIVE_UP)
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
            if not each.outcome.done():
                each.outcome.set_exception(ConnectionLost(reason))


def _connection(sent: _Sent) -> tuple[int, int]:
    return sent.request.principal.session, sent.request.principal.epoch


def _size(operation: Operation) -> int:
    """Bytes that the operation takes in a message, roughly and rather too many."""
    parts = getattr(operation, "operations", None)
    if parts is not None:
        return 200 + sum(_size(part) for part in parts)
    data = getattr(operation, "data", None)
    length = len(data) if isinstance(data, bytes) else 0
    acl: tuple[Acl, ...] = getattr(operation, "acl", ())
    entries = sum(30 + 6 * (len(entry.scheme) + len(entry.id)) for entry in acl)
    return 300 + 6 * len(getattr(operation, "path", "")) + length * 4 // 3 + entries
