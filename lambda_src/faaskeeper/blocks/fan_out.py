"""One message to many reply queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import NotFound
from faaskeeper.blocks.parts import Parts
from faaskeeper.blocks.queues import YOUNG_SECONDS, list_receivers, send_reply

logger = logging.getLogger(__name__)

EVERYBODY = "*"
"""Among receivers: every client that has a reply queue."""


async def notify(
    aws: Aws, service: Parts, message: str, receivers: Collection[str], told: Collection[str] = ()
) -> None:
    """Sends ``message`` to the reply queue of each of ``receivers``; with EVERYBODY among them, to all there are but
    those that were ``told`` already.

    A hint sent twice is harmless, so a failure is left to Lambda's retries of the whole.
    """
    sent_to = set(receivers) - {EVERYBODY}
    if EVERYBODY in receivers:
        sent_to |= await list_receivers(aws, service) - frozenset(told)
    await asyncio.gather(*(_send(aws, service, receiver, message) for receiver in sorted(sent_to)))


async def reply_to_young(aws: Aws, service: Parts, replies: Iterable[tuple[str, str]]) -> None:
    """Sends each receiver its message, for as long as SQS may not know its queue yet."""
    await asyncio.gather(*(_send(aws, service, *reply, patience=YOUNG_SECONDS) for reply in replies))


async def _send(aws: Aws, service: Parts, receiver: str, message: str, *, patience: float = 0.0) -> None:
    try:
        await send_reply(aws, service, receiver, message, patience=patience)
    except NotFound:
        logger.info("the queue of %s is gone", receiver)
