"""Lambda handler that tells many clients one thing, so that commands need not wait for it."""

from faaskeeper.blocks.fan_out import notify
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, aws, run
from quota.parts import quota


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    run(notify(aws(), quota(), event["message"], event["gateways"]))
