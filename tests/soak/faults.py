"""What befalls the calls that gateways and functions make to AWS, on their way through a proxy."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum

from faaskeeper_client.local.proxy import Answer, Cut, Forward, Request

LATENCY = (0.005, 2.0)
"""Seconds, both ends; most are short."""
STALE = (8.5, 12.0)
"""Seconds after which a function has given up its call, and its sandbox is gone, and the call takes effect all the
same."""


class Fault(StrEnum):
    LATE = "request late"
    LATE_ANSWER = "answer late"
    REFUSED = "request refused (500)"
    THROTTLED = "request throttled"
    CONFLICT = "transaction conflict"
    LOST_REQUEST = "request lost"
    LOST_ANSWER = "answer lost"
    DENIED_ANSWER = "done, but answered 500"
    STALE = "done after its caller gave up"
    PARTIAL = "part of a batch unprocessed"


RATES: Mapping[Fault, float] = {
    Fault.LATE: 0.03,
    Fault.LATE_ANSWER: 0.03,
    Fault.REFUSED: 0.02,
    Fault.THROTTLED: 0.02,
    Fault.CONFLICT: 0.05,
    Fault.LOST_REQUEST: 0.01,
    Fault.LOST_ANSWER: 0.02,
    Fault.DENIED_ANSWER: 0.02,
    Fault.STALE: 0.002,
    Fault.PARTIAL: 0.05,
}
"""Of the calls that a fault can befall."""

_DYNAMODB, _SQS = "DynamoDB_20120810.", "AmazonSQS."
_TRANSACTIONS = ("TransactWriteItems", "TransactGetItems")
_WRITES = ("TransactWriteItems", "UpdateItem", "SendMessage", "PutItem")


class Faults:
    """``told`` is called with each fault. Off until ``active``; ``cut_until`` is when a network cut ends
    (``time.monotonic``)."""

    def __init__(self, seed: int, who: str, told: Callable[[str, str], None]) -> None:
        self.active = False
        self.cut_until = 0.0
        self._who = who
        self._told = told
        self._chance = random.Random(f"{seed}/{who}")
        # each has some kinds of faults, at rates of its own, so that schedules differ
        self._rates = {
            kind: rate * self._chance.choice((0.3, 1, 3)) for kind, rate in RATES.items() if self._chance.random() < 0.6
        }
        self._lock = threading.Lock()

    def exchange(self, request: Request, forward: Forward) -> Answer:
        if time.monotonic() < self.cut_until:
            raise Cut
        fault = self._choose(request) if self.active else None
        match fault:
            case None:
                return forward(request)
            case Fault.LATE:
                time.sleep(self._seconds(LATENCY))
                return forward(request)
            case Fault.LATE_ANSWER:
                answer = forward(request)
                time.sleep(self._seconds(LATENCY))
                return answer
            case Fault.STALE:
                time.sleep(self._seconds(STALE))
                forward(request)
                raise Cut
            case Fault.LOST_REQUEST:
                raise Cut
            case Fault.LOST_ANSWER:
                forward(request)
                raise Cut
            case Fault.DENIED_ANSWER:
                forward(request)
                return _error(request, 500, "InternalServerError")
            case Fault.REFUSED:
                return _error(request, 500, "InternalServerError")
            case Fault.THROTTLED:
                return _throttled(request)
            case Fault.CONFLICT:
                return _conflict(request, self._chance)
            case Fault.PARTIAL:
                return _partial(request, forward)

    def _choose(self, request: Request) -> Fault | None:
        operation = request.target.rpartition(".")[2]
        if operation == "ReceiveMessage":
            return None
        with self._lock:
            for kind, rate in self._rates.items():
                if self._chance.random() < rate and _possible(kind, operation):
                    self._told(str(kind), f"{self._who} {operation or request.method}")
                    return kind
        return None

    def _seconds(self, bounds: tuple[float, float]) -> float:
        low, high = bounds
        return low * (high / low) ** self._chance.random()


def _possible(kind: Fault, operation: str) -> bool:
    match kind:
        case Fault.CONFLICT:
            return operation in (*_TRANSACTIONS, "UpdateItem")
        case Fault.PARTIAL:
            return operation == "BatchGetItem"
        case Fault.STALE | Fault.DENIED_ANSWER:
            return operation in _WRITES
        case _:
            return True


def _error(request: Request, status: int, code: str, **more: object) -> Answer:
    message = "by the torturer"
    if not request.target:
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        return Answer(status, (("Content-Type", "application/xml"),), body)
    document = {"__type": f"com.amazonaws#{code}", "message": message, **more}
    return Answer(status, (("Content-Type", "application/x-amz-json-1.0"),), json.dumps(document).encode())


def _throttled(request: Request) -> Answer:
    if request.target.startswith(_DYNAMODB):
        return _error(request, 400, "ProvisionedThroughputExceededException")
    return _error(request, 400, "RequestThrottled") if request.target else _error(request, 503, "SlowDown")


def _conflict(request: Request, chance: random.Random) -> Answer:
    items = request.fields.get("TransactItems")
    if items is None:
        return _error(request, 400, "TransactionConflictException")
    reasons = [{"Code": "None"} for _ in items]
    reasons[chance.randrange(len(reasons))] = {"Code": "TransactionConflict", "Message": "ongoing"}
    return _error(request, 400, "TransactionCanceledException", CancellationReasons=reasons)


def _partial(request: Request, forward: Forward) -> Answer:
    """Reads the first half of each table's keys, and says of the others that it did not."""
    asked = request.fields["RequestItems"]
    left = {table: {**rest, "Keys": rest["Keys"][(len(rest["Keys"]) + 1) // 2 :]} for table, rest in asked.items()}
    read = {table: {**rest, "Keys": rest["Keys"][: (len(rest["Keys"]) + 1) // 2]} for table, rest in asked.items()}
    body = json.dumps(request.fields | {"RequestItems": read}).encode()
    answer = forward(Request(request.method, request.path, request.target, body))
    unprocessed = {table: rest for table, rest in left.items() if rest["Keys"]}
    if answer.status != 200 or not unprocessed:
        return answer
    document = json.loads(answer.body) | {"UnprocessedKeys": unprocessed}
    # the checksum was of another body
    headers = tuple(each for each in answer.headers if each[0].lower() != "x-amz-crc32")
    return Answer(200, headers, json.dumps(document).encode())
