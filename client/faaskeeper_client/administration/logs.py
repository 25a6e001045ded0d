"""What went wrong in a service's functions, by their own logs (``blocks.runtime.JsonFormatter``)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service

HOURS = 1
"""How far back errors are looked for."""
_MOST = 5


@dataclass(frozen=True, slots=True)
class LoggedError:
    """``logger`` is the module that wrote it."""

    time: datetime
    logger: str
    message: str


async def last_errors(aws: Aws, service: Service) -> list[LoggedError]:
    """The last few of the last hour, the oldest first. Raises AwsError."""
    since = datetime.now(UTC) - timedelta(hours=HOURS)
    found = await asyncio.gather(*(_errors(aws, group, since) for group in service.log_groups))
    return sorted((error for errors in found for error in errors), key=lambda error: error.time)[-_MOST:]


async def _errors(aws: Aws, log_group: str, since: datetime) -> list[LoggedError]:
    errors: list[LoggedError] = []
    more: dict[str, str] = {}
    while True:
        response = await repeat(
            lambda more=more: aws.call(
                "logs",
                "filter_log_events",
                logGroupName=log_group,
                startTime=int(since.timestamp() * 1000),
                filterPattern="ERROR",
                **more,
            )
        )
        errors += [error for event in response["events"] if (error := _error(event["message"]))]
        if "nextToken" not in response:
            return errors
        more = {"nextToken": response["nextToken"]}


def _error(line: str) -> LoggedError | None:
    """None for a line that only has the word in it."""
    try:
        entry = json.loads(line)
        if entry["level"] != "ERROR":
            return None
        time = datetime.fromisoformat(entry["timestamp"])
        return LoggedError(time, str(entry["logger"]), str(entry["message"]))
    except (ValueError, KeyError, TypeError):
        return None
