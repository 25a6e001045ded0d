"""The other side: commands, their answers through a queue of one's own, and leases that last while one beats."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import read_blob
from faaskeeper.blocks.primitives.lock import boot_time
from faaskeeper.blocks.queues import check_out, reply_queue_name, send_request, send_timer
from quota.parts import Quota
from quota.rules import OK


class Refused(Exception):
    """The service said no; the message is its reason."""


class LeaseLost(Exception):
    """The client stood still for too long: others may use the units."""


class Client:
    """One of a service's clients; a context manager. One command at a time. Not answered within 30 s, a command may
    have been applied or may yet be (TimeoutError)."""

    def __init__(self, aws: Aws, quota: Quota) -> None:
        self.aws = aws
        self.quota = quota
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed: list[str] = []

    async def __aenter__(self) -> Self:
        self.id = str(*await self.quota.clients(self.aws).take())
        response = await self.aws.call("sqs", "create_queue", QueueName=reply_queue_name(self.quota, self.id))
        self._replies = response["QueueUrl"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aws.call("sqs", "delete_queue", QueueUrl=self._replies)

    async def limit(self, tenant: str, units: int) -> None:
        await self.do("limit", tenant, units=units)

    async def transfer(self, tenant: str, to: str, units: int) -> None:
        """Moves a part of one tenant's limit to another's, both or neither. Raises Refused if it is in use."""
        await self.do("transfer", tenant, to=to, units=units)

    async def report(self, tenant: str) -> dict[str, Any]:
        """The limit and all leases, as they were between two commands."""
        outcome = await self.do("report", tenant)
        return json.loads(await read_blob(self.aws, self.quota, outcome["report"]))

    async def acquire(self, tenant: str, units: int, seconds: float) -> Lease:
        """Raises Refused. It beats, and has its timer, before the service hears of it."""
        lease = Lease(self, tenant, uuid4().hex, seconds)
        await lease.renew()
        await send_timer(self.aws, self.quota, json.dumps([tenant, lease.id, 1, 0]), seconds)
        await self.do("acquire", tenant, lease=lease.id, units=units)
        return lease

    async def watch(self, tenant: str) -> None:
        """From now on ``changed`` tells when the tenant's limit changes. One write unit."""
        await self.quota.watchers(self.aws, tenant).add(self.id, most=1000)

    async def changed(self) -> str:
        """The next tenant whose limit changed."""
        while not self._changed:
            await self._receive()
        return self._changed.pop(0)

    async def do(self, what: str, tenant: str, **fields: Any) -> dict[str, Any]:
        """Any command; its outcome. Raises Refused."""
        self._number += 1
        command = {"client": self.id, "number": self._number, "do": what, "tenant": tenant, **fields}
        async with asyncio.timeout(30):
            await send_request(self.aws, self.quota, json.dumps(command), uuid4().hex, seconds=20)
            while self._number not in self._answers:
                await self._receive()
        outcome = self._answers.pop(self._number)
        if outcome["result"] != OK:
            raise Refused(outcome["result"])
        return outcome

    async def _receive(self) -> None:
        received = await self.aws.call("sqs", "receive_message", QueueUrl=self._replies, WaitTimeSeconds=1)
        for message in received.get("Messages", []):
            told = json.loads(await check_out(self.aws, self.quota, message["Body"]))
            # answers come again when the service is not sure that they came
            self._answers |= {number: outcome for number, outcome in told.get("answers", ()) if number == self._number}
            self._changed += [told["changed"]] if "changed" in told else []
            await self.aws.call("sqs", "delete_message", QueueUrl=self._replies, ReceiptHandle=message["ReceiptHandle"])


class Lease:
    """Units of a tenant's limit, for ``seconds`` from the last renewal. Measured here from before the renewal was
    sent, and there from after: so here it is over first."""

    def __init__(self, client: Client, tenant: str, id: str, seconds: float) -> None:
        self.id = id
        self._client = client
        self._tenant = tenant
        self._seconds = seconds
        self._heartbeat = client.quota.heartbeat(client.aws, id)
        self._beat = 0
        self._until = 0.0

    def remaining(self) -> float:
        """Seconds for which the units are surely this client's."""
        return self._until - boot_time()

    async def renew(self) -> None:
        """One write unit. Raises LeaseLost."""
        began = boot_time()
        self._beat += 1
        if await self._heartbeat.beat(self._beat, int(self._seconds * 1000)) is None:
            raise LeaseLost(self.id)
        self._until = began + self._seconds

    async def release(self) -> None:
        self._until = 0.0
        await self._client.do("release", self._tenant, lease=self.id)
