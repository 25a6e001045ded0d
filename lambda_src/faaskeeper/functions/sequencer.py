"""Lambda handler of the sequencer, invoked by the requests queue with up to ten messages of the one group."""

from __future__ import annotations

import json
import logging
import os
from functools import cache

from faaskeeper.functions.batch import Entry
from faaskeeper.functions.metrics import Metrics
from faaskeeper.functions.runtime import LambdaContext, LambdaEvent, aws, milliseconds, run, service
from faaskeeper.functions.sequencing import Sequencer, Unfinished
from faaskeeper.protocol.messages import InvalidMessage, OtherVersion, decode_requests, encode_refusal
from faaskeeper.protocol.service import Service
from faaskeeper.storage.aws import Aws
from faaskeeper.storage.errors import AwsError, NotFound
from faaskeeper.storage.ledger import Position
from faaskeeper.storage.queues import check_out, send_reply

logger = logging.getLogger(__name__)

_MARGIN = 2.0
"""Seconds before the function's timeout at which an attempt ends, so that the failure is handled, not cut off."""
_TIMEOUT = 3.0
"""Seconds for which an answer of AWS is waited for: all writes wait with it, and there is time to try again."""
_LONGEST_BACKOFF = 4
_MOST_EVIDENCE = 80_000
"""Characters of a quarantined message that are kept: escaped, each may take six bytes of the 1 MiB of a message."""


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    seconds = context.get_remaining_time_in_millis() / 1000 - _MARGIN
    run(process_records(aws(_TIMEOUT), service(), _sequencer(), event["Records"], seconds))


@cache
def _sequencer() -> Sequencer:
    return Sequencer(aws(_TIMEOUT), service(), milliseconds, os.environ.get("NOTIFIER_FUNCTION") or None)


async def process_records(
    aws: Aws, service: Service, sequencer: Sequencer, records: list[LambdaEvent], seconds: float
) -> None:
    """Sequences the messages of one SQS batch. Raises when they must come again, which then happens soon: with one
    message group, all writes wait for as long as these messages stay invisible."""
    try:
        entries: list[Entry] = []
        for record in records:
            entries.extend(await _entries(aws, service, sequencer.metrics, record))
        await sequencer.process(entries, seconds)
    except Unfinished:
        await _make_visible(aws, service, records, 0)
        raise
    except Exception:
        # at once at first, later after a few seconds
        received = max(int(record["attributes"].get("ApproximateReceiveCount", 1)) for record in records)
        await _make_visible(aws, service, records, min(_LONGEST_BACKOFF, received - 1))
        raise
    finally:
        now = milliseconds()
        oldest = min(int(record["attributes"]["SentTimestamp"]) for record in records)
        sequencer.metrics.add("Messages", len(records))
        sequencer.metrics.add("QueueAge", max(0, now - oldest))
        sequencer.metrics.emit(service.name, now)


async def _entries(aws: Aws, service: Service, metrics: Metrics, record: LambdaEvent) -> list[Entry]:
    attributes = record["attributes"]
    sequence_number = int(attributes["SequenceNumber"])
    try:
        message = decode_requests(await check_out(aws, service, record["body"]))
    except OtherVersion as error:
        metrics.add("Refused")
        await _refuse(aws, service, record, error)
        return []
    except (InvalidMessage, NotFound) as error:
        metrics.add("Quarantined")
        await _quarantine(aws, service, record, str(error))
        return []
    trusted = is_trusted(attributes.get("SenderId", ""))
    return [
        Entry(Position(sequence_number, index), message.gateway, request, int(attributes["SentTimestamp"]), trusted)
        for index, request in enumerate(message.requests)
    ]


def is_trusted(sender: str) -> bool:
    """Whether SQS names as sender one of the roles in TRUSTED_SENDERS (ids, by comma), or the account itself.

    A SenderId is AROA...:SESSION for a role, AIDA... for a user, and the account's 12 digits for its root user.
    """
    trusted = os.environ.get("TRUSTED_SENDERS", "").split(",")
    return bool(sender) and (sender.partition(":")[0] in trusted or sender.isdigit())


async def _refuse(aws: Aws, service: Service, record: LambdaEvent, error: OtherVersion) -> None:
    """Tells the gateway, which then stops; what the service's own functions ask for, they ask for again."""
    logger.error("message %s of gateway %r is refused: %s", record["messageId"], error.gateway, error)
    if error.gateway:
        try:
            await send_reply(aws, service, error.gateway, encode_refusal(str(error)))
        except NotFound:
            logger.info("gateway %s is gone", error.gateway)


async def _quarantine(aws: Aws, service: Service, record: LambdaEvent, reason: str) -> None:
    """Puts a message that nobody can have meant aside, so that it does not block the queue. The alarm on the dead
    letters tells the operator."""
    logger.error("message %s is no request: %s", record["messageId"], reason)
    await aws.call(
        "sqs",
        "send_message",
        QueueUrl=service.dead_letters,
        MessageBody=json.dumps(
            {"reason": reason[:_MOST_EVIDENCE], "sent": record["attributes"], "body": record["body"][:_MOST_EVIDENCE]}
        ),
    )


async def _make_visible(aws: Aws, service: Service, records: list[LambdaEvent], seconds: int) -> None:
    try:
        await aws.call(
            "sqs",
            "change_message_visibility_batch",
            QueueUrl=service.requests,
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
