"""Somebody with the permissions of a client who knows session ids but no passwords, and tries everything."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.queues import REQUEST_GROUP
from faaskeeper.protocol.messages import Principal, Request, RequestMessage, encode_requests
from faaskeeper.protocol.service import Service
from faaskeeper.znode.operations import (
    AttachSession,
    CloseSession,
    Delete,
    DeleteContainer,
    ExpireSession,
    Operation,
    SetData,
)
from faaskeeper_simulator.cloud import Cloud
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.workloads.base import create

_MEAN_INTERVAL = 1.0
_MAX_EPOCH = 4


class Forger:
    """What it sends must change nothing: the checker finds out by the order of the queue."""

    def __init__(self, cloud: Cloud, service: Service, clients: Sequence[Client], root: str) -> None:
        self._cloud = cloud
        self._service = service
        self._clients = clients
        self._root = root
        self._aws = cloud.client("forger")
        self._chance: random.Random = cloud.loop.stream("forger")
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / _MEAN_INTERVAL))
            victim = self._chance.choice(self._clients)
            if victim.session:
                try:
                    await self._send(victim.session, self._operation(victim))
                except AwsError:
                    continue

    def _operation(self, victim: Client) -> Operation:
        path = f"{self._root}/{self._chance.randrange(3)}"
        epoch = self._chance.randint(1, _MAX_EPOCH)
        choices: Sequence[Operation] = (
            SetData(path, b"forged"),
            Delete(path),
            create(f"{path}/forged", flags=1),
            AttachSession(20_000),
            CloseSession(),
            ExpireSession(epoch),
            DeleteContainer(path, 1, 1, 1),
        )
        return self._chance.choice(choices)

    async def _send(self, session: int, operation: Operation) -> None:
        number = next(self._numbers)
        password = self._chance.choice((b"", bytes(16), b"guess"))
        principal = Principal(session, self._chance.randint(0, _MAX_EPOCH), password)
        body = encode_requests(RequestMessage("forger", (Request(principal, number, operation),)))
        await self._aws.call(
            "sqs",
            "send_message",
            QueueUrl=self._service.requests,
            MessageBody=body,
            MessageGroupId=REQUEST_GROUP,
            MessageDeduplicationId=f"forger-{number}",
        )
