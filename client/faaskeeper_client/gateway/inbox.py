"""Receives replies and hints from the sequencer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faaskeeper.blocks.aws import MAX_OBJECT_BYTES, Aws
from faaskeeper.blocks.errors import AwsError, NotFound
from faaskeeper.blocks.queues import YOUNG_SECONDS, check_out, reply_queue_name
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.messages import ReplyMessage, decode_reply
from faaskeeper.protocol.service import Service
from faaskeeper_client.gateway.tasks import Tasks

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LONG_POLL = 20
"""Seconds; the most that SQS waits."""
_VISIBILITY = 2
"""Seconds for which messages stay away whose receipt was not answered. Those that are at work may come again."""
_RETENTION = 14 * 24 * 3600
"""Seconds; the most that SQS keeps a message. An attachment whose reply is lost makes a session that nobody knows."""
_PAUSE_AFTER_ERROR = 1.0
_PAUSE_WHILE_YOUNG = 0.25
"""Seconds between looks for a new queue that SQS does not find."""


class Inbox:
    """The gateway's reply queue, a standard one: messages may come twice or in another order, which ``handle``,
    called with those received together in zxid order, must bear."""

    def __init__(
        self, aws: Aws, service: Service, gateway_id: str, handle: Callable[[ReplyMessage], Awaitable[None]]
    ) -> None:
        self._aws = aws
        self._service = service
        self._name = reply_queue_name(service, gateway_id)
        self._handle = handle
        self._url = ""
        self._young_until = 0.0
        self._deleting = Tasks()

    async def open(self) -> None:
        """Creates the queue. Raises AwsError."""
        attributes = {
            "ReceiveMessageWaitTimeSeconds": str(_LONG_POLL),
            "VisibilityTimeout": str(_VISIBILITY),
            "MessageRetentionPeriod": str(_RETENTION),
        }
        if self._service.encryption_key:
            attributes["KmsMasterKeyId"] = self._service.encryption_key
        response = await repeat(
            lambda: self._aws.call("sqs", "create_queue", QueueName=self._name, Attributes=attributes)
        )
        self._url = response["QueueUrl"]
        self._young_until = asyncio.get_running_loop().time() + YOUNG_SECONDS

    async def run(self) -> None:
        """Receives until cancelled. Raises NotFound when the queue is gone; that, InvalidMessage or
        IncompatibleVersion when a reply cannot be read: it may have attached sessions, so the gateway must not live on
        as if it had not."""
        while True:
            try:
                response = await self._aws.call(
                    "sqs",
                    "receive_message",
                    QueueUrl=self._url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=_LONG_POLL,
                )
            except NotFound:
                if asyncio.get_running_loop().time() >= self._young_until:
                    raise
                await asyncio.sleep(_PAUSE_WHILE_YOUNG)
                continue
            except AwsError as error:
                logger.warning("replies cannot be received: %s", error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR)
                continue
            received = response.get("Messages", [])
            if received:
                self._delete(received)
                for message in sorted(await self._decoded(received), key=lambda message: message.zxid):
                    await _surely(lambda message=message: self._handle(message))

    async def close(self) -> None:
        """Deletes the queue."""
        try:
            await self._aws.call("sqs", "delete_queue", QueueUrl=self._url)
        except AwsError as error:
            logger.info("reply queue %s stays for the janitor: %s", self._name, error)

    async def _decoded(self, received: list[dict[str, Any]]) -> list[ReplyMessage]:
        return [decode_reply(await _surely(lambda body=message["Body"]: self._check_out(body))) for message in received]

    async def _check_out(self, body: str) -> str:
        # nobody but the service's own functions may send replies, and a listing may be large
        return await check_out(self._aws, self._service, body, MAX_OBJECT_BYTES)

    def _delete(self, received: list[dict[str, Any]]) -> None:
        """Beside the handling: a message that comes again does no harm, and a gateway that dies needs none."""

        async def delete() -> None:
            try:
                await self._aws.call(
                    "sqs",
                    "delete_message_batch",
                    QueueUrl=self._url,
                    Entries=[
                        {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                        for index, message in enumerate(received)
                    ],
                )
            except AwsError as error:
                logger.info("replies will come again: %s", error)

        self._deleting.spawn(delete())


async def _surely(work: Callable[[], Awaitable[T]]) -> T:
    """Until storage can be reached: what was received is told nowhere else, and what follows must not overtake it.
    Raises NotFound."""
    while True:
        try:
            return await work()
        except NotFound:
            raise
        except AwsError as error:
            logger.warning("replies have to wait: %s", error)
            await asyncio.sleep(_PAUSE_AFTER_ERROR)
