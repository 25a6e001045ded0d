"""What a piece of work costs: counts the requests that the embedded cloud answers, and prices them as AWS would.

A meter is an HTTP server between the embedded cloud and those who use it, so that it sees every request that boto3
makes, retries too. Capacity units are computed from the items and from what the emulator says of writes, since it
takes every read for a small one.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from faaskeeper_client.local.cloud import EmbeddedCloud
from faaskeeper_client.local.proxy import Answer, Forward, Proxy, Request
from faaskeeper_client.prices import PRICES

_READ_UNIT, _SQS_UNIT = 4096, 65536
_READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_REFUSED_WRITES = frozenset({"ConditionalCheckFailedException", "TransactionCanceledException"})
_FUNCTION = re.compile(r".*Functions([A-Za-z]+)[0-9A-F]{8}.*")
_EMPTIER = "Emptier"
"""Runs when a stack is deleted, not for the service."""
_POLLED = {"Sequencer": "FIFO request", "Reaper": "request"}
_REPORT = re.compile(r"REPORT RequestId.*\tBilled Duration: ([\d.]+) ms\tMemory Size: (\d+) MB")


@dataclass(frozen=True, slots=True)
class Line:
    """``count`` requests of one kind, and the ``units`` they are billed by (a key of PRICES)."""

    who: str
    service: str
    operation: str
    unit: str
    count: int
    units: float

    @property
    def dollars(self) -> float:
        return self.units * PRICES[self.unit]


class Usage:
    """Sums lines that differ in nothing but count and units."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._sums: dict[tuple[str, str, str, str], tuple[int, float]] = {}
        self._lock = threading.Lock()
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> None:
        key = (line.who, line.service, line.operation, line.unit)
        with self._lock:
            count, units = self._sums.get(key, (0, 0.0))
            self._sums[key] = (count + line.count, units + line.units)

    def __iter__(self) -> Iterator[Line]:
        with self._lock:
            sums = sorted(self._sums.items())
        return (Line(*key, count, units) for key, (count, units) in sums)

    @property
    def dollars(self) -> float:
        return sum(line.dollars for line in self)


class Meter(Proxy):
    """A metered way to an embedded cloud, as a context manager. ``who`` names its users in the lines of ``usage``."""

    def __init__(self, cloud: EmbeddedCloud, who: str, usage: Usage) -> None:
        def exchange(request: Request, forward: Forward) -> Answer:
            if request.target.startswith("DynamoDB"):
                fields = request.fields | {"ReturnConsumedCapacity": "TOTAL"}
                request = replace(request, body=json.dumps(fields).encode())
            answer = forward(request)
            usage.add(priced(who, request, answer.status, answer.body))
            return answer

        super().__init__(cloud, who, exchange)


def invocations(cloud: EmbeddedCloud) -> Usage:
    """What the functions have run so far, by the reports in their logs, and what Lambda's pollers asked the queues.

    The durations are this machine's. The pollers are inside the emulator: one ReceiveMessage and one
    DeleteMessageBatch an invocation are computed, and none for looking into empty queues.
    """
    usage = Usage()
    logs = cloud.session().client("logs")
    for function in cloud.session().client("lambda").list_functions()["Functions"]:
        name = _FUNCTION.sub(r"\1", function["FunctionName"])
        if name == _EMPTIER:
            continue
        reports = [
            match
            for page in logs.get_paginator("filter_log_events").paginate(
                logGroupName=function["LoggingConfig"]["LogGroup"]
            )
            for event in page["events"]
            if (match := _REPORT.match(event["message"]))
        ]
        if not reports:
            continue
        seconds = sum(float(match[1]) / 1000 * int(match[2]) / 1024 for match in reports)
        usage.add(Line("functions", "Lambda", name, "invocation", len(reports), len(reports)))
        usage.add(Line("functions", "Lambda", name, "GB-second", len(reports), seconds))
        if name in _POLLED:
            for operation in ("ReceiveMessage", "DeleteMessageBatch"):
                usage.add(Line("pollers", "SQS", operation, _POLLED[name], len(reports), len(reports)))
    return usage


def priced(who: str, request: Request, status: int, answer: bytes) -> Line:
    """The bill for one request and its answer."""
    prefix, _, operation = request.target.partition(".")
    if prefix.startswith("DynamoDB"):
        unit = "read unit" if operation in _READS else "write unit"
        units = _capacity(operation, request.fields, status, json.loads(answer or b"{}"))
        return Line(who, "DynamoDB", operation, unit, 1, units)
    if prefix == "AmazonSQS":
        fields = request.fields
        fifo = str(fields.get("QueueUrl", fields.get("QueueName", ""))).endswith(".fifo")
        units = _ceil(max(len(request.body), len(answer)), _SQS_UNIT)
        return Line(who, "SQS", operation, "FIFO request" if fifo else "request", 1, units)
    if prefix == "AmazonSSM":
        return Line(who, "SSM", operation, "free", 1, 1)
    if "/functions/" in request.path:
        return Line(who, "Lambda", "Invoke", "free", 1, 1)
    is_object = len(request.path.split("?")[0].strip("/").split("/")) > 1
    operation = request.method.capitalize() + "Object" if is_object else "ListObjects"
    unit = {"PUT": "PUT", "POST": "PUT", "DELETE": "free"}.get(request.method, "GET" if is_object else "PUT")
    return Line(who, "S3", operation, unit, 1, 1)


def _capacity(operation: str, asked: dict[str, Any], status: int, answer: dict[str, Any]) -> float:
    if status != 200:
        # what a condition refuses is paid for all the same, each item at least one unit
        if answer.get("__type", "").rpartition("#")[2] not in _REFUSED_WRITES:
            return 0
        return 2 * len(asked["TransactItems"]) if "TransactItems" in asked else 1
    match operation:
        case "GetItem":
            return _factor(asked) * _ceil(item_size(answer.get("Item", {})), _READ_UNIT)
        case "Query" | "Scan":
            return _factor(asked) * _ceil(sum(map(item_size, answer["Items"])), _READ_UNIT)
        case "TransactGetItems":
            return sum(2 * _ceil(item_size(response.get("Item", {})), _READ_UNIT) for response in answer["Responses"])
        case "BatchGetItem":
            return sum(
                _factor(table)
                * (
                    sum(_ceil(item_size(item), _READ_UNIT) for item in answer["Responses"].get(name, []))
                    + len(table["Keys"])
                    - len(answer["Responses"].get(name, []))
                    - len(answer.get("UnprocessedKeys", {}).get(name, {}).get("Keys", []))
                )
                for name, table in asked["RequestItems"].items()
            )
        case _:
            consumed: Any = answer.get("ConsumedCapacity", [])
            tables = cast(list[dict[str, float]], consumed if isinstance(consumed, list) else [consumed])
            return sum(table["CapacityUnits"] for table in tables)


def item_size(item: Mapping[str, Any]) -> int:
    """Bytes, as DynamoDB's developer guide counts them ("DynamoDB item sizes and formats")."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return (len(content.lstrip("-")) + 1) // 2 + 1
        case "B":
            return len(base64.b64decode(content))
        case "SS" | "NS" | "BS":
            return sum(_value_size({kind[0]: each}) for each in content)
        case "L":
            return 3 + sum(1 + _value_size(each) for each in content)
        case "M":
            return 3 + len(content) + item_size(content)
        case _:
            return 1


def _factor(asked: Mapping[str, Any]) -> float:
    return 1 if asked.get("ConsistentRead") else 0.5


def _ceil(size: int, unit: int) -> int:
    return max(1, -(-size // unit))
