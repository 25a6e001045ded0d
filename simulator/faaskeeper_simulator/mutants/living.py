"""Breaks what makes sessions sure: beats, timers, attachments, and the way requests take to the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from faaskeeper.blocks.primitives import Heartbeat, Pulse
from faaskeeper.blocks.queues import REQUEST_GROUP
from faaskeeper.blocks.retry import repeat
from faaskeeper.functions.reaper import expiry
from faaskeeper.functions.sequencer import batch
from faaskeeper.protocol.messages import RequestMessage, encode_requests
from faaskeeper.protocol.timers import SessionTimer
from faaskeeper.storage import commit
from faaskeeper.storage.sessions import GatewayItem
from faaskeeper.znode.operations import ExpireSession
from faaskeeper_client.gateway import liveness, outbox
from faaskeeper_client.gateway.handshake import Handshake
from faaskeeper_client.gateway.liveness import Liveness
from faaskeeper_client.gateway.outbox import Outbox
from faaskeeper_client.gateway.sessions import Sessions
from faaskeeper_simulator.cloud import FaultKind
from faaskeeper_simulator.harness.chaos import Chaos
from faaskeeper_simulator.mutants.registry import mutant, schedules

_GATEWAYS = (Chaos.GATEWAY_PAUSE, Chaos.GATEWAY_CUT, Chaos.GATEWAY_KILL)
_LOSSES = (FaultKind.LOST_ANSWER, FaultKind.LATE_EFFECT, FaultKind.UNAVAILABLE, FaultKind.DELAY)
_SHORT = (4000,)


@mutant("One unacknowledged send at a time", schedules("moves", kinds=_LOSSES, rate=4))
def two_sends_under_way() -> Iterator[None]:
    real = Outbox._send

    async def send(self: Outbox, taken: Any, body: str) -> None:
        sending.add(asyncio.get_running_loop().create_task(real(self, taken, body)))

    sending: set[asyncio.Task[None]] = set()
    with patch.object(Outbox, "_send", send):
        yield


@mutant(
    "No SendMessageBatch: its entries can fail one by one",
    schedules("moves", kinds=(FaultKind.PARTIAL_BATCH,), rate=10),
)
def requests_go_in_batches() -> Iterator[None]:
    async def send(self: Outbox, taken: list[Any], body: str) -> None:
        waiting = [
            {
                "Id": str(sent.request.number),
                "MessageBody": encode_requests(RequestMessage(self._gateway_id, (sent.request,))),
                "MessageGroupId": REQUEST_GROUP,
                "MessageDeduplicationId": f"{self._gateway_id}-{sent.request.number}",
            }
            for sent in taken
        ]
        while waiting:
            answer = await self._aws.call(
                "sqs", "send_message_batch", QueueUrl=self._service.requests, Entries=waiting[:10]
            )
            sent = {entry["Id"] for entry in answer.get("Successful", ())}
            waiting = [entry for entry in waiting if entry["Id"] not in sent]

    with patch.object(Outbox, "_send", send):
        yield


@mutant("A send is byte-identical when it is retried", schedules("moves", kinds=_LOSSES, rate=4))
def a_retry_is_another_message() -> Iterator[None]:
    async def send(aws: Any, service: Any, body: str, deduplication_id: str, *, seconds: float, clock: Any) -> int:
        tries = 0

        async def once() -> Any:
            nonlocal tries
            tries += 1
            return await aws.call(
                "sqs",
                "send_message",
                QueueUrl=service.requests,
                MessageBody=body,
                MessageGroupId=REQUEST_GROUP,
                MessageDeduplicationId=f"{deduplication_id}-{tries}",
            )

        return int((await repeat(once, seconds=seconds, clock=clock))["SequenceNumber"])

    with patch.object(outbox, "send_request", send):
        yield


@mutant("Nothing is sent behind a request that was lost", schedules("moves", kinds=(FaultKind.THROTTLE,), rate=30))
def requests_overtake_a_lost_one() -> Iterator[None]:
    with (
        patch.object(outbox, "_connection", lambda sent: (sent.request.number, 0)),
        patch.object(outbox, "_GIVE_UP", 0.02),
    ):
        yield


@mutant(
    "Once a gateway is dead, no beat of it succeeds",
    schedules("membership", chaos=_GATEWAYS, timeouts=_SHORT, gateways=3),
)
def a_dead_gateway_beats() -> Iterator[None]:
    real = liveness.beat

    async def beat(aws: Any, service: Any, gateway: str, number: int, stand_still: int) -> GatewayItem:
        found = await real(aws, service, gateway, number, stand_still)
        return found or GatewayItem(gateway, number, True, stand_still, 0)

    with patch.object(liveness, "beat", beat):
        yield


@mutant(
    "A gateway that could not beat in time stops answering until it has",
    schedules("membership", "registers", chaos=_GATEWAYS, timeouts=_SHORT, gateways=3),
)
def a_gateway_never_falls_silent() -> Iterator[None]:
    with patch.object(Liveness, "is_alive", property(lambda self: True)):
        yield


@mutant("The reaper declares dead whose beat has not moved", schedules("membership", timeouts=_SHORT))
def timers_compare_nothing() -> Iterator[None]:
    real = expiry._check_gateway

    async def check(aws: Any, service: Any, timer: Any, waited: int, metrics: Any) -> None:
        found = await expiry.read_gateway(aws, service, timer.gateway)
        await real(aws, service, replace(timer, beat=found.beat) if found else timer, waited, metrics)

    with patch.object(expiry, "_check_gateway", check):
        yield


@mutant(
    "A timer comes due whose number has not been written yet",
    schedules(
        "membership",
        kinds=(FaultKind.STALL,),
        rate=40,
        chaos=(Chaos.GATEWAY_KILL, Chaos.CLIENT_KILL),
        timeouts=_SHORT,
        gateways=3,
        clients=8,
        operations=20,
        pace=1.0,
    ),
    found="seeds 5002591 and 5003377",
)
def a_timer_ahead_is_dropped() -> Iterator[None]:
    async def check(self: Heartbeat, beat: int, timer: int, *rest: Any) -> Pulse | None:
        pulse = await self.read()
        return None if pulse and pulse.alive and timer > pulse.timer else await real(self, beat, timer, *rest)

    real = Heartbeat.check
    with patch.object(Heartbeat, "check", check):
        yield


@mutant(
    "Expiry names the attach epoch that it is about",
    schedules("membership", chaos=(Chaos.GATEWAY_KILL,), timeouts=_SHORT, gateways=3, operations=60),
)
def expiry_knows_no_epoch() -> Iterator[None]:
    async def check(aws: Any, service: Any, timer: SessionTimer, waited: int) -> None:
        session = await expiry.read_session(aws, service, timer.session)
        if session is not None:
            await expiry.send_to_sequencer(aws, service, [(timer.session, ExpireSession(session.epoch))])

    with patch.object(expiry, "_check_session", check):
        yield


@mutant(
    "Only once its gateway is dead are sessions expired",
    schedules("membership", chaos=(Chaos.GATEWAY_PAUSE, Chaos.GATEWAY_CUT), timeouts=_SHORT, gateways=3),
)
def sessions_expire_before_their_gateway_is_dead() -> Iterator[None]:
    async def read(self: Any) -> Pulse | None:
        found = await real(self)
        return replace(found, alive=False) if found and repr(self._item) in condemned else found

    async def declare(self: Any, beat: int) -> Pulse | None:
        condemned.add(repr(self._item))
        return await real(self)

    condemned: set[str] = set()
    real = Heartbeat.read
    with patch.object(Heartbeat, "declare_dead", declare), patch.object(Heartbeat, "read", read):
        yield


@mutant(
    "Nobody attaches to a gateway that is dead",
    schedules(
        "membership",
        kinds=(FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER),
        rate=4,
        chaos=(Chaos.GATEWAY_PAUSE, Chaos.GATEWAY_KILL, Chaos.CLIENT_KILL, Chaos.CLIENT_MOVE),
        timeouts=_SHORT,
        gateways=3,
        clients=8,
        pace=1.5,
    ),
)
def sessions_attach_to_the_dead() -> Iterator[None]:
    real = batch.load

    async def load(aws: Any, service: Any, wanted: Any, into: Any) -> None:
        await real(aws, service, wanted, into)
        into.alive = dict.fromkeys(into.alive, True)

    with patch.object(commit._Writer, "_must_live", lambda self, gateway: None), patch.object(batch, "load", load):
        yield


@mutant("A client that pings lives", schedules("membership", timeouts=_SHORT))
def pings_do_not_count() -> Iterator[None]:
    with patch.object(Sessions, "touch", lambda self, session: None):
        yield


@mutant(
    "A session whose client goes while it attaches is expired",
    schedules(
        "moves",
        "membership",
        kinds=(FaultKind.LATE_MESSAGE, FaultKind.DELAY),
        rate=3,
        chaos=(Chaos.CLIENT_KILL, Chaos.CLIENT_MOVE),
        timeouts=_SHORT,
        clients=6,
    ),
    found="seed 3 of the first random schedules",
)
def attachments_without_a_client_are_forgotten() -> Iterator[None]:
    real = Handshake._join

    def join(self: Handshake, *arguments: Any) -> None:
        if self._connection.is_open:
            real(self, *arguments)

    with patch.object(Handshake, "_join", join):
        yield


@mutant("Closing a session deletes its ephemerals in that transaction", schedules("membership", timeouts=_SHORT))
def ephemerals_outlive_their_session() -> Iterator[None]:
    from faaskeeper.storage import loading

    real = loading.list_ephemerals

    async def listed(aws: Any, service: Any, session: int) -> list[str]:
        return (await real(aws, service, session))[1:]

    with patch.object(loading, "list_ephemerals", listed):
        yield


@mutant(
    "A session without ephemerals outlives its gateway by its timeout",
    schedules(
        "ready", "membership", chaos=(Chaos.GATEWAY_CUT,), timeouts=(4000, 40_000), clients=8, operations=80, pace=1.5
    ),
    found="seed 554",
)
def a_session_dies_with_its_gateway() -> Iterator[None]:
    with patch.object(expiry, "_rest", lambda session, stood_still: max(0, session.timeout - stood_still)):
        yield
