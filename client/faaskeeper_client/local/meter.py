"""What a piece of work costs: counts the requests that the embedded cloud answers, and prices them as AWS would.

A meter is an HTTP server between the embedded cloud and those who use it, so that it sees every request that boto3
makes, retries too. Capacity units are computed from the items and from what the emulator says of writes, since it
takes every read for a small one.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

from faaskeeper_client.local.cloud import HOST, CloudSession, EmbeddedCloud

MILLION = 1_000_000
PRICES: Mapping[str, float] = {
    "write unit": 0.625 / MILLION,
    "read unit": 0.125 / MILLION,
    "FIFO request": 0.50 / MILLION,
    "request": 0.40 / MILLION,
    "invocation": 0.20 / MILLION,
    "GB-second": 0.0000133334,
    "PUT": 5.0 / MILLION,
    "GET": 0.40 / MILLION,
    "free": 0.0,
}
"""Dollars by unit: us-east-1, on demand, arm64, 2026, no free tier."""

_READ_UNIT, _SQS_UNIT = 4096, 65536
_READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})
_REFUSED_WRITES = frozenset({"ConditionalCheckFailedException", "TransactionCanceledException"})
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
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


class Meter:
    """A metered way to an embedded cloud, as a context manager. ``who`` names its users in the lines of ``usage``."""

    def __init__(self, cloud: EmbeddedCloud, who: str, usage: Usage) -> None:
        self._cloud = cloud

        def record(request: Request, status: int, answer: bytes) -> None:
            usage.add(priced(who, request, status, answer))

        self._server = ThreadingHTTPServer((HOST, 0), partial(_Proxy, urlsplit(cloud.endpoint_url).netloc, record))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"meter-{who}", daemon=True)

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}"

    def session(self) -> CloudSession:
        return CloudSession(self.endpoint_url, self._cloud.account, self._cloud.region)

    def lead_functions_here(self) -> None:
        """From now on the deployed functions take the metered way."""
        client = self._cloud.session().client("lambda")
        for function in client.list_functions()["Functions"]:
            variables = function.get("Environment", {}).get("Variables", {})
            client.update_function_configuration(
                FunctionName=function["FunctionName"],
                Environment={"Variables": variables | {"AWS_ENDPOINT_URL": self.endpoint_url}},
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


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


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    target: str
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.body or b"{}"))


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


class _Proxy(BaseHTTPRequestHandler):
    """Hands requests on, one connection to the emulator for each of a client's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, upstream: str, record: Callable[[Request, int, bytes], None], *arguments: Any) -> None:
        self._upstream = http.client.HTTPConnection(upstream, timeout=60)
        self._record = record
        super().__init__(*arguments)

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):  # the client went away, as those do whose process is killed
            super().handle_one_request()

    def finish(self) -> None:
        self._upstream.close()
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:
        return

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target", "")
        if target.startswith("DynamoDB"):
            # signatures are not checked by the emulator
            body = json.dumps(json.loads(body) | {"ReturnConsumedCapacity": "TOTAL"}).encode()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        self._upstream.request(self.command, self.path, body, headers)
        response = self._upstream.getresponse()
        answer = response.read()
        self._record(Request(self.command, self.path, target, body), response.status, answer)
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do
