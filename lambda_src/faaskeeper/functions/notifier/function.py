"""Lambda handler of the notifier: sends one hint to many gateways, so that writes need not wait for it."""

from __future__ import annotations

from faaskeeper.blocks.fan_out import notify
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, aws, run
from faaskeeper.functions.environment import service


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    run(notify(aws(), service(), event["message"], event["gateways"], event.get("told", ())))
