"""Event source mappings: Lambda's pollers, from an SQS queue to a function, with partial batch responses."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from faaskeeper.blocks.errors import AwsError, Throttled

from . import latency
from .faults import FaultKind, Faults
from .lambda_ import FunctionFailed, Lambda
from .loop import SimulationLoop
from .queues import FifoQueue, Message, Queue
from .sqs import Sqs, Wait, system_attributes


@dataclass(slots=True)
class Mapping:
    """``start`` sets the pollers to work; they never end. The queue's visibility timeout must not be below the
    function's timeout, as AWS demands."""

    loop: SimulationLoop
    faults: Faults
    sqs: Sqs
    functions: Lambda
    queue: Queue
    function: str
    batch_size: int = 10
    pollers: int = 5
    reports_failures: bool = True
    batches: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    """Message ids of every batch that was handed to the function, for assertions."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def start(self) -> None:
        """Raises ValueError for settings that AWS refuses."""
        timeout = self.functions.function(self.function).timeout
        if self.queue.settings.visibility_timeout < timeout:
            raise ValueError(
                f"visibility timeout {self.queue.settings.visibility_timeout} of {self.queue.name} is below the "
                f"timeout {timeout} of {self.function}"
            )
        if not 1 <= self.batch_size <= 10:
            raise ValueError(f"batch size {self.batch_size} is not in 1 to 10")
        self._tasks = [self.loop.create_task(self._poll()) for _ in range(self.pollers)]

    async def _poll(self) -> None:
        fifo = isinstance(self.queue, FifoQueue)
        delivery = latency.FIFO_DELIVERY if fifo else latency.STANDARD_DELIVERY
        while True:
            arrived: asyncio.Future[list[Message]] = self.loop.create_future()
            self.sqs.wait(Wait(self.queue, self.batch_size, self.queue.settings.visibility_timeout, arrived.set_result))
            messages = await arrived
            if not messages:
                return  # the queue was deleted
            receipts = [message.receipt for message in messages]
            await asyncio.sleep(delivery.at(self.functions.chance.random()))
            if not self.faults.happens(FaultKind.LOST_POLL, self.queue.name):
                await self._handle(messages, receipts)

    async def _handle(self, messages: list[Message], receipts: list[str]) -> None:
        records = [_record(self.queue, message, receipt) for message, receipt in zip(messages, receipts, strict=True)]
        self.batches.append(tuple(message.id for message in messages))
        early = self.faults.strike(FaultKind.EARLY_REDELIVERY, self.queue.name)
        if early is not None:
            self.loop.call_later(early.seconds, self._release, receipts)
        try:
            result = await self.functions.invoke(self.function, {"Records": records})
        except (FunctionFailed, Throttled):
            return  # the messages come back when their visibility timeout ends
        failed = self._failed(result, messages)
        if self.faults.happens(FaultKind.LOST_POLL, lambda: f"{self.queue.name}, the deletion"):
            return
        await asyncio.sleep(latency.SQS.at(self.functions.chance.random()))
        for message, receipt in zip(messages, receipts, strict=True):
            if message.id not in failed:
                self._delete(receipt)

    def _failed(self, result: Any, messages: list[Message]) -> set[str]:
        """Ids to keep (Lambda developer guide, "Reporting batch item failures"): a malformed report keeps all."""
        everything = {message.id for message in messages}
        if not self.reports_failures or not isinstance(result, dict):
            return set()
        failures: Any = result.get("batchItemFailures")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if not failures:
            return set()
        if not isinstance(failures, list):
            return everything
        identifiers: list[Any] = [
            entry.get("itemIdentifier") if isinstance(entry, dict) else None  # pyright: ignore
            for entry in failures  # pyright: ignore[reportUnknownVariableType]
        ]
        return set(identifiers) if everything.issuperset(identifiers) else everything

    def _delete(self, receipt: str) -> None:
        with contextlib.suppress(AwsError):  # received again meanwhile: the later delivery decides
            self.sqs.delete("delete_message", self.queue, receipt)

    def _release(self, receipts: list[str]) -> None:
        for receipt in receipts:
            with contextlib.suppress(AwsError):  # done, or received again, meanwhile
                self.sqs.change_visibility("change_message_visibility", self.queue, receipt, 0.0)


def _record(queue: Queue, message: Message, receipt: str) -> dict[str, Any]:
    return {
        "messageId": message.id,
        "receiptHandle": receipt,
        "body": message.body,
        "attributes": system_attributes(message),
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
        "awsRegion": "us-east-1",
    }
