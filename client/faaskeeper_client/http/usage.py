"""What a gateway asks of AWS, counted call by call, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from faaskeeper.blocks.aws import Aws, Response
from faaskeeper.blocks.errors import AwsError, ConditionFailed, TransactionCancelled
from faaskeeper_client.prices import PRICES, STANDARD, dollars, operation
from faaskeeper_client.wire.statistics import Latencies

OK = "ok"
FUNCTIONS_PER_WRITE = operation("set").dollars(STANDARD) - dollars({"FIFO request": 1, "request": 2})
"""Dollars. An assumption: what all but the gateway itself uses for a write is what it uses for a set of 100 bytes that
comes alone, in the tier standard."""
_SQS_UNIT = 65536
_READS = frozenset({"get_item", "batch_get_item", "query", "scan", "transact_get_items"})
_S3_UNITS = {"get_object": "GET", "head_object": "GET", "delete_object": "free"}


@dataclass(slots=True)
class Calls:
    """Of one operation with one outcome: OK, or the name of its error's class. ``unit`` is a key of PRICES."""

    service: str
    operation: str
    outcome: str
    unit: str
    count: int = 0
    units: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def dollars(self) -> float:
        return self.units * PRICES[self.unit]


class Usage:
    """Sums of calls."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str], Calls] = {}

    def __iter__(self) -> Iterator[Calls]:
        return iter([calls for _, calls in sorted(self._sums.items())])

    @property
    def dollars(self) -> float:
        return sum(calls.dollars for calls in self)

    def add(self, service: str, operation: str, outcome: str, unit: str, units: float, seconds: float) -> None:
        key = service, operation, outcome, unit
        calls = self._sums.setdefault(key, Calls(service, operation, outcome, unit))
        calls.count += 1
        calls.units += units
        calls.latencies.add(seconds)


class CountedAws:
    """Passes calls on, and adds each to ``usage``. ``clock`` gives seconds.

    DynamoDB is asked to tell the capacity of every call (ReturnConsumedCapacity), which costs nothing. Of what a
    condition refuses it tells none: that is one unit an item at least, two in a transaction, and counted as that.
    """

    def __init__(self, aws: Aws, clock: Callable[[], float] = time.monotonic) -> None:
        self.usage = Usage()
        self._aws = aws
        self._clock = clock

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if service == "dynamodb":
            parameters = {"ReturnConsumedCapacity": "TOTAL"} | parameters
        began = self._clock()
        try:
            response = await self._aws.call(service, operation, **parameters)
        except AwsError as error:
            unit, units = _price_of_error(service, operation, parameters, error)
            self.usage.add(service, operation, type(error).__name__, unit, units, self._clock() - began)
            raise
        unit, units = _price(service, operation, parameters, response)
        self.usage.add(service, operation, OK, unit, units, self._clock() - began)
        return response


def _price(service: str, operation: str, parameters: Mapping[str, Any], response: Response) -> tuple[str, float]:
    """(unit, units)."""
    if service == "dynamodb":
        return _capacity_unit(operation), _capacity(response)
    if service == "sqs":
        return _queue_unit(parameters), max(1, -(-_message_bytes(parameters, response) // _SQS_UNIT))
    if service == "s3":
        return _S3_UNITS.get(operation, "PUT"), 1
    return "free", 1


def _price_of_error(service: str, operation: str, parameters: Mapping[str, Any], error: AwsError) -> tuple[str, float]:
    if service == "dynamodb":
        unit = _capacity_unit(operation)
        if isinstance(error, TransactionCancelled):
            return unit, 2 * len(parameters["TransactItems"])
        return unit, int(isinstance(error, ConditionFailed))
    if service == "sqs":
        return _queue_unit(parameters), 1
    if service == "s3":
        return _S3_UNITS.get(operation, "PUT"), 1
    return "free", 1


def _capacity_unit(operation: str) -> str:
    return "read unit" if operation in _READS else "write unit"


def _capacity(response: Response) -> float:
    consumed: Any = response.get("ConsumedCapacity", [])
    tables = cast(list[Mapping[str, float]], consumed if isinstance(consumed, list) else [consumed])
    return sum(table["CapacityUnits"] for table in tables)


def _queue_unit(parameters: Mapping[str, Any]) -> str:
    name = str(parameters.get("QueueUrl", parameters.get("QueueName", "")))
    return "FIFO request" if name.endswith(".fifo") else "request"


def _message_bytes(parameters: Mapping[str, Any], response: Response) -> int:
    entries: list[Mapping[str, Any]] = parameters.get("Entries", [])
    messages: list[Mapping[str, Any]] = response.get("Messages", [])
    bodies = [parameters.get("MessageBody", "")]
    bodies += [entry.get("MessageBody", "") for entry in entries]
    bodies += [message.get("Body", "") for message in messages]
    return sum(len(body.encode()) for body in bodies)
