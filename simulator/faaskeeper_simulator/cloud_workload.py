"""A busy program on the simulated cloud, for tests of the cloud itself: writers, readers, a queue, a function."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper_simulator.cloud import Cloud, Context, Faults, Instance, run
from faaskeeper_simulator.cloud.lambda_ import Handler

TABLE = "things"
VISIBILITY = 20


def counting(instance: Instance) -> Handler:
    """Counts each record of the queue once, by its sequence number."""

    async def handle(event: Any, context: Context) -> None:
        for record in event["Records"]:
            number = record["attributes"]["SequenceNumber"]
            try:
                await instance.aws.call(
                    "dynamodb",
                    "update_item",
                    TableName=TABLE,
                    Key={"pk": {"S": "counter"}, "sk": {"S": "node"}},
                    UpdateExpression="SET seen = :number ADD n :one",
                    ConditionExpression="attribute_not_exists(seen) OR seen < :number",
                    ExpressionAttributeValues={":one": {"N": "1"}, ":number": {"S": number}},
                )
            except AwsError as error:
                if error.code != "ConditionalCheckFailedException":
                    raise

    return handle


async def writer(aws: Aws, queue: str, name: str, rounds: int) -> None:
    for number in range(rounds):
        item = {"pk": {"S": f"p{number % 3}"}, "sk": {"S": name}, "n": {"N": str(number)}}
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("dynamodb", "put_item", {"TableName": TABLE, "Item": item}),
            (
                "dynamodb",
                "transact_write_items",
                {
                    "TransactItems": [
                        {"Put": {"TableName": TABLE, "Item": {**item, "sk": {"S": f"{name}-{part}"}}}} for part in "xyz"
                    ]
                },
            ),
            (
                "dynamodb",
                "query",
                {
                    "TableName": TABLE,
                    "KeyConditionExpression": "pk = :pk",
                    "ExpressionAttributeValues": {":pk": {"S": f"p{number % 3}"}},
                    "ConsistentRead": True,
                },
            ),
            (
                "sqs",
                "send_message",
                {
                    "QueueUrl": queue,
                    "MessageBody": f"{name} {number}",
                    "MessageGroupId": "all",
                    "MessageDeduplicationId": f"{name}-{number}",
                },
            ),
        ]
        for service, operation, parameters in calls:
            try:
                await aws.call(service, operation, **parameters)
            except AwsError:
                await asyncio.sleep(0.05)


async def busy(faults: Faults, *, writers: int = 4, rounds: int = 10) -> Cloud:
    """Runs the workload to its end, and for long enough after it that the queue is empty in the absence of faults."""
    cloud = Cloud(faults)
    cloud.dynamodb.create_table(TABLE, ("pk", "S"), ("sk", "S"))
    created = await cloud.admin.call(
        "sqs",
        "create_queue",
        QueueName="requests.fifo",
        Attributes={"FifoQueue": "true", "VisibilityTimeout": str(VISIBILITY)},
    )
    cloud.functions.register("counting", counting, timeout=10)
    cloud.connect_queue("requests.fifo", "counting")
    names = [f"writer-{number}" for number in range(writers)]
    processes = [cloud.process(name) for name in names]
    await asyncio.gather(
        *(
            process.start(writer(cloud.client(process), created["QueueUrl"], name, rounds))
            for process, name in zip(processes, names, strict=True)
        )
    )
    cloud.faults.active = False
    while cloud.sqs.messages("requests.fifo"):  # noqa: ASYNC110
        await asyncio.sleep(1)
    return cloud


def trace(seed: int, faults: Faults | None = None) -> list[str]:
    """Everything that happened in a run: faults, calls, and what is in the table at the end."""
    cloud = run(seed, busy(faults if faults is not None else Faults.all(seed)), limit=10_000)
    return [
        *map(str, cloud.faults.trace),
        *map(str, cloud.network.history),
        *(repr(sorted(item.items())) for item in cloud.dynamodb.items(TABLE)),
    ]


def digest(seed: int) -> str:
    return hashlib.sha256("\n".join(trace(seed)).encode()).hexdigest()
