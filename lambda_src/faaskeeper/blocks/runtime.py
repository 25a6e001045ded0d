"""What every handler shares: one event loop and one set of clients an instance."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from faaskeeper.blocks.aws import Aws, BotoAws

T = TypeVar("T")

LambdaEvent = dict[str, Any]
LambdaContext = Any

KEEP_WARM: LambdaEvent = {"keepWarm": True}
"""What a schedule invokes a function with so that Lambda keeps an instance: it does nothing."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line, as CloudWatch Logs Insights reads it. Without ``timestamp`` in RFC 3339 Lambda takes
    every line for INFO (Lambda developer guide, "Log-level filtering")."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "level": record.levelname,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


@cache
def loop() -> asyncio.AbstractEventLoop:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    return asyncio.new_event_loop()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs ``work`` on the instance's loop, so that connections stay warm between invocations."""
    return loop().run_until_complete(work)


@cache
def aws(timeout: float = 8.0) -> Aws:
    """``timeout`` in seconds, as ``BotoAws`` has it."""
    made = BotoAws(most=16, timeout=timeout)
    made.prepare("dynamodb", "sqs")
    return made


def at_start(prepare: Callable[[], object]) -> None:
    """Calls ``prepare`` in an instance of a Lambda function, while it imports its handler, and nowhere else: no
    invocation waits for it then, unless it is the one for which the instance was made."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        prepare()


def milliseconds() -> int:
    return time.time_ns() // 1_000_000
