"""Lambda handler of the sequencer, invoked by the requests queue with up to ten messages of the one group."""

from __future__ import annotations

import logging
import os
from functools import cache

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.committer import Committer
from faaskeeper.blocks.delivery import deliver
from faaskeeper.blocks.errors import NotFound
from faaskeeper.blocks.queues import send_reply
from faaskeeper.blocks.runtime import KEEP_WARM, LambdaContext, LambdaEvent, at_start, aws, milliseconds, run
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.environment import service
from faaskeeper.functions.sequencer.batch import Batch, Entry
from faaskeeper.functions.sequencer.sequencer import sequencer_committer
from faaskeeper.protocol.messages import OtherVersion, decode_requests, encode_refusal
from faaskeeper.protocol.service import Service
from faaskeeper.storage.ledger import Head

logger = logging.getLogger(__name__)

MARGIN_SECONDS = 2.0
"""Seconds before the function's timeout at which an attempt ends, so that the failure is handled, not cut off."""
_TIMEOUT_SECONDS = 3.0
"""Seconds for which an answer of AWS is waited for: all writes wait with it, and there is time to try again."""


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    if event == KEEP_WARM:
        return
    seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    run(process_records(aws(_TIMEOUT_SECONDS), service(), _committer(), event["Records"], seconds))


@cache
def _committer() -> Committer[Entry, Head, Batch]:
    return sequencer_committer(
        aws(_TIMEOUT_SECONDS), service(), milliseconds, os.environ.get("NOTIFIER_FUNCTION") or None
    )


at_start(_committer)


async def process_records(
    aws: Aws, service: Service, committer: Committer[Entry, Head, Batch], records: list[LambdaEvent], seconds: float
) -> None:
    """Sequences the messages of one SQS batch. Raises when they must come again."""

    async def decode(record: LambdaEvent, body: str) -> list[Entry]:
        try:
            return _entries(record, body)
        except OtherVersion as error:
            committer.metrics.add("Refused")
            await _refuse(aws, service, record, error)
            return []

    await deliver(aws, service, committer, decode, records, seconds)


def _entries(record: LambdaEvent, body: str) -> list[Entry]:
    attributes = record["attributes"]
    sequence_number = int(attributes["SequenceNumber"])
    message = decode_requests(body)
    trusted = is_trusted(attributes.get("SenderId", ""))
    return [
        Entry(Position(sequence_number, index), message.gateway, request, int(attributes["SentTimestamp"]), trusted)
        for index, request in enumerate(message.requests)
    ]


def is_trusted(sender: str) -> bool:
    """Whether SQS names as sender one of the roles in TRUSTED_SENDERS (ids, by comma), or the account itself.

    A SenderId is AROA...:SESSION for a role, AIDA... for a user, and the account's 12 digits for its root user, who
    may change this function as well. The embedded cloud knows no other sender than the account.
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
