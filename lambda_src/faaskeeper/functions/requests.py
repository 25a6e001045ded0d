"""Requests that the service's own functions make of the sequencer; nobody waits for their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.queues import MAX_MESSAGE_BYTES, send_request
from faaskeeper.protocol.messages import MAX_REQUESTS, Principal, Request, encode_first
from faaskeeper.protocol.service import Service
from faaskeeper.znode.operations import Operation

SERVICE_GATEWAY = ""
"""The gateway id of these requests."""
_SECONDS = 20.0


async def send_to_sequencer(aws: Aws, service: Service, operations: Sequence[tuple[int, Operation]]) -> None:
    """Sends each operation with the session it is about, 0 for none."""
    requests = [
        Request(Principal(session), number, operation) for number, (session, operation) in enumerate(operations)
    ]
    while requests:
        body, count = encode_first(SERVICE_GATEWAY, requests[:MAX_REQUESTS], MAX_MESSAGE_BYTES)
        del requests[:count]
        # a function's machine does not sleep while it is invoked
        clock = asyncio.get_running_loop().time
        await send_request(aws, service, body, uuid4().hex, seconds=_SECONDS, clock=clock)
