"""Sending on SQS: requests in one order, replies to those that asked, timers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import blob_key, read_blob, write_blob
from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.errors import InvalidMessage, NotFound, TooLarge
from faaskeeper.blocks.parts import Parts
from faaskeeper.blocks.retry import repeat

REQUEST_GROUP = "requests"
"""The one message group: SQS gives a total order within it, and so the order of all writes."""
MAX_MESSAGE_BYTES = 900_000
"""Of a message's body; SQS takes 1 MiB."""
_CLAIM = "claim:"
_MAX_CLAIMED_BYTES = 8_000_000
"""Bytes of requests in the bucket: a frame of 1 MiB, of which each byte takes six at most, with the credentials of its
connection. Requests share a message only within MAX_MESSAGE_BYTES."""
YOUNG_SECONDS = 10.0
"""Seconds for which some of SQS's hosts may not know a new queue: "at least one", says CreateQueue's reference, so the
rest is an assumption. Each connection may reach another host."""
_YOUNG_PAUSE = 0.25
MAX_DELAY_SECONDS = 900
"""Seconds; the longest DelaySeconds that SQS takes."""


def reply_queue_name(service: Parts, receiver: str) -> str:
    return f"{service.reply_prefix}{receiver}"


def reply_queue_url(service: Parts, receiver: str) -> str:
    """Queues of one account and region differ only in the name at the end of the URL."""
    return f"{service.requests.rsplit('/', 1)[0]}/{reply_queue_name(service, receiver)}"


async def send_request(
    aws: Aws,
    service: Parts,
    body: str,
    deduplication_id: str,
    *,
    seconds: float,
    clock: Callable[[], float] = boot_time,
) -> int:
    """Sends ``body`` until SQS has it, for at most ``seconds``; returns its SequenceNumber.

    Every try is byte-identical and carries the same deduplication id, so SQS keeps one; ``seconds`` must stay
    well below the five minutes for which SQS remembers it (its deduplication interval), by a ``clock`` that goes on
    while the machine sleeps, as SQS's does.
    """
    fitting = await check_in(aws, service, body)
    response = await repeat(
        lambda: aws.call(
            "sqs",
            "send_message",
            QueueUrl=service.requests,
            MessageBody=fitting,
            MessageGroupId=REQUEST_GROUP,
            MessageDeduplicationId=deduplication_id,
        ),
        seconds=seconds,
        clock=clock,
    )
    return int(response.get("SequenceNumber", 0))


async def send_reply(aws: Aws, service: Parts, receiver: str, body: str, *, patience: float = 0.0) -> None:
    """Raises NotFound if the receiver's queue is gone, or is still not to be found after ``patience`` seconds."""
    url = reply_queue_url(service, receiver)
    fitting = await check_in(aws, service, body)
    now = asyncio.get_running_loop().time
    deadline = now() + patience
    while True:
        try:
            await repeat(lambda: aws.call("sqs", "send_message", QueueUrl=url, MessageBody=fitting))
            return
        except NotFound:
            if now() >= deadline:
                raise
            await asyncio.sleep(_YOUNG_PAUSE)


async def check_in(aws: Aws, service: Parts, body: str, most: int = MAX_MESSAGE_BYTES) -> str:
    """A message of at most ``most`` bytes: a body above goes into the bucket, and its key on the way (claim check)."""
    if len(body) <= most:
        return body
    key = blob_key(service, "messages", uuid4().hex)
    await write_blob(aws, service, key, body.encode())
    return f"{_CLAIM}{key}"


async def check_out(aws: Aws, service: Parts, body: str, most: int = _MAX_CLAIMED_BYTES) -> str:
    """What was sent, of a message's body as it was received. Raises NotFound for a claim nobody keeps any more, and
    InvalidMessage for one that nobody can have made, or of more than ``most`` bytes."""
    if not body.startswith(_CLAIM):
        return body
    key = body.removeprefix(_CLAIM)
    if not re.fullmatch(f"{re.escape(blob_key(service, 'messages', ''))}[0-9a-f]{{32}}", key):
        raise InvalidMessage(f"{key[:200]!r} is no message")
    try:
        content = await read_blob(aws, service, key)
        if len(content) > most:
            raise InvalidMessage(f"{key} has {len(content)} bytes, {most} at most")
        return content.decode()
    except (TooLarge, UnicodeDecodeError) as error:
        raise InvalidMessage(f"{key}: {error}") from error


async def send_timer(aws: Aws, service: Parts, body: str, delay: float) -> None:
    """``delay`` in seconds, rounded up and cut to MAX_DELAY_SECONDS: whoever wants more arms the timer again."""
    seconds = min(MAX_DELAY_SECONDS, max(0, -int(-delay // 1)))
    await repeat(
        lambda: aws.call("sqs", "send_message", QueueUrl=service.timers, MessageBody=body, DelaySeconds=seconds)
    )


async def delete_reply_queue(aws: Aws, service: Parts, receiver: str, created_before: int) -> bool:
    """Deletes the queue if it was created before that many ms since the epoch; whether it was there and did."""
    url = reply_queue_url(service, receiver)
    try:
        response = await repeat(
            lambda: aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["CreatedTimestamp"])
        )
        if int(response["Attributes"]["CreatedTimestamp"]) * 1000 >= created_before:
            return False
        await repeat(lambda: aws.call("sqs", "delete_queue", QueueUrl=url))
    except NotFound:
        return False
    return True


async def list_receivers(aws: Aws, service: Parts) -> set[str]:
    """Ids of those that have a reply queue."""
    receivers: set[str] = set()
    page: dict[str, Any] = {"QueueNamePrefix": service.reply_prefix, "MaxResults": 1000}
    while True:
        response = await _list_queues(aws, page)
        for url in response.get("QueueUrls", []):
            receivers.add(url.rsplit("/", 1)[1].removeprefix(service.reply_prefix))
        if "NextToken" not in response:
            return receivers
        page = {**page, "NextToken": response["NextToken"]}


async def _list_queues(aws: Aws, page: dict[str, Any]) -> dict[str, Any]:
    return await repeat(lambda: aws.call("sqs", "list_queues", **page))
