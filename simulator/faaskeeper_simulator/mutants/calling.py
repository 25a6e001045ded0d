"""Breaks direct calls: exactly once, their order with the queue, what changed nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from faaskeeper.blocks.errors import Unavailable
from faaskeeper.blocks.invocation import Forgotten, Invocation
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.sequencer.batch import Entry
from faaskeeper.storage import lanes
from faaskeeper.storage.lanes import Lanes
from faaskeeper_client.gateway import direct
from faaskeeper_client.gateway.direct import DirectCalls
from faaskeeper_client.gateway.outbox import Outbox
from faaskeeper_simulator.cloud import FaultKind
from faaskeeper_simulator.mutants.registry import mutant, schedules

_LOSSES = (FaultKind.LOST_ANSWER, FaultKind.LATE_EFFECT, FaultKind.UNAVAILABLE)
_DEATHS = (FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER)
_LATE_CALLS = schedules(
    kinds=(FaultKind.LATE_EFFECT,), rate=40, gateways=3, clients=6, operations=80, timeouts=(40_000,), direct=True
)


@mutant(
    "What a lane covers is never applied again",
    schedules(kinds=(*_LOSSES, *_DEATHS), rate=6, timeouts=(40_000,), direct=True),
)
def lanes_are_ignored() -> Iterator[None]:
    with patch.object(Lanes, "applied", lambda *_: None):
        yield


@mutant(
    "The lane of a call counts requests, not calls",
    schedules("moves", kinds=(*_LOSSES, *_DEATHS), rate=4, direct=True),
)
def lanes_have_no_index() -> Iterator[None]:
    real = Lanes.moved

    def moved(self: Lanes, digest: bytes, applied: Position, zxid: int) -> Lanes:
        return real(self, digest, replace(applied, index=0), zxid)

    with patch.object(Lanes, "moved", moved):
        yield


@mutant(
    "A call whose lane may be gone is refused",
    schedules(kinds=(*_LOSSES, *_DEATHS), rate=8, gateways=3, clients=6, timeouts=(40_000,), direct=True),
)
def a_lost_lane_is_a_new_one() -> Iterator[None]:
    real = Lanes.applied

    def applied(self: Lanes, digest: bytes, since: int) -> Position | None:
        try:
            return real(self, digest, since)
        except Forgotten:
            return None

    with patch.object(lanes, "MAX_LANES", 2), patch.object(Lanes, "applied", applied):
        yield


@mutant(
    "A call that is repeated does not get another ``since``",
    schedules(kinds=(*_LOSSES, *_DEATHS), rate=8, gateways=3, clients=6, timeouts=(40_000,), direct=True),
)
def repeated_calls_are_first_ones_when_stale() -> Iterator[None]:
    real = direct.encode_call

    def encode(id: direct.CallId, message: str) -> bytes:
        return real(replace(id, since=2**62), message)

    with patch.object(lanes, "MAX_LANES", 2), patch.object(direct, "encode_call", encode):
        yield


@mutant(
    "What becomes of a call is known before its requests go by the queue",
    schedules(kinds=_LOSSES, rate=6, timeouts=(40_000,), direct=True),
)
def what_is_unknown_goes_by_the_queue() -> Iterator[None]:
    real = DirectCalls._invoke

    async def invoke(self: DirectCalls, payload: bytes) -> direct.Answer:
        try:
            return await real(self, payload)
        except Unavailable:
            return direct.Answer(refusal=direct.Refusal.CONTENDED)

    with patch.object(DirectCalls, "_invoke", invoke):
        yield


@mutant(
    "What says that a copy was not run says nothing of the copy before",
    schedules(kinds=(*_LOSSES, FaultKind.THROTTLE), rate=8, timeouts=(40_000,), direct=True),
)
def a_refused_repetition_settles_a_call() -> Iterator[None]:
    async def commit(self: DirectCalls, message: str) -> Any:
        self._number += 1
        id = direct.CallId(self._secret, self._number, self._complete())
        for _ in range(20):
            try:
                answer = await self._invoke(direct.encode_call(id, message))
            except Unavailable:
                id = replace(id, repeated=True)
            except direct.AwsError:
                return None
            else:
                return answer.replies if answer.refusal is None else None
        raise Unavailable("lambda", "invoke", "GivenUp", "")

    with patch.object(DirectCalls, "commit", commit):
        yield


@mutant(
    "A call leaves when the queue has answered all that was sent before",
    schedules("moves", kinds=(FaultKind.THROTTLE, FaultKind.DELAY, FaultKind.LATE_MESSAGE), rate=20, direct=True),
)
def calls_overtake_the_queue() -> Iterator[None]:
    real = Outbox._send

    async def send(self: Outbox, *arguments: Any) -> None:
        await real(self, *arguments)
        self._queued.clear()

    with patch.object(Outbox, "_send", send), patch.object(direct, "_FIRST_REST", 0.001):
        yield


@mutant(
    "A repeated call that changes nothing leaves a trace",
    _LATE_CALLS,
)
def repeated_calls_leave_no_trace() -> Iterator[None]:
    with patch.object(Entry, "may_come_again", property(lambda self: self.call is None)):
        yield


@mutant(
    "Messages that change nothing leave a trace",
    schedules(
        kinds=(FaultKind.EARLY_REDELIVERY, FaultKind.LOST_POLL, *_DEATHS, FaultKind.THROTTLE),
        rate=12,
        gateways=3,
        clients=6,
        operations=80,
        timeouts=(40_000,),
        direct=True,
    ),
)
def messages_leave_no_trace() -> Iterator[None]:
    with patch.object(Entry, "may_come_again", property(lambda self: self.call is not None and self.call.repeated)):
        yield


@mutant(
    "Only a gateway's last call can be repeated: copies that the SDK makes say so",
    _LATE_CALLS,
)
def repetitions_do_not_say_so() -> Iterator[None]:
    real = direct.encode_call

    with patch.object(direct, "encode_call", lambda id, message: real(replace(id, repeated=False), message)):
        yield


@mutant(
    "Nothing is said of a call while a transaction of its own may still take effect",
    schedules(kinds=(FaultKind.LATE_EFFECT, FaultKind.DELAY), rate=20, gateways=3, clients=6, direct=True),
)
def a_late_transaction_is_forgotten() -> Iterator[None]:
    real = Invocation.write

    async def write(self: Invocation, call: Callable[[], Awaitable[Any]]) -> bool:
        written = await real(self, call)
        self.unsettled = self.wrote = False
        return written

    with patch.object(Invocation, "write", write):
        yield


@mutant(
    "A gateway does not attach a session whose client has gone before it was asked for",
    schedules(
        kinds=(FaultKind.LATE_EFFECT, FaultKind.DELAY), rate=20, gateways=3, clients=6, timeouts=(4000,), direct=True
    ),
)
def attachments_are_not_withdrawn() -> Iterator[None]:
    with patch.object(Outbox, "withdraw", lambda *_: None):
        yield
