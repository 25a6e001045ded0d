"""The sequencer's core on emulated tables and queues, with the deaths, stalls and lost answers of its hosts.

A ``Stage`` has the storage of one service and no functions: a test receives the queue's messages itself and hands them
to ``process_records``, so it decides when an instance dies, when messages come back, and how many instances there are.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from faaskeeper.blocks.aws import Aws, BotoAws, Response
from faaskeeper.blocks.errors import AwsError, Unavailable
from faaskeeper.blocks.queues import REQUEST_GROUP, check_out, reply_queue_name, reply_queue_url
from faaskeeper.functions.sequencer.function import process_records
from faaskeeper.functions.sequencer.sequencer import sequencer_committer
from faaskeeper.protocol.messages import (
    Principal,
    ReplyMessage,
    Request,
    RequestMessage,
    decode_reply,
    encode_requests,
)
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import KEY_NAMES
from faaskeeper.storage.ledger import Head, read_events, read_head
from faaskeeper.storage.sessions import beat, list_ephemerals, read_session
from faaskeeper.storage.znodes import Listing, NodeItem, read_children, read_node
from faaskeeper.znode import quotas
from faaskeeper.znode.model import OPEN_ACL, Data, Event, Session, Znode
from faaskeeper.znode.operations import Create, CreateSession, Operation, Outcome
from tests.event_source import EventSource, Record

T = TypeVar("T")

SECONDS = 30.0
"""What an invocation gets."""
PATIENCE = 20.0
"""Seconds after which something that has to come is taken for lost."""


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(90):
            return await work

    return asyncio.run(bounded())


class Killed(BaseException):
    """The sandbox is gone: nothing of the invocation is left but what it did elsewhere."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway as the sequencer knows it: an item that says it lives, and a reply queue."""

    id: str


@dataclass(frozen=True, slots=True)
class Client:
    """A session as its requests prove it."""

    gateway: Gateway
    session: int
    password: bytes
    epoch: int

    @property
    def principal(self) -> Principal:
        return Principal(self.session, self.epoch, self.password)


class Stage:
    def __init__(self, aws: BotoAws, service: Service) -> None:
        self.aws = aws
        self.service = service
        self.requests = EventSource(aws, service.requests)
        self.time = 0
        """ms that the sequencer's clock is ahead of ours."""
        self._numbers = itertools.count(1)

    @classmethod
    async def create(cls, aws: BotoAws, **limits: Any) -> Stage:
        """Tables, queues and a bucket of its own, under names that no other test has."""
        name = f"t{uuid4().hex[:12]}"
        await asyncio.gather(
            *(
                aws.call(
                    "dynamodb",
                    "create_table",
                    TableName=f"{name}-{table}",
                    AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                    KeySchema=[
                        {"AttributeName": key, "KeyType": kind}
                        for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)
                    ],
                    BillingMode="PAY_PER_REQUEST",
                )
                for table, keys in KEY_NAMES.items()
            ),
            aws.call("s3", "create_bucket", Bucket=name),
        )
        queues = {
            "requests": (f"{name}-requests.fifo", {"FifoQueue": "true", "VisibilityTimeout": "120"}),
            "timers": (f"{name}-timers", {}),
            "dead_letters": (f"{name}-dead", {}),
        }
        urls = {
            role: (await aws.call("sqs", "create_queue", QueueName=queue, Attributes=attributes))["QueueUrl"]
            for role, (queue, attributes) in queues.items()
        }
        tables = {table: f"{name}-{table}" for table in KEY_NAMES}
        return cls(
            aws,
            Service(name, "us-east-1", **tables, blobs=name, **urls, reply_prefix=f"{name}-reply-", **limits),
        )

    # what surrounds the sequencer

    async def gateway(self) -> Gateway:
        """A gateway that lives."""
        gateway = uuid4().hex[:16]
        await self.aws.call("sqs", "create_queue", QueueName=reply_queue_name(self.service, gateway))
        assert await beat(self.aws, self.service, gateway, 1, 600_000)
        return Gateway(gateway)

    async def send(self, gateway: Gateway | str, *requests: tuple[Principal | Client, Operation]) -> list[int]:
        """One message; the numbers of its requests."""
        numbered = [
            Request(who.principal if isinstance(who, Client) else who, next(self._numbers), operation)
            for who, operation in requests
        ]
        id = gateway.id if isinstance(gateway, Gateway) else gateway
        await self.send_raw(encode_requests(RequestMessage(id, tuple(numbered))))
        return [request.number for request in numbered]

    async def send_raw(self, body: str) -> None:
        await self.aws.call(
            "sqs",
            "send_message",
            QueueUrl=self.service.requests,
            MessageBody=body,
            MessageGroupId=REQUEST_GROUP,
            MessageDeduplicationId=uuid4().hex,
        )

    async def receive(self, most: int = 10) -> list[Record]:
        return await self.requests.receive(most)

    async def bring_back(self, records: Sequence[Record]) -> None:
        await self.requests.bring_back(records)

    async def delete(self, records: Sequence[Record]) -> None:
        await self.requests.delete(records)

    def sequencer(self, aws: Aws | None = None, notifier: str | None = None) -> Instance:
        return Instance(self, aws or self.aws, notifier)

    async def drain(self, instance: Instance | None = None, most: int = 10) -> None:
        """Lambda's part: receive, invoke, delete, until the queue is empty. An invocation that fails or dies is
        followed by another of a fresh instance."""
        instance = instance or self.sequencer()
        failures = 0
        while records := await self.receive(most):
            try:
                await instance.invoke(records)
            except Killed:
                await self.bring_back(records)
            except Exception:
                # the function made them visible itself
                failures += 1
                if failures > 3:
                    raise
            else:
                await self.delete(records)
                continue
            instance = self.sequencer()

    # what clients do

    async def client(self, gateway: Gateway | None = None) -> Client:
        """A session that is established."""
        gateway = gateway or await self.gateway()
        session, password = uuid4().int >> 66, uuid4().bytes
        await self.send(gateway, (Principal(session, 0, password), CreateSession(sha256(password).digest(), 10_000)))
        await self.drain()
        client = Client(gateway, session, password, 1)
        stored = await self.session(client)
        assert stored is not None
        await self.replies(gateway, 1)
        return client

    async def do(self, client: Client, *operations: Operation) -> list[Outcome]:
        """Sends the operations in one message and sees them through."""
        numbers = await self.send(client.gateway, *((client, operation) for operation in operations))
        await self.drain()
        replies = await self.outcomes(client.gateway, numbers)
        return [replies[number] for number in numbers]

    # what came of it

    async def replies(self, gateway: Gateway, count: int) -> list[ReplyMessage]:
        """The next ``count`` messages of the reply queue."""
        got: list[ReplyMessage] = []
        deadline = time.monotonic() + PATIENCE
        while len(got) < count:
            assert time.monotonic() < deadline, f"{len(got)} of {count} replies came: {got}"
            got += await self._receive_replies(gateway, wait=1)
        return got

    async def outcomes(self, gateway: Gateway, numbers: Sequence[int]) -> dict[int, Outcome]:
        """The outcomes of the requests; a second one of the same request must be the same."""
        got: dict[int, Outcome] = {}
        deadline = time.monotonic() + PATIENCE
        while not got.keys() >= set(numbers):
            assert time.monotonic() < deadline, f"no outcome of {sorted(set(numbers) - got.keys())}"
            for reply in await self._receive_replies(gateway, wait=1):
                for number, outcome in reply.outcomes:
                    assert got.setdefault(number, outcome) == outcome
        return {number: got[number] for number in numbers}

    async def outcomes_now(self, gateway: Gateway) -> set[tuple[int, Outcome]]:
        """The outcomes that are in the reply queue now."""
        return {pair for reply in await self.everything(gateway) for pair in reply.outcomes}

    async def everything(self, gateway: Gateway) -> list[ReplyMessage]:
        """All that is in the reply queue now."""
        got: list[ReplyMessage] = []
        while more := await self._receive_replies(gateway, wait=0):
            got += more
        return got

    async def _receive_replies(self, gateway: Gateway, wait: int) -> list[ReplyMessage]:
        url = reply_queue_url(self.service, gateway.id)
        response = await self.aws.call(
            "sqs", "receive_message", QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait
        )
        messages = response.get("Messages", [])
        for message in messages:
            await self.aws.call("sqs", "delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [decode_reply(await check_out(self.aws, self.service, message["Body"])) for message in messages]

    async def head(self) -> Head:
        head = await read_head(self.aws, self.service)
        assert head is not None
        return head

    async def item(self, path: str) -> NodeItem:
        return await read_node(self.aws, self.service, path)

    async def node(self, path: str) -> Znode | None:
        return (await self.item(path)).znode

    async def children(self, path: str) -> list[str]:
        """Of one state: the count and the sum of the node match the names."""
        listing: Listing | None = await read_children(self.aws, self.service, path)
        assert listing is not None, f"{path} and its edges are not of one state"
        return sorted(listing.names)

    async def session(self, client: Client) -> Session | None:
        return await read_session(self.aws, self.service, client.session)

    async def ephemerals(self, client: Client) -> list[str]:
        return sorted(await list_ephemerals(self.aws, self.service, client.session))

    async def events(self) -> list[Event]:
        return await read_events(self.aws, self.service, -1, (await self.head()).zxid)

    async def quarantined(self) -> list[Record]:
        response = await self.aws.call(
            "sqs", "receive_message", QueueUrl=self.service.dead_letters, MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        return [json.loads(message["Body"]) for message in response.get("Messages", [])]


class Instance:
    """One instance of the sequencer function: its remembered head lives as long as it does."""

    def __init__(self, stage: Stage, aws: Aws, notifier: str | None) -> None:
        self._stage = stage
        self._aws = aws
        self._sequencer = sequencer_committer(
            aws, stage.service, lambda: time.time_ns() // 1_000_000 + stage.time, notifier
        )

    async def invoke(self, records: list[Record], seconds: float = SECONDS) -> None:
        await process_records(self._aws, self._stage.service, self._sequencer, records, seconds)


Matches = Callable[[str, str, dict[str, Any]], bool]


def calls(operation: str, *, nth: int = 1, **expected: Any) -> Matches:
    """The ``nth`` call of that operation whose parameters are as expected."""
    left = itertools.count(1)

    def matches(service: str, name: str, parameters: dict[str, Any]) -> bool:
        same = name == operation and all(parameters.get(key) == value for key, value in expected.items())
        return same and next(left) == nth

    return matches


COMMIT = "transact_write_items"
REPLY = "send_message"


class Dying:
    """An Aws whose process is killed at a call: before it takes effect, or after, when nobody hears the answer."""

    def __init__(self, aws: Aws, at: Matches, *, after: bool) -> None:
        self._aws = aws
        self._at = at
        self._after = after
        self.dead = False

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if self.dead:
            raise Killed
        if not self._at(service, operation, parameters):
            return await self._aws.call(service, operation, **parameters)
        self.dead = True
        if self._after:
            await self._aws.call(service, operation, **parameters)
        raise Killed


class Stalling:
    """An Aws that stands still before a call, until it is told to go on."""

    def __init__(self, aws: Aws, at: Matches) -> None:
        self._aws = aws
        self._at = at
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if self._at(service, operation, parameters):
            self.reached.set()
            await self.go_on.wait()
        return await self._aws.call(service, operation, **parameters)


class Failing:
    """An Aws whose calls that match fail; with ``after`` they take effect all the same."""

    def __init__(self, aws: Aws, at: Matches, error: AwsError | None = None, *, after: bool = False) -> None:
        self._aws = aws
        self._at = at
        self._error = error
        self._after = after
        self.failed = 0

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if not self._at(service, operation, parameters):
            return await self._aws.call(service, operation, **parameters)
        self.failed += 1
        if self._after:
            await self._aws.call(service, operation, **parameters)
        raise self._error or Unavailable(service, operation, "ReadTimeout", "the answer is lost")


class Counting:
    """An Aws that counts its calls by operation."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.calls)

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        self.calls.append((operation, parameters))
        return await self._aws.call(service, operation, **parameters)


def create(path: str, data: Data = b"", flags: int = 0) -> Create:
    return Create(path, data, OPEN_ACL, flags)


def quota(top: str) -> tuple[Operation, ...]:
    """As zkCli's setquota."""
    stats = quotas.stats_path(top)
    above = [stats[:end] for end, slash in enumerate(stats) if slash == "/" and end]
    return (*map(create, above), create(quotas.limits_path(top), b"count=9,bytes=-1"), create(stats, b"zero"))


def moved(client: Client, gateway: Gateway) -> Client:
    """The client after it came back through ``gateway``."""
    return replace(client, gateway=gateway, epoch=client.epoch + 1)
