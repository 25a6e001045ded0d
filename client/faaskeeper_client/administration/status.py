"""Whether a service works, as its queues, tables and metrics tell: nothing is sent through it.

Takes permission to scan the sessions table, to read the queues' attributes and the functions' logs, and for
``cloudwatch:GetMetricStatistics``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service
from faaskeeper.storage.ledger import Head, read_head
from faaskeeper.storage.sessions import GatewayItem
from faaskeeper_client.administration.logs import LoggedError, last_errors
from faaskeeper_client.administration.sessions import Listed, scan_sessions

STALLED = 30.0
"""Seconds that a request may wait; the alarm QueueAge begins there too."""
_PAUSE = 0.5
_METRIC_MINUTES = 5
"""CloudWatch has a metric of SQS's a few minutes late."""
_WAITING = "ApproximateNumberOfMessages"
_TAKEN = "ApproximateNumberOfMessagesNotVisible"
_DELAYED = "ApproximateNumberOfMessagesDelayed"


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages of a queue: to be received, received and not deleted, and not due yet. Approximate, as SQS has them."""

    waiting: int
    taken: int
    delayed: int

    @property
    def all(self) -> int:
        return self.waiting + self.taken + self.delayed


@dataclass(frozen=True, slots=True)
class Status:
    """``head`` is None before the first write. ``age`` is that of the oldest request in seconds, at most in the last
    minutes, None if CloudWatch has none. ``moves``: no requests wait, or some were done with while we looked.
    ``errors`` are not problems: most of what fails is done again."""

    service: Service
    head: Head | None
    age: float | None
    requests: Depth
    timers: Depth
    dead_letters: Depth
    gateways: list[GatewayItem]
    sessions: list[Listed]
    moves: bool
    errors: list[LoggedError]

    @property
    def problems(self) -> list[str]:
        """Each in a line; none if the service is healthy."""
        problems: list[str] = []
        if not self.moves:
            problems.append(f"write stall: {self.requests.all} requests wait and none is done with")
        if self.age is not None and self.age >= STALLED:
            problems.append(f"slow writes: the oldest request waited for {self.age:g} s")
        if self.dead_letters.all:
            problems.append(f"{self.dead_letters.all} dead letters")
        return problems


async def read_status(aws: Aws, service: Service, patience: float) -> Status:
    """Looks for up to ``patience`` seconds whether requests that wait are done with. Raises AwsError."""
    (head, age, errors), (requests, timers, dead_letters), (sessions, gateways) = await asyncio.gather(
        asyncio.gather(read_head(aws, service), _age(aws, service), last_errors(aws, service)),
        asyncio.gather(*(_depth(aws, queue) for queue in (service.requests, service.timers, service.dead_letters))),
        scan_sessions(aws, service),
    )
    moves = await _moves(aws, service, head, requests, patience)
    return Status(service, head, age, requests, timers, dead_letters, gateways, sessions, moves, errors)


async def _depth(aws: Aws, queue_url: str) -> Depth:
    response = await repeat(
        lambda: aws.call("sqs", "get_queue_attributes", QueueUrl=queue_url, AttributeNames=[_WAITING, _TAKEN, _DELAYED])
    )
    attributes = response["Attributes"]
    return Depth(int(attributes[_WAITING]), int(attributes[_TAKEN]), int(attributes[_DELAYED]))


async def _age(aws: Aws, service: Service) -> float | None:
    """The newest value: SQS itself does not tell, and a receive would take the message from the sequencer."""
    now = datetime.now(UTC)
    response = await repeat(
        lambda: aws.call(
            "cloudwatch",
            "get_metric_statistics",
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": service.requests.rsplit("/", 1)[1]}],
            StartTime=now - timedelta(minutes=_METRIC_MINUTES),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Maximum"],
        )
    )
    points = sorted((point["Timestamp"], float(point["Maximum"])) for point in response["Datapoints"])
    return points[-1][1] if points else None


async def _moves(aws: Aws, service: Service, head: Head | None, requests: Depth, patience: float) -> bool:
    deadline = asyncio.get_running_loop().time() + patience
    while requests.all:
        now = await read_head(aws, service)
        if now is not None and (head is None or now.applied != head.applied or now.journal_step != head.journal_step):
            return True
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_PAUSE)
        requests = await _depth(aws, service.requests)
    return True
