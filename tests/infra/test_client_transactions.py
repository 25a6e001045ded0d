"""A client that keeps a znode's item, or a gateway's, in transactions of its own, on the simulated cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from faaskeeper.blocks.errors import AccessDenied, TransactionCancelled
from faaskeeper.blocks.queues import send_request
from faaskeeper.protocol.messages import Principal, Request, RequestMessage, encode_requests
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import Key, gateway_key, node_key
from faaskeeper.storage.ledger import read_head
from faaskeeper.storage.sessions import beat
from faaskeeper.znode.model import OPEN_ACL
from faaskeeper.znode.operations import AttachSession, Create, CreateSession, Operation, SetData
from faaskeeper_simulator.cloud import Cloud, run
from faaskeeper_simulator.harness.deployment import Deployment

from .granted import Granted
from .reading import Statement, statements

LOOPS = 24
SECONDS = 10.0
"""Virtual ones, for which the client goes on."""
WRITES = 10
PASSWORD = b"secret"
HELD: dict[str, tuple[Key, str, Operation]] = {
    "znode": (node_key("/x"), "watch_data", SetData("/x", b"1")),
    "gateway": (gateway_key("g"), "beat", AttachSession(600_000)),
}
"""The item and the attribute that the client updates, and the operation of others that needs the item."""


def of_a_client(template: dict[str, Any], *, also_in_transactions: bool) -> list[Statement]:
    found = [statement for statement in statements(template) if statement.role.startswith("Client")]
    if not also_in_transactions:
        return found
    return [
        replace(
            statement,
            conditions={
                operator: {key: value for key, value in keys.items() if key != "dynamodb:EnclosingOperation"}
                for operator, keys in statement.conditions.items()
            },
        )
        for statement in found
    ]


async def transactions_of_others(held: str, allowed: list[Statement]) -> int:
    """How many go through while the client does what it can."""
    cloud = Cloud()
    deployment = Deployment(cloud, lambda number: "client-1")
    await deployment.create()
    service = deployment.service
    key, attribute, operation = HELD[held]
    await cloud.admin.call("sqs", "create_queue", QueueName=f"{service.reply_prefix}g")
    assert await beat(cloud.admin, service, "g", 1, 600_000)
    await _send(cloud, service, 1, 0, CreateSession(sha256(PASSWORD).digest(), 600_000))
    await _send(cloud, service, 2, 1, Create("/x", b"", OPEN_ACL, 0, None))
    await asyncio.sleep(5)
    before = await read_head(cloud.admin, service)
    assert before is not None

    granted = Granted(cloud.client("client-2"), service, allowed)
    update = {
        "TableName": key.table_name(service),
        "Key": key.attributes,
        "UpdateExpression": "SET #attribute = :value",
        "ExpressionAttributeNames": {"#attribute": attribute},
        "ExpressionAttributeValues": {":value": {"N": "1"}},
    }

    async def repeat() -> None:
        while True:
            try:
                await granted.call("dynamodb", "transact_write_items", TransactItems=[{"Update": update}])
            except AccessDenied:
                return  # it is so for good
            except TransactionCancelled:
                continue

    repeating = [asyncio.ensure_future(repeat()) for _ in range(LOOPS)]
    for number in range(WRITES):
        await _send(cloud, service, 3 + number, 1 + number * (held == "gateway"), operation)
        await asyncio.sleep(SECONDS / WRITES)
    for task in repeating:
        task.cancel()
    head = await read_head(cloud.admin, service)
    assert head is not None
    return head.zxid - before.zxid


async def _send(cloud: Cloud, service: Service, number: int, epoch: int, operation: Operation) -> None:
    body = encode_requests(RequestMessage("g", (Request(Principal(7, epoch, PASSWORD), number, operation),)))
    await send_request(cloud.client("client-1"), service, body, f"n{number}", seconds=10, clock=cloud.loop.time)


@pytest.mark.parametrize("held", HELD)
def test_a_client_cannot_stop_the_writes_of_others(template: Callable[[str], dict[str, Any]], held: str) -> None:
    allowed = of_a_client(template("development"), also_in_transactions=False)
    assert run(1, transactions_of_others(held, allowed)) == WRITES


@pytest.mark.parametrize("held", HELD)
def test_a_client_that_may_use_transactions_could(template: Callable[[str], dict[str, Any]], held: str) -> None:
    """Guards the test above."""
    allowed = of_a_client(template("development"), also_in_transactions=True)
    assert run(1, transactions_of_others(held, allowed)) < WRITES / 2
