"""Lambda handler of the janitor, invoked by a schedule."""

from __future__ import annotations

from functools import cache

from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, at_start, aws, milliseconds, run
from faaskeeper.functions.environment import service
from faaskeeper.functions.janitor.janitor import Janitor

MARGIN_SECONDS = 10.0
"""Seconds before the function's timeout at which no other step is begun."""


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    try:
        run(_janitor().run(context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS))
    finally:
        _janitor().metrics.emit(service().name, milliseconds())


@cache
def _janitor() -> Janitor:
    return Janitor(aws(), service(), milliseconds)


at_start(_janitor)
