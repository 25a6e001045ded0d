"""The service as the CDK app deploys it, on the simulated cloud: the real functions behind real queues."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from faaskeeper.blocks import runtime
from faaskeeper.functions.janitor import function as janitor
from faaskeeper.functions.janitor.janitor import Janitor
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.notifier import function as notifier
from faaskeeper.functions.reaper.function import look_at
from faaskeeper.functions.sequencer import function as sequencer
from faaskeeper.functions.sequencer.sequencer import sequencer_committer
from faaskeeper.protocol.messages import decode_reply
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import KEY_NAMES
from faaskeeper_simulator.cloud import Cloud, Context, Instance
from faaskeeper_simulator.cloud.lambda_ import Handler

VISIBILITY = 12
TIMEOUT = 10
"""Of the requests queue and of the sequencer in every tier, in seconds."""
WORKER_TIMEOUT = 60
REPLIES = "replies-"
MAX_TIMER_RECEIVES = 20
_TRUSTED = "TRUSTED_SENDERS"
_FUNCTION_TIMEOUT = inspect.signature(runtime.aws).parameters["timeout"].default


class Deployment:
    """Made inside a run; ``create`` before anything else. ``sender`` names the process that sent a request, by its
    SequenceNumber."""

    def __init__(self, cloud: Cloud, sender: Callable[[int], str], *, janitor_every: float = 60.0) -> None:
        url = cloud.sqs.url
        self.cloud = cloud
        self.service = Service(
            name="simulated",
            region="us-east-1",
            znodes="znodes",
            sessions="sessions",
            ledger="ledger",
            blobs="blobs",
            requests=url("requests.fifo"),
            timers=url("timers"),
            dead_letters=url("dead-letters"),
            reply_prefix=REPLIES,
            inline_limit=64,
            blob_limit=1024,
        )
        """With low limits, so that small data takes every way that data can take."""
        self._sender = sender
        self._janitor_every = janitor_every

    async def create(self) -> None:
        cloud = self.cloud
        for role in ("znodes", "sessions", "ledger"):
            partition, sort = KEY_NAMES[role]
            cloud.dynamodb.create_table(
                role, (partition, "S"), (sort, "S"), ttl="expires" if role == "ledger" else None
            )
        cloud.s3.create_bucket(self.service.blobs)
        await self._queue("dead-letters")
        await self._queue("requests.fifo", FifoQueue="true", VisibilityTimeout=str(VISIBILITY))
        redrive = {
            "maxReceiveCount": MAX_TIMER_RECEIVES,
            "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead-letters",
        }
        await self._queue("timers", VisibilityTimeout=str(WORKER_TIMEOUT), RedrivePolicy=json.dumps(redrive))
        cloud.sqs.expendable = _is_hint
        functions = cloud.functions
        functions.register("sequencer", self._start_sequencer, timeout=TIMEOUT)
        functions.register("notifier", self._start_notifier, timeout=WORKER_TIMEOUT)
        functions.register("reaper", self._start_reaper, timeout=WORKER_TIMEOUT)
        functions.register("janitor", self._start_janitor, timeout=WORKER_TIMEOUT)
        functions.schedule("janitor", every=self._janitor_every)
        cloud.connect_queue(self.service.requests, "sequencer")
        cloud.connect_queue(self.service.timers, "reaper")

    async def _queue(self, name: str, **attributes: str) -> None:
        await self.cloud.admin.call("sqs", "create_queue", QueueName=name, Attributes=attributes)

    def _start_sequencer(self, instance: Instance) -> Handler:
        aws, service = self.cloud.client(instance.process, timeout=sequencer._TIMEOUT_SECONDS), self.service
        made = sequencer_committer(aws, service, _clock(instance), "notifier")

        async def handle(event: Any, context: Context) -> None:
            seconds = context.get_remaining_time_in_millis() / 1000 - sequencer.MARGIN_SECONDS
            for record in event["Records"]:
                attributes = record["attributes"]
                process = self._sender(int(attributes["SequenceNumber"]))
                attributes["SenderId"] = f"{process.rsplit('-', 1)[0]}:{process}"
            await sequencer.process_records(aws, service, made, event["Records"], seconds)

        return handle

    def _start_notifier(self, instance: Instance) -> Handler:
        aws = self.cloud.client(instance.process, timeout=_FUNCTION_TIMEOUT)

        async def handle(event: Any, context: Context) -> None:
            await notifier.send(aws, self.service, event)

        return handle

    def _start_reaper(self, instance: Instance) -> Handler:
        aws = self.cloud.client(instance.process, timeout=_FUNCTION_TIMEOUT)

        async def handle(event: Any, context: Context) -> Any:
            return {"batchItemFailures": await look_at(aws, self.service, event["Records"], FunctionMetrics())}

        return handle

    def _start_janitor(self, instance: Instance) -> Handler:
        made = Janitor(self.cloud.client(instance.process, timeout=_FUNCTION_TIMEOUT), self.service, _clock(instance))

        async def handle(event: Any, context: Context) -> None:
            await made.run(context.get_remaining_time_in_millis() / 1000 - janitor.MARGIN_SECONDS)

        return handle


def _is_hint(queue: str, body: str) -> bool:
    """Whether it tells a gateway nothing but that there is news, which the gateway would find later by itself."""
    if not queue.startswith(REPLIES) or body.startswith("claim:"):
        return False
    message = decode_reply(body)
    return not message.outcomes and not message.detached


@contextmanager
def trusted() -> Generator[None]:
    """The environment that the CDK app gives the sequencer: whose requests may be about any session."""
    before = os.environ.get(_TRUSTED)
    os.environ[_TRUSTED] = "reaper,janitor"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TRUSTED]
        else:
            os.environ[_TRUSTED] = before


def _clock(instance: Instance) -> Any:
    return lambda: int(instance.process.clock() * 1000)
