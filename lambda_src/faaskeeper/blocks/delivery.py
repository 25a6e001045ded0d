"""What queues hand to a function: commands on their way to a committer, and timers that come due. And what becomes of
those that fail."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.committer import Committer, EntryT
from faaskeeper.blocks.errors import AwsError, InvalidMessage, NotFound
from faaskeeper.blocks.invocation import Unfinished
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.parts import Parts
from faaskeeper.blocks.queues import check_out
from faaskeeper.blocks.runtime import LambdaEvent, milliseconds

logger = logging.getLogger(__name__)

_MAX_BACKOFF_SECONDS = 4
_MAX_EVIDENCE_CHARACTERS = 80_000
"""Characters of a quarantined message that are kept: escaped, each may take six bytes of the 1 MiB of a message."""


async def deliver(
    aws: Aws,
    parts: Parts,
    committer: Committer[EntryT, Any, Any],
    decode: Callable[[LambdaEvent, str], Awaitable[Sequence[EntryT]]],
    records: list[LambdaEvent],
    seconds: float,
) -> None:
    """Has the messages of one SQS batch committed. ``decode`` gives the commands of a record and its body, and raises
    InvalidMessage, for which the message is set aside. Raises when they must come again, which then happens soon: with
    one message group, all commands wait for as long as these messages stay invisible."""
    try:
        entries: list[EntryT] = []
        for record in records:
            try:
                entries.extend(await decode(record, await check_out(aws, parts, record["body"])))
            except (InvalidMessage, NotFound) as error:
                await _quarantine(aws, parts, committer.metrics, record, str(error))
        await committer.process(entries, seconds, _deliveries(records[0]))
    except Unfinished:
        await _make_visible(aws, parts, records, 0)
        raise
    except Exception:
        # at once at first, later after a few seconds
        received = max(_deliveries(record) for record in records)
        await _make_visible(aws, parts, records, min(_MAX_BACKOFF_SECONDS, received - 1))
        raise
    finally:
        now = milliseconds()
        oldest = min(int(record["attributes"]["SentTimestamp"]) for record in records)
        committer.metrics.add("Messages", len(records))
        committer.metrics.add("WriteLatency", max(0, now - oldest))
        committer.metrics.emit(parts.name, now)


async def deliver_timers(
    records: list[LambdaEvent], handle: Callable[[str, int], Awaitable[None]], metrics: Metrics
) -> list[LambdaEvent]:
    """Calls ``handle`` for each delayed message, with its body and for how many ms SQS held it, by SQS's clock. Returns
    the messages that failed, as Lambda wants them named: the queue brings them back."""
    failed: list[LambdaEvent] = []
    for record in records:
        try:
            attributes = record["attributes"]
            waited = int(attributes["ApproximateFirstReceiveTimestamp"]) - int(attributes["SentTimestamp"])
            await handle(record["body"], waited)
        except Exception:  # whatever it is, the others are not to come again with it
            logger.exception("timer %s failed", record["messageId"])
            metrics.add("FailedTimers")
            failed.append({"itemIdentifier": record["messageId"]})
    return failed


def _deliveries(record: LambdaEvent) -> int:
    return int(record["attributes"].get("ApproximateReceiveCount", 1))


async def _quarantine(aws: Aws, parts: Parts, metrics: Metrics, record: LambdaEvent, reason: str) -> None:
    """Puts a message that nobody can have meant aside, so that it does not block the queue. The alarm on the dead
    letters tells the operator."""
    metrics.add("Quarantined")
    logger.error("message %s is no request: %s", record["messageId"], reason)
    await aws.call(
        "sqs",
        "send_message",
        QueueUrl=parts.dead_letters,
        MessageBody=json.dumps(
            {
                "reason": reason[:_MAX_EVIDENCE_CHARACTERS],
                "sent": record["attributes"],
                "body": record["body"][:_MAX_EVIDENCE_CHARACTERS],
            }
        ),
    )


async def _make_visible(aws: Aws, parts: Parts, records: list[LambdaEvent], seconds: int) -> None:
    try:
        await aws.call(
            "sqs",
            "change_message_visibility_batch",
            QueueUrl=parts.requests,
            Entries=[
                {
                    "Id": str(index),
                    "ReceiptHandle": record["receiptHandle"],
                    "VisibilityTimeout": seconds,
                }
                for index, record in enumerate(records)
            ],
        )
    except AwsError as error:
        logger.warning("messages stay invisible until their timeout: %s", error)
