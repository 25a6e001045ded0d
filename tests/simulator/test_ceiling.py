"""A transaction of more than its table admits in a second is refused however often it is tried."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from faaskeeper.blocks.errors import Throttled, TransactionCancelled
from faaskeeper.protocol.messages import Principal
from faaskeeper.storage import commit, journal
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL
from faaskeeper.znode.operations import Create, CreateSession, Delete, Multi, Operation, SetData
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.outbox import ConnectionLost
from faaskeeper_simulator.cloud import Cloud, run
from faaskeeper_simulator.harness.deployment import Deployment

CEILING = 500
"""Write units a second: the lowest of any tier."""
COUNT = 60
LARGE = b"x" * 20_000


class TestTheSimulatedTable:
    def test_a_transaction_is_admitted_whole_or_never(self) -> None:
        async def main() -> list[str]:
            cloud = Cloud(limits=True)
            cloud.dynamodb.create_table("t", ("pk", "S"))
            cloud.dynamodb.limit("t", max_write_units=100)
            results: list[str] = []
            for kilobytes in (40, 60, 60):
                items = [{"pk": {"S": str(n)}, "v": {"B": bytes(900)}} for n in range(kilobytes)]
                try:
                    writes = [{"Put": {"TableName": "t", "Item": item}} for item in items]
                    await cloud.admin.call("dynamodb", "transact_write_items", TransactItems=writes)
                    results.append("ok")
                except TransactionCancelled as error:
                    results.append(",".join(sorted({reason.code for reason in error.reasons})))
                await asyncio.sleep(1000)
            return [*results, str(len(cloud.dynamodb.items("t")))]

        assert run(1, main()) == ["ok", "None,ThrottlingError", "None,ThrottlingError", "40"]

    @pytest.mark.parametrize(("hosts", "refused"), [(None, 0), (1, 500)])
    def test_keys_share_partitions(self, hosts: int | None, refused: int) -> None:
        async def main() -> int:
            cloud = Cloud(limits=True)
            cloud.dynamodb.create_table("t", ("pk", "S"))
            cloud.dynamodb.limit("t", hosts=hosts)
            throttled = 0
            for number in range(1500):
                try:
                    await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": str(number)}})
                except Throttled:
                    throttled += 1
            return throttled

        assert run(1, main()) == pytest.approx(refused, abs=1)


async def outcomes(seed: int, *operations: Operation) -> list[Code]:
    """What comes of these operations of one session, each made after the one before was answered."""
    cloud = Cloud(limits=True)
    deployment = Deployment(cloud, lambda number: "gateway")
    deployment.service = replace(deployment.service, inline_limit=1024, blob_limit=32_768)
    await deployment.create()
    for table in ("znodes", "sessions", "ledger"):
        cloud.dynamodb.limit(table, max_write_units=CEILING, max_read_units=2 * CEILING, hosts=4)
    process = cloud.process("gateway")
    gateway = Gateway(cloud.client(process), deployment.service, clock=cloud.loop.time, entropy=random.Random(seed))

    async def work() -> list[Code]:
        await gateway.start()
        attaching = CreateSession(sha256(b"").digest(), 10_000)
        created = await gateway.life.outbox.submit(Principal(7, 0, b""), attaching)
        assert created.session is not None
        principal = Principal(7, created.session[1], b"")
        return [(await gateway.life.outbox.submit(principal, each)).code for each in operations]

    return await process.start(work())


def many(make: Callable[[str], Any]) -> Multi:
    return Multi(tuple(make(f"/n{number}") for number in range(COUNT)))


OPERATIONS = (
    many(lambda path: Create(path, LARGE, OPEN_ACL)),
    Create("/after", b"", OPEN_ACL),
    many(lambda path: SetData(path, b"small")),  # what is overwritten counts, too
    many(lambda path: SetData(path, LARGE)),
    many(Delete),
    Create("/after-all", b"", OPEN_ACL),
)


def test_a_large_multi_goes_in_parts_that_are_admitted() -> None:
    assert run(1, outcomes(1, *OPERATIONS), limit=300) == [Code.OK] * len(OPERATIONS)


def test_without_parts_it_would_stop_all_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the table's ceiling is one that the test before can be stopped by."""
    for module in (commit, journal):
        monkeypatch.setattr(module, "MAX_TRANSACTION_UNITS", 1_000_000)
    with pytest.raises(ConnectionLost):
        run(1, outcomes(1, *OPERATIONS), limit=300)
