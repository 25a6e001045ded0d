"""Lambda handler of the reaper, invoked by the timers queue when delayed messages come due."""

from __future__ import annotations

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.delivery import deliver_timers
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, at_start, aws, milliseconds, run
from faaskeeper.functions.environment import service
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.reaper.expiry import check_timer
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import decode_timer


def handler(event: LambdaEvent, context: LambdaContext) -> LambdaEvent:
    """Reports the messages that failed (partial batch response): the queue brings those back."""
    metrics = FunctionMetrics()
    failed = run(look_at(aws(), service(), event["Records"], metrics))
    metrics.emit(service().name, milliseconds())
    return {"batchItemFailures": failed}


async def look_at(aws: Aws, service: Service, records: list[LambdaEvent], metrics: Metrics) -> list[LambdaEvent]:
    """The records that failed, as Lambda wants them named."""

    async def look(body: str, waited: int) -> None:
        await check_timer(aws, service, decode_timer(body), waited, metrics)

    return await deliver_timers(records, look, metrics)


at_start(aws)
at_start(service)
