"""A service with its sequencer in this process, so that each call it makes can be counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.meter import Meter
from faaskeeper.blocks.aws import Aws, BotoAws, Response
from faaskeeper.blocks.runtime import milliseconds
from faaskeeper.functions.direct.function import Direct
from faaskeeper.functions.sequencer.function import process_records
from faaskeeper.functions.sequencer.sequencer import sequencer_committer
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import KEY_NAMES
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.server import Server
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.cloud import CloudSession
from tests.dynamodb_local import dynamodb_local
from tests.event_source import EventSource, Record

_ACCOUNT = "000000000000"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """``sequencer`` and ``gateways`` meter their side; ``ports`` are where the gateways listen. ``messages`` has the
    number of messages of each invocation; ``idle`` is set while the sequencer has nothing to do. ``meter`` makes one
    for another side."""

    service: Service
    sequencer: Meter
    gateways: tuple[Meter, ...]
    ports: tuple[int, ...]
    messages: list[int]
    idle: asyncio.Event
    meter: Callable[[], Meter]


@asynccontextmanager
async def stage(gateways: int, *, by_call: bool = True) -> AsyncGenerator[Stage]:
    """Queues and bucket on the embedded cloud, tables on DynamoDB Local, whose capacity figures are exact. ``by_call``:
    gateways call the direct function. They keep nothing of what they read: each read is a request."""
    with EmbeddedCloud(account=_ACCOUNT) as cloud, dynamodb_local() as tables_url:
        rest = BotoAws(session=cloud.session())
        tables = BotoAws(session=CloudSession(tables_url, "bench", cloud.region))
        service = await _resources(rest, tables, cloud, by_call)
        idle = frozenset({("update_item", service.sessions)})
        sequencer = Meter(tables, rest)
        # an instance each: one that two gateways share would answer one with the replies of the other
        instances = [Direct(sequencer, service, milliseconds) for _ in range(gateways)]
        meters = tuple(Meter(tables, _Invoking(rest, instance), idle) for instance in instances)
        messages: list[int] = []
        idle_now = asyncio.Event()
        running = asyncio.create_task(_run(rest, sequencer, service, messages, idle_now))
        started = [Gateway(meter, service, cache_bytes=0) for meter in meters]
        servers = [Server(gateway) for gateway in started]
        try:
            for gateway in started:
                await gateway.start()
            ports = [(await server.listen("127.0.0.1", 0))[1] for server in servers]
            yield Stage(service, sequencer, meters, tuple(ports), messages, idle_now, lambda: Meter(tables, rest))
        finally:
            for server, gateway in zip(servers, started, strict=True):
                server.close()
                await gateway.stop()
            running.cancel()
            rest.close()
            tables.close()


class _Invoking:
    """An Aws whose Lambda runs the direct function in this process; ``rest`` answers all else."""

    def __init__(self, rest: Aws, direct: Direct) -> None:
        self._rest = rest
        self._direct = direct
        self._free = asyncio.Lock()

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if service != "lambda":
            return await self._rest.call(service, operation, **parameters)
        async with self._free:  # an instance does one thing at a time
            answer = await self._direct.answer(json.loads(parameters["Payload"]), _SECONDS)
        return {"StatusCode": 200, "Payload": json.dumps(answer).encode()}


async def _resources(rest: Aws, tables: Aws, cloud: EmbeddedCloud, by_call: bool) -> Service:
    for table, keys in KEY_NAMES.items():
        await tables.call(
            "dynamodb",
            "create_table",
            TableName=table,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=True)
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    await rest.call("s3", "create_bucket", Bucket="blobs")
    urls: dict[str, str] = {}
    for name in ("requests.fifo", "timers", "dead"):
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        urls[name] = (await rest.call("sqs", "create_queue", QueueName=name, Attributes=attributes))["QueueUrl"]
    return Service(
        name="bench",
        region=cloud.region,
        znodes="znodes",
        sessions="sessions",
        ledger="ledger",
        blobs="blobs",
        requests=urls["requests.fifo"],
        timers=urls["timers"],
        dead_letters=urls["dead"],
        reply_prefix="bench_",
        direct="direct" if by_call else "",
    )


async def _run(queue: Aws, meter: Meter, service: Service, messages: list[int], idle: asyncio.Event) -> None:
    """What Lambda's event source mapping does: batches of up to ten."""
    sequencer = sequencer_committer(meter, service, milliseconds)

    async def invoke(records: list[Record]) -> None:
        messages.append(len(records))
        idle.clear()
        await process_records(meter, service, sequencer, records, _SECONDS)
        idle.set()

    await EventSource(queue, service.requests).run(invoke)
