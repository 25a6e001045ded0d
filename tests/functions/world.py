"""A service in an account of its own, without its functions: tests call those, and say what time it is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from hashlib import sha256
from typing import TypeVar

from faaskeeper.blocks.attributes import Item
from faaskeeper.blocks.aws import Aws, BotoAws
from faaskeeper.blocks.queues import reply_queue_name, send_request
from faaskeeper.blocks.runtime import milliseconds
from faaskeeper.functions.janitor.janitor import Janitor
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.reaper.function import look_at
from faaskeeper.functions.sequencer.function import process_records
from faaskeeper.functions.sequencer.sequencer import sequencer_committer
from faaskeeper.protocol.messages import Principal, Request, RequestMessage, encode_requests
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import KEY_NAMES, Key
from faaskeeper.storage.sessions import beat
from faaskeeper.znode.model import OPEN_ACL, Data
from faaskeeper.znode.operations import Create, CreateSession, Operation
from faaskeeper_client.local.cloud import CloudSession
from tests.event_source import EventSource, Record

T = TypeVar("T")

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
CONTAINER, TTL = 4, 5


_PASSWORD = b"password"


class World:
    """``now`` is what sequencer and janitor take for the time, in ms. S3 and SQS date by the real one, at which it
    begins. The journey of a request is: ``send``, then ``sequence`` all that were sent."""

    def __init__(self, session: CloudSession, service: Service | None = None) -> None:
        self.aws = BotoAws(session=session)
        self.service = service or create_storage(session, "world")
        self.now = milliseconds()
        self._sequencer = sequencer_committer(self.aws, self.service, lambda: self.now)
        self.reaper_metrics = FunctionMetrics()
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self.aws.close()

    def janitor(self, aws: Aws | None = None) -> Janitor:
        return Janitor(aws or self.aws, self.service, lambda: self.now)

    async def clean(self, aws: Aws | None = None) -> None:
        """One run of the janitor, and what it asked the sequencer for."""
        await self.janitor(aws).run(30)
        await self.sequence()

    async def hourly(self, hours: int = 2) -> None:
        """The janitor's runs at the next full hours. What happened before the first is behind the floor after two."""
        for _ in range(hours):
            self.now += HOUR
            await self.clean()

    async def gateway(self, gateway: str, session: int, stand_still: int = 1000) -> None:
        """Makes a gateway known, as its start does, and a session attached to it."""
        await self.aws.call("sqs", "create_queue", QueueName=reply_queue_name(self.service, gateway))
        assert await beat(self.aws, self.service, gateway, 1, stand_still)
        await self.commit(CreateSession(sha256(_PASSWORD).digest(), stand_still), session=session, gateway=gateway)

    async def commit(self, *operations: Operation, session: int = 1, gateway: str = "home") -> None:
        await self.send(*operations, session=session, gateway=gateway)
        await self.sequence()

    async def send(self, *operations: Operation, session: int = 1, gateway: str = "home") -> None:
        principal = Principal(session, 1, _PASSWORD)
        requests = tuple(Request(principal, next(self._numbers), operation) for operation in operations)
        number = f"test-{next(self._numbers)}"
        await send_request(
            self.aws, self.service, encode_requests(RequestMessage(gateway, requests)), number, seconds=10
        )

    async def drop_requests(self) -> None:
        """As if they were lost: no sequencer comes to them."""
        while await self._take(self.service.requests):
            pass

    async def sequence(self, aws: Aws | None = None) -> None:
        """Lets the sequencer do what is in the queue."""
        sequencer = sequencer_committer(aws, self.service, lambda: self.now) if aws else self._sequencer
        while records := await self._take(self.service.requests):
            for record in records:
                record["attributes"]["SentTimestamp"] = str(self.now)
            await process_records(aws or self.aws, self.service, sequencer, records, 30)

    async def timers(self, wait: int) -> int:
        """Gives the reaper the timers that come due within ``wait`` seconds; how many there were."""
        records = await self._take(self.service.timers, wait)
        assert await look_at(self.aws, self.service, records, self.reaper_metrics) == []
        await self.sequence()
        return len(records)

    async def item(self, key: Key) -> Item:
        response = await self.aws.call(
            "dynamodb", "get_item", TableName=key.table_name(self.service), Key=key.attributes, ConsistentRead=True
        )
        return response.get("Item", {})

    async def items(self, table: str, partition: str | None = None) -> list[Item]:
        """All of a table, or of one of its partitions."""
        found = await self.aws.call("dynamodb", "scan", TableName=getattr(self.service, table), ConsistentRead=True)
        name = KEY_NAMES[table][0]
        return [item for item in found["Items"] if partition is None or item[name]["S"] == partition]

    async def _take(self, url: str, wait: int = 0) -> list[Record]:
        source = EventSource(self.aws, url)
        records = await source.receive(wait=wait)
        await source.delete(records)
        return records


def create(path: str, data: Data = b"", flags: int = 0, ttl: int | None = None) -> Create:
    return Create(path, data, OPEN_ACL, flags, ttl)


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(100):
            return await work

    return asyncio.run(bounded())


def create_storage(session: CloudSession, name: str) -> Service:
    dynamodb, sqs, s3 = session.client("dynamodb"), session.client("sqs"), session.client("s3")
    for table, keys in KEY_NAMES.items():
        dynamodb.create_table(
            TableName=f"{name}-{table}",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    bucket = f"{name}-blobs-{session.get_credentials().access_key}"  # pyright: ignore
    s3.create_bucket(Bucket=bucket)
    queues = {
        queue: sqs.create_queue(QueueName=f"{name}-{queue}{'.fifo' if fifo else ''}", Attributes=fifo)["QueueUrl"]
        for queue, fifo in {"requests": {"FifoQueue": "true"}, "timers": {}, "dead-letters": {}}.items()
    }
    return Service(
        name=name,
        region=str(session.region_name),
        znodes=f"{name}-znodes",
        sessions=f"{name}-sessions",
        ledger=f"{name}-ledger",
        blobs=bucket,
        requests=queues["requests"],
        timers=queues["timers"],
        dead_letters=queues["dead-letters"],
        reply_prefix=f"faaskeeper_{name}_",
    )
