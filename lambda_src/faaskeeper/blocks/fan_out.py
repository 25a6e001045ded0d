"""One message to many reply queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import NotFound
from faaskeeper.blocks.parts import Parts
from faaskeeper.blocks.queues import YOUNG_SECONDS, list_gateways, send_reply

logger = logging.getLogger(__name__)

EVERYBODY = "*"
"""Among receivers: every client that has a reply queue."""


async def notify(aws: Aws, service: Parts, message: str, gateways: Collection[str], told: Collection[str] = ()) -> None:
    """Sends ``message`` to the reply queue of each of ``gateways``; with EVERYBODY among them, to all there are but
    those that were ``told`` already.

    A hint sent twice is harmless, so a failure is left to Lambda's retries of the whole.
    """
    receivers = set(gateways) - {EVERYBODY}
    if EVERYBODY in gateways:
        receivers |= await list_gateways(aws, service) - frozenset(told)
    await asyncio.gather(*(_send(aws, service, gateway, message) for gateway in sorted(receivers)))


async def reply_to_young(aws: Aws, service: Parts, replies: Iterable[tuple[str, str]]) -> None:
    """Sends each gateway its message, for as long as SQS may not know its queue yet."""
    await asyncio.gather(*(_send(aws, service, *reply, patience=YOUNG_SECONDS) for reply in replies))


async def _send(aws: Aws, service: Parts, gateway: str, message: str, *, patience: float = 0.0) -> None:
    try:
        await send_reply(aws, service, gateway, message, patience=patience)
    except NotFound:
        logger.info("the queue of %s is gone", gateway)
