"""Lambda handler of the notifier: sends what writes need not wait for. That is one hint to many gateways, or replies to
gateways whose queues SQS does not know yet."""

from __future__ import annotations

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.fan_out import notify, reply_to_young
from faaskeeper.blocks.parts import Parts
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, at_start, aws, run
from faaskeeper.functions.environment import service


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    run(send(aws(), service(), event))


async def send(aws: Aws, service: Parts, event: LambdaEvent) -> None:
    """``event`` has ``replies``, pairs of a gateway and a message, or a ``message``, ``gateways`` and ``told`` as
    ``notify`` takes them."""
    if "replies" in event:
        await reply_to_young(aws, service, event["replies"])
    else:
        await notify(aws, service, event["message"], event["gateways"], event.get("told", ()))


at_start(aws)
at_start(service)
