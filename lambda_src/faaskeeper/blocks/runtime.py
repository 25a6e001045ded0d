"""What every handler shares: one event loop and one set of clients an instance."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from faaskeeper.blocks.aws import Aws, BotoAws

T = TypeVar("T")

LambdaEvent = dict[str, Any]
LambdaContext = Any


class JsonFormatter(logging.Formatter):
    """One JSON object a line, as CloudWatch Logs Insights reads it."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "level": record.levelname,
            "time": int(record.created * 1000),
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
    return BotoAws(most=16, timeout=timeout)


def milliseconds() -> int:
    return time.time_ns() // 1_000_000
