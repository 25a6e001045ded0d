"""What the cloud saw: every request that the queue accepted, every direct call that arrived and every answer that its
gateway got, every commit of the ledger's head, every reply.

It is ground truth for operations whose clients never heard of their outcome, and tells when a transaction became
wholly visible. Nothing here is read by the code under test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.transactions import Position
from faaskeeper.protocol.calls import decode_answer, decode_call
from faaskeeper.protocol.messages import ReplyMessage, RequestMessage, decode_reply, decode_requests
from faaskeeper.protocol.service import Service
from faaskeeper.storage.lanes import lane_digest
from faaskeeper.storage.ledger import Head, head_of
from faaskeeper_simulator.cloud import Cloud
from faaskeeper_simulator.cloud.service import Committed

_CLAIM = "claim:"


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction that moved the head. ``complete`` is when the last of its writes became visible."""

    head: Head
    began: float
    complete: float
    by: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the requests queue accepted."""

    sequence_number: int
    time: float
    by: str
    message: RequestMessage


@dataclass(frozen=True, slots=True)
class Called:
    """A direct call, as its first copy arrived."""

    lane: bytes
    number: int
    time: float
    by: str
    message: RequestMessage


@dataclass(frozen=True, slots=True)
class Death:
    gateway: str
    time: float


@dataclass(slots=True)
class Witness:
    service: Service | None = None
    commits: list[Commit] = field(default_factory=list[Commit])
    sent: list[Sent] = field(default_factory=list[Sent])
    replies: list[tuple[float, str, ReplyMessage]] = field(default_factory=list[tuple[float, str, ReplyMessage]])
    deaths: list[Death] = field(default_factory=list[Death])
    calls: dict[tuple[bytes, int], Called] = field(default_factory=dict[tuple[bytes, int], Called])
    """By lane and number."""
    answers: list[tuple[float, Called, ReplyMessage]] = field(default_factory=list[tuple[float, Called, ReplyMessage]])
    """Replies in answers that calling gateways got."""
    clock: Callable[[], float] = time.monotonic
    blob: Callable[[str], bytes] = field(default=lambda key: b"")
    """What is in the bucket under a key."""
    _tokens: set[str] = field(default_factory=set[str])
    _senders: dict[int, str] = field(default_factory=dict[int, str])

    def sender(self, sequence_number: int) -> str:
        """The process that sent the request."""
        return self._senders[sequence_number]

    def attach(self, cloud: Cloud, service: Service) -> None:
        self.service = service
        self.clock = cloud.loop.time
        self.blob = lambda key: cloud.s3.objects(service.blobs)[key]
        cloud.network.taps.append(self.tap)
        cloud.network.heard.append(self.hear)

    def tap(self, process: str, service: str, operation: str, parameters: Mapping[str, Any], answer: object) -> None:
        if operation == "send_message" and isinstance(answer, dict):
            self._message(process, parameters["QueueUrl"], parameters, answer)
        elif operation == "send_message_batch" and isinstance(answer, dict):
            entries = {entry["Id"]: entry for entry in parameters["Entries"]}
            for sent in answer.get("Successful", ()):
                self._message(process, parameters["QueueUrl"], entries[sent["Id"]], sent)
        elif operation == "invoke" and parameters["FunctionName"] == self._direct and not isinstance(answer, AwsError):
            id, message = decode_call(json.loads(parameters["Payload"]))
            if message.requests:
                lane = lane_digest(id.secret)
                self.calls.setdefault((lane, id.number), Called(lane, id.number, self.clock(), process, message))
        elif operation == "transact_write_items" and isinstance(answer, Committed):
            self._transaction(process, parameters, answer.visible)
        elif (
            operation == "update_item"
            and isinstance(answer, dict)
            and ":dead" in parameters.get("ExpressionAttributeValues", ())
        ):
            key = parameters["Key"]["id"]["S"]
            self.deaths.append(Death(key.removeprefix("gateway#"), self.clock()))

    def hear(self, process: str, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if parameters["FunctionName"] != self._direct or "FunctionError" in answer:
            return
        id, message = decode_call(json.loads(parameters["Payload"]))
        if message.requests:
            called = self.calls[lane_digest(id.secret), id.number]
            self.answers += [(self.clock(), called, reply) for reply in decode_answer(answer["Payload"]).replies]

    @property
    def _direct(self) -> str:
        assert self.service is not None
        return self.service.direct

    def _message(self, process: str, url: str, parameters: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        assert self.service is not None
        if url == self.service.requests:
            number = int(answer["SequenceNumber"])
            if number not in self._senders:
                self._senders[number] = process
                message = decode_requests(self._body(parameters))
                self.sent.append(Sent(number, self.clock(), process, message))
        elif url.rsplit("/", 1)[1].startswith(self.service.reply_prefix):
            gateway = url.rsplit("/", 1)[1].removeprefix(self.service.reply_prefix)
            self.replies.append((self.clock(), gateway, decode_reply(self._body(parameters))))

    def _body(self, parameters: Mapping[str, Any]) -> str:
        body: str = parameters["MessageBody"]
        if not body.startswith(_CLAIM):
            return body
        return self.blob(body.removeprefix(_CLAIM)).decode()

    def _transaction(self, process: str, parameters: Mapping[str, Any], complete: float) -> None:
        assert self.service is not None
        token = parameters["ClientRequestToken"]
        update = parameters["TransactItems"][0].get("Update", {})
        values = update.get("ExpressionAttributeValues", {})
        if update.get("TableName") != self.service.ledger or ":zxid" not in values or token in self._tokens:
            return
        self._tokens.add(token)
        head = head_of({name.removeprefix(":"): value for name, value in values.items()})
        self.commits.append(Commit(head, self.clock(), complete, process))


def positions(sent: list[Sent]) -> list[tuple[Position, Sent, int]]:
    """(position, message, index) of every request, in the order of the queue."""
    ordered = sorted(sent, key=lambda each: each.sequence_number)
    return [
        (Position(each.sequence_number, index), each, index)
        for each in ordered
        for index in range(len(each.message.requests))
    ]
