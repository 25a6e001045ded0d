"""Lambda handler of delayed messages: gives back the leases of those who stopped beating."""

from __future__ import annotations

import json

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.delivery import deliver_timers
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.queues import send_request, send_timer
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, aws, milliseconds, run
from quota.parts import Quota, quota


def handler(event: LambdaEvent, context: LambdaContext) -> LambdaEvent:
    metrics = Metrics()

    async def look(body: str, waited: int) -> None:
        await check_timer(aws(), quota(), body, waited)

    failed = run(deliver_timers(event["Records"], look, metrics))
    metrics.emit(quota().name, milliseconds())
    return {"batchItemFailures": failed}


async def check_timer(aws: Aws, quota: Quota, body: str, waited: int) -> None:
    tenant, lease, beat, timer = json.loads(body)

    async def arm(beat: int, timer: int, seconds: float) -> None:
        await send_timer(aws, quota, json.dumps([tenant, lease, beat, timer]), seconds)

    heartbeat = quota.heartbeat(aws, lease)
    if await heartbeat.check(beat, timer, waited, arm) is None:
        return
    command = {"client": "", "number": 0, "do": "release", "tenant": tenant, "lease": lease}
    await send_request(aws, quota, json.dumps(command), f"expire-{lease}", seconds=20)
    await heartbeat.forget_dead()
