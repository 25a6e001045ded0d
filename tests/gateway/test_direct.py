"""What a gateway makes of each way in which a direct call can end."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AccessDenied, AwsError, NotFound, Throttled, Unavailable
from faaskeeper.protocol.calls import Refusal, encode_answer, encode_refused
from faaskeeper.protocol.messages import ReplyMessage, encode_first, encode_reply
from faaskeeper_client.gateway.direct import DirectCalls

MESSAGE = encode_first("home", ())[0]
DONE = encode_answer([encode_reply(ReplyMessage(7, 6))])
KILLED = "Unhandled"


class Function:
    """Answers a call without requests, then each copy of calls with the next of ``answers``."""

    def __init__(self, *answers: dict[str, Any] | AwsError | str) -> None:
        self._answers = list(answers)
        self.copies: list[tuple[int, int, bool]] = []
        """(number, since, repeated) of each copy."""

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        assert (service, operation, parameters["FunctionName"]) == ("lambda", "invoke", "direct")
        _, number, since, repeated = json.loads(parameters["Payload"])["call"]
        if since == 0:
            return {"StatusCode": 200, "Payload": json.dumps(encode_answer([])).encode()}
        self.copies.append((number, since, bool(repeated)))
        answer = self._answers.pop(0)
        if isinstance(answer, AwsError):
            raise answer
        if isinstance(answer, str):
            return {"StatusCode": 200, "FunctionError": answer, "Payload": b"{}"}
        return {"StatusCode": 200, "Payload": json.dumps(answer).encode()}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def ready(function: Function, clock: Clock | None = None) -> DirectCalls:
    made = DirectCalls(function, "direct", "home", random.Random(1), clock or Clock(), lambda: 5)
    assert not made.ready()
    while not made.ready():  # noqa: ASYNC110
        await asyncio.sleep(0)
    return made


def error(kind: type[AwsError]) -> AwsError:
    return kind("lambda", "invoke", "code")


def refused(refusal: Refusal) -> dict[str, Any]:
    return encode_refused(refusal, 9)


def test_replies_come_with_the_answer() -> None:
    async def scenario() -> None:
        function = Function(DONE)
        assert await (await ready(function)).commit(MESSAGE) == (ReplyMessage(7, 6, detached_at=0),)
        assert function.copies == [(1, 5, False)]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "end",
    [error(Throttled), error(AccessDenied), error(NotFound), error(AwsError), refused(Refusal.CONTENDED)],
    ids=["throttled", "denied", "missing", "refused", "contended"],
)
def test_what_was_not_run_goes_by_the_queue(end: dict[str, Any] | AwsError) -> None:
    async def scenario() -> None:
        clock = Clock()
        calls = await ready(Function(end, DONE), clock)
        assert await calls.commit(MESSAGE) is None
        assert not calls.ready()
        clock.now = 1.0
        while not calls.ready():  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await calls.commit(MESSAGE)

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [KILLED, error(Unavailable)], ids=["function error", "no answer"])
@pytest.mark.parametrize(
    "then",
    [error(Throttled), error(AccessDenied), refused(Refusal.CONTENDED)],
    ids=["throttled", "denied", "contended"],
)
def test_what_is_unknown_stays_unknown_until_a_copy_is_answered(lost: AwsError | str, then: Any) -> None:
    async def scenario() -> None:
        function = Function(lost, then, DONE)
        assert await (await ready(function)).commit(MESSAGE)
        assert function.copies == [(1, 5, False), (1, 5, True), (1, 5, True)]

    asyncio.run(scenario())


def test_a_first_copy_that_is_stale_is_made_anew() -> None:
    async def scenario() -> None:
        function = Function(refused(Refusal.STALE), DONE)
        assert await (await ready(function)).commit(MESSAGE)
        assert function.copies == [(1, 5, False), (1, 9, False)]

    asyncio.run(scenario())


def test_a_repeated_copy_that_is_stale_is_lost() -> None:
    async def scenario() -> None:
        calls = await ready(Function(KILLED, refused(Refusal.STALE)))
        with pytest.raises(Unavailable, match="forgotten"):
            await calls.commit(MESSAGE)

    asyncio.run(scenario())


def test_more_gateways_than_lanes_use_the_queue() -> None:
    async def scenario() -> None:
        calls = await ready(Function(*[refused(Refusal.STALE)] * 3))
        assert await calls.commit(MESSAGE) is None
        assert not calls.ready()

    asyncio.run(scenario())


def test_a_function_that_does_not_work_gets_no_requests() -> None:
    class Broken:
        async def call(self, service: str, operation: str, **parameters: Any) -> Response:
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": b"{}"}

    async def scenario() -> None:
        calls = DirectCalls(Broken(), "direct", "home", random.Random(1), Clock(), lambda: 5)
        for _ in range(10):
            assert not calls.ready()
            await asyncio.sleep(0)

    asyncio.run(scenario())
