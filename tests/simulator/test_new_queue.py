"""A reply queue that some of SQS's hosts do not know for seconds after its gateway made it."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest

from faaskeeper.blocks.queues import YOUNG_SECONDS, reply_queue_name
from faaskeeper.protocol.messages import Principal
from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import CreateSession
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_simulator.cloud import Cloud, FaultKind, Faults, run
from faaskeeper_simulator.harness.deployment import Deployment

UNKNOWN_FOR = 6.0


async def attached(seed: int) -> tuple[Code, float, bool]:
    """What a session's creation comes to, how long its outcome takes, and whether the gateway still stands."""
    cloud = Cloud(Faults.only(seed, FaultKind.NEW_QUEUE, rate=1.0))
    cloud.faults.active = False
    deployment = Deployment(cloud, lambda number: "gateway")
    await deployment.create()
    cloud.faults.active = True
    process = cloud.process("gateway")
    gateway = Gateway(cloud.client(process), deployment.service, clock=cloud.loop.time, entropy=random.Random(seed))

    async def work() -> tuple[Code, float, bool]:
        await gateway.start()
        id = gateway.life.id
        cloud.sqs._queues[reply_queue_name(deployment.service, id)].known_from = cloud.loop.time() + UNKNOWN_FOR
        began = cloud.loop.time()
        operation = CreateSession(sha256(b"").digest(), 10_000)
        outcome = await gateway.life.outbox.submit(Principal(7, 0, b""), operation)
        return outcome.code, cloud.loop.time() - began, gateway.life.id == id

    return await process.start(work())


@pytest.mark.parametrize("seed", range(10))
def test_a_reply_waits_for_its_queue_to_be_known(seed: int) -> None:
    code, seconds, stands = run(seed, attached(seed), limit=200)
    assert code is Code.OK
    assert seconds < YOUNG_SECONDS + 2
    assert stands
