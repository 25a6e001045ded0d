"""Lambda handler that tells many clients one thing, so that commands need not wait for it."""

from faaskeeper.functions.notifier import notify
from faaskeeper.functions.runtime import LambdaContext, LambdaEvent, aws, run
from quota.parts import quota


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    run(notify(aws(), quota(), event["message"], event["gateways"]))
