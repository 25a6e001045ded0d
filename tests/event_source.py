"""Lambda's event source mapping, step by step: receive from a queue, hand over, delete.

A test takes the steps itself where it decides when an instance dies or a message comes back; ``run`` takes them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.invocation import Stalled

Record = dict[str, Any]
Function = Callable[[list[Record]], Awaitable[Sequence[Record] | None]]
"""Returns what Lambda calls batchItemFailures, or nothing if it handled all."""


class EventSource:
    def __init__(self, aws: Aws, url: str) -> None:
        self._aws = aws
        self._url = url

    async def receive(self, most: int = 10, wait: int = 0) -> list[Record]:
        """What Lambda would hand over: nothing else of a FIFO queue's group comes until these are deleted or back.
        ``wait`` is in seconds."""
        response = await self._aws.call(
            "sqs",
            "receive_message",
            QueueUrl=self._url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
        )
        return [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
            }
            for message in response.get("Messages", [])
        ]

    async def bring_back(self, records: Sequence[Record]) -> None:
        """Their visibility timeout ends."""
        for record in records:
            await self._aws.call(
                "sqs",
                "change_message_visibility",
                QueueUrl=self._url,
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=0,
            )

    async def delete(self, records: Sequence[Record]) -> None:
        for record in records:
            await self._aws.call("sqs", "delete_message", QueueUrl=self._url, ReceiptHandle=record["receiptHandle"])

    async def run(self, function: Function, *, gate: asyncio.Event | None = None) -> None:
        """Until cancelled. While ``gate`` is clear, nothing is received. What an invocation fails with is left in the
        queue: the function has made it visible again."""
        while True:
            if gate is not None:
                await gate.wait()
            records = await self.receive(wait=1)
            if not records:
                continue
            try:
                failures = await function(records)
            except (AwsError, Stalled):
                continue
            failed = {failure["itemIdentifier"] for failure in failures or ()}
            await self.delete([record for record in records if record["messageId"] not in failed])
