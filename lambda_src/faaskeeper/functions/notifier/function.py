"""Lambda handler of the notifier: sends what writes need not wait for. That is one hint to many gateways, or replies to
gateways whose queues SQS does not know yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import NotFound
from faaskeeper.blocks.queues import YOUNG_SECONDS, list_gateways, send_reply
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, aws, run, service
from faaskeeper.protocol.service import Parts
from faaskeeper.storage.znodes import EVERYBODY

logger = logging.getLogger(__name__)


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    run(send(aws(), service(), event))


async def send(aws: Aws, service: Parts, event: LambdaEvent) -> None:
    """``event`` has ``replies``, pairs of a gateway and a message, or a ``message``, ``gateways`` and ``told`` as
    ``notify`` takes them."""
    if "replies" in event:
        await asyncio.gather(*(_send(aws, service, *reply, patience=YOUNG_SECONDS) for reply in event["replies"]))
    else:
        await notify(aws, service, event["message"], event["gateways"], event.get("told", ()))


async def notify(aws: Aws, service: Parts, message: str, gateways: Collection[str], told: Collection[str] = ()) -> None:
    """Sends ``message`` to the reply queue of each of ``gateways``; with EVERYBODY among them, to all there are but
    those that were ``told`` already.

    A hint sent twice is harmless, so a failure is left to Lambda's retries of the whole.
    """
    receivers = set(gateways) - {EVERYBODY}
    if EVERYBODY in gateways:
        receivers |= await list_gateways(aws, service) - frozenset(told)
    await asyncio.gather(*(_send(aws, service, gateway, message) for gateway in sorted(receivers)))


async def _send(aws: Aws, service: Parts, gateway: str, message: str, *, patience: float = 0.0) -> None:
    try:
        await send_reply(aws, service, gateway, message, patience=patience)
    except NotFound:
        logger.info("gateway %s is gone", gateway)
