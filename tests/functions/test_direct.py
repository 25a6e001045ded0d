"""Direct calls: what a call does happens once, whatever becomes of its copies, and nobody is trusted."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from faaskeeper.blocks.aws import Aws, BotoAws
from faaskeeper.functions.direct.function import Direct
from faaskeeper.protocol.calls import Answer, CallId, Refusal, decode_answer, encode_call
from faaskeeper.protocol.messages import Principal, Request, RequestMessage, encode_requests
from faaskeeper.storage import lanes
from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Delete, ExpireSession, Operation, SetData

from .stage import COMMIT, REPLY, SECONDS, Client, Dying, Failing, Killed, Stage, calls, create, run


class Caller:
    """A gateway that calls: the same call as often as a test wants."""

    def __init__(self, stage: Stage, client: Client) -> None:
        self._stage = stage
        self._client = client
        self._secret = uuid4().bytes
        self._numbers = itertools.count(1)
        self._calls = itertools.count(1)

    async def prepare(self, *operations: Operation, who: Principal | None = None) -> dict[str, Any]:
        """The first copy of a call."""
        requests = tuple(
            Request(who or self._client.principal, next(self._numbers), operation) for operation in operations
        )
        message = encode_requests(RequestMessage(self._client.gateway.id, requests))
        since = (await self._stage.head()).zxid
        return json.loads(encode_call(CallId(self._secret, next(self._calls), since), message))

    async def do(self, *operations: Operation) -> list[Code]:
        return codes(await invoke(self._stage, await self.prepare(*operations)))


def repeated(call: dict[str, Any]) -> dict[str, Any]:
    secret, number, since, _ = call["call"]
    return {**call, "call": [secret, number, since, 1]}


async def invoke(stage: Stage, call: dict[str, Any], aws: Aws | None = None) -> Answer:
    """By an instance that knows nothing yet."""
    instance = Direct(aws or stage.aws, stage.service, lambda: time.time_ns() // 1_000_000)
    return decode_answer(json.dumps(await instance.answer(call, SECONDS)).encode())


def codes(answer: Answer) -> list[Code]:
    return [outcome.code for reply in answer.replies for _, outcome in reply.outcomes]


async def prepared(aws: BotoAws) -> tuple[Stage, Client, Caller]:
    stage = await Stage.create(aws)
    client = await stage.client()
    return stage, client, Caller(stage, client)


def test_a_call_is_answered_in_its_response(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, client, caller = await prepared(aws)
        assert await caller.do(create("/a"), create("/a"), SetData("/a", b"x")) == [
            Code.OK,
            Code.NODE_EXISTS,
            Code.OK,
        ]
        assert await stage.children("/") == ["a", "zookeeper"]
        assert await stage.everything(client.gateway) == []

    run(scenario())


@pytest.mark.parametrize("after", [False, True])
def test_a_killed_call_is_done_once(aws: BotoAws, after: bool) -> None:
    async def scenario() -> None:
        stage, _, caller = await prepared(aws)
        call = await caller.prepare(create("/a"))
        with suppress(Killed):
            await invoke(stage, call, Dying(aws, calls(COMMIT), after=after))
        assert codes(await invoke(stage, repeated(call))) == [Code.OK]
        assert await caller.do(Delete("/a")) == [Code.OK]
        # a copy that was on its way all the time
        assert codes(await invoke(stage, call)) == []
        assert await stage.children("/") == ["zookeeper"]

    run(scenario())


def test_who_was_told_of_a_failure_is_not_served_later(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, _, caller = await prepared(aws)
        other = Caller(stage, await stage.client())
        await other.do(create("/a"))
        call = await caller.prepare(create("/a"))
        assert codes(await invoke(stage, repeated(call))) == [Code.NODE_EXISTS]
        await other.do(Delete("/a"))
        assert codes(await invoke(stage, call)) == []
        assert await stage.node("/a") is None

    run(scenario())


def test_a_message_that_changed_nothing_does_nothing_when_it_comes_again(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, client, caller = await prepared(aws)
        await caller.do(create("/a"))
        numbers = await stage.send(client.gateway, (client, create("/a")))
        records = await stage.receive()
        await stage.sequencer().invoke(records)
        assert (await stage.outcomes(client.gateway, numbers))[numbers[0]].code is Code.NODE_EXISTS
        await caller.do(Delete("/a"))
        await stage.sequencer().invoke(records)
        assert await stage.node("/a") is None

    run(scenario())


def test_a_call_between_keeps_what_the_queue_has_to_tell(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, client, _ = await prepared(aws)
        caller = Caller(stage, await stage.client())
        (number,) = await stage.send(client.gateway, (client, create("/a")))
        records = await stage.receive()
        with suppress(Killed):
            await stage.sequencer(Dying(aws, calls(REPLY), after=False)).invoke(records)
        await caller.do(create("/b"))
        await stage.sequencer().invoke(records)
        assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.OK

    run(scenario())


def test_a_call_whose_lane_is_gone_is_refused(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_LANES", 2)

    async def scenario() -> None:
        stage, client, caller = await prepared(aws)
        call = await caller.prepare(create("/a"))
        assert codes(await invoke(stage, call)) == [Code.OK]
        for number in range(3):
            assert await Caller(stage, client).do(create(f"/{number}")) == [Code.OK]
        await Caller(stage, client).do(Delete("/a"))
        answer = await invoke(stage, repeated(call))
        assert (answer.refusal, answer.zxid) == (Refusal.STALE, (await stage.head()).zxid)
        assert await stage.node("/a") is None
        assert await caller.do(create("/a")) == [Code.OK]

    run(scenario())


def test_who_always_loses_is_sent_to_the_queue(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, client, caller = await prepared(aws)
        other = Caller(stage, client)

        class Losing:
            """Before each commit another one is faster."""

            async def call(self, service: str, operation: str, **parameters: Any) -> Any:
                if operation == COMMIT:
                    await other.do(SetData("/", b"x"))
                return await aws.call(service, operation, **parameters)

        call = await caller.prepare(create("/a"))
        assert (await invoke(stage, call, Losing())).refusal is Refusal.CONTENDED
        assert await stage.node("/a") is None

    run(scenario())


def test_nothing_is_refused_while_a_transaction_may_come(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, _, caller = await prepared(aws)
        call = await caller.prepare(create("/a"))
        # takes effect, but no answer comes: the copy itself finds out, and says so
        answer = await invoke(stage, call, Failing(aws, calls(COMMIT), after=True))
        assert codes(answer) == [Code.OK]

    run(scenario())


def test_no_caller_is_trusted(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, client, caller = await prepared(aws)
        victim = await stage.client()
        call = await caller.prepare(ExpireSession(1), who=Principal(victim.session))
        assert codes(await invoke(stage, call)) == [Code.NO_AUTH]
        forged = await caller.prepare(create("/a"), who=Principal(client.session, 1, b"guessed"))
        assert codes(await invoke(stage, forged)) == [Code.SESSION_EXPIRED]
        assert await stage.session(victim) is not None

    run(scenario())


def test_an_sqs_event_is_no_call(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage, client, _ = await prepared(aws)
        await stage.send(client.gateway, (client, create("/a")))
        with pytest.raises(ValueError, match="KeyError"):
            await invoke(stage, {"Records": await stage.receive()})
        assert await stage.node("/a") is None

    run(scenario())
