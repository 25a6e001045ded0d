"""``faaskeeper dead-letters``: what was given up, and what may be sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator
from hashlib import sha256
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.blocks.queues import send_request
from faaskeeper.protocol.messages import Principal, Request, RequestMessage, encode_requests
from faaskeeper.protocol.timers import GatewayTimer, SessionTimer, encode_timer
from faaskeeper.storage.sessions import beat, gateway_heartbeat, read_session
from faaskeeper.znode.operations import CreateSession
from faaskeeper_client.administration import dead_letters
from faaskeeper_client.cli import main

from .conftest import Deployed, Result, until

DeadLetters = Callable[..., Result]


@pytest.fixture
def letters(aws_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> DeadLetters:
    aws_environment.setattr(dead_letters, "_WAIT", 0)  # the embedded SQS is one server

    def run(*options: str) -> Result:
        capsys.readouterr()
        try:
            status = main(["dead-letters", *options, "--service", "local"])
        except SystemExit as exit:
            status = int(exit.code or 0)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


@pytest.fixture
def queues(deployed: Deployed) -> Any:
    sqs = deployed.session.client("sqs")
    sqs.purge_queue(QueueUrl=deployed.service.dead_letters)
    return sqs


@pytest.fixture
def aws(deployed: Deployed) -> Generator[BotoAws]:
    aws = BotoAws(session=deployed.session)
    yield aws
    aws.close()


def give_up(queues: Any, deployed: Deployed, body: str) -> str:
    """As a queue's redrive policy or the notifier's destination does; the message's id."""
    return queues.send_message(QueueUrl=deployed.service.dead_letters, MessageBody=body)["MessageId"]


def quarantine(queues: Any, deployed: Deployed) -> None:
    queues.send_message(
        QueueUrl=deployed.service.requests, MessageBody="nonsense", MessageGroupId="g", MessageDeduplicationId="?"
    )

    def quarantined() -> bool:
        got = queues.get_queue_attributes(QueueUrl=deployed.service.dead_letters, AttributeNames=["All"])
        return got["Attributes"]["ApproximateNumberOfMessages"] == "1"

    until(quarantined, "the message in quarantine")


def read(result: Result) -> Any:
    assert (result.status, result.err) == (0, "")
    return json.loads(result.out)


TIMER = encode_timer(GatewayTimer("gone", 3, 4))
HINT = json.dumps({"requestContext": {"condition": "RetriesExhausted"}, "requestPayload": {"gateways": ["g"]}})


def test_nothing_is_there(letters: DeadLetters, queues: Any) -> None:
    assert read(letters("list", "--json")) == []
    assert letters("list") == Result(0, "", "")
    assert read(letters("redrive", "--all", "--json")) == []


def test_each_kind_is_told_apart_and_stays(letters: DeadLetters, queues: Any, deployed: Deployed) -> None:
    quarantine(queues, deployed)
    for body in (TIMER, HINT, "who knows"):
        give_up(queues, deployed, body)
    found = {each["kind"]: each for each in read(letters("list", "--json"))}
    assert {kind: each["summary"].partition(" (")[0] for kind, each in found.items()} == {
        "request": "JSONDecodeError: Expecting value: line 1 column 1",
        "timer": "gateway gone at beat 3",
        "hint": "notifier: RetriesExhausted",
        "unknown": "who knows",
    }
    head, *lines = letters("list").out.splitlines()
    assert head.split() == ["ID", "KIND", "SENT", "WHAT"]
    assert len(lines) == 4

    shown = read(letters("show", found["request"]["id"], "--json"))
    assert shown["document"]["body"] == "nonsense"
    assert shown["document"]["sent"]["MessageGroupId"] == "g"
    assert '  "beat": 3,' in letters("show", found["timer"]["id"]).out.splitlines()

    for kind in ("request", "hint", "unknown"):
        refused = letters("redrive", found["timer"]["id"], found[kind]["id"])
        assert refused.status == 1
        assert refused.err.endswith("; drop it\n")
    assert len(read(letters("list", "--json"))) == 4

    assert [each["kind"] for each in read(letters("redrive", "--all", "--json"))] == ["timer"]
    assert [each["id"] for each in read(letters("drop", found["hint"]["id"], "--json"))] == [found["hint"]["id"]]
    assert {each["kind"] for each in read(letters("list", "--json"))} == {"request", "unknown"}
    assert len(read(letters("drop", "--all", "--json"))) == 2
    assert read(letters("list", "--json")) == []


def test_more_than_one_look_takes(letters: DeadLetters, queues: Any, deployed: Deployed) -> None:
    sent = {give_up(queues, deployed, str(number)) for number in range(23)}
    assert {each["id"] for each in read(letters("list", "--json"))} == sent
    assert {each["id"] for each in read(letters("drop", "--all", "--json"))} == sent


def test_a_timer_that_is_sent_again_does_its_work(
    letters: DeadLetters, queues: Any, deployed: Deployed, aws: BotoAws
) -> None:
    """A session whose gateway is dead, and whose timer was given up, expires after all."""
    service = deployed.service

    async def orphan() -> None:
        queues.create_queue(QueueName=f"{service.reply_prefix}dead")
        assert await beat(aws, service, "dead", 1, 1000)
        request = Request(Principal(77), 1, CreateSession(sha256(b"p").digest(), 1000))
        await send_request(aws, service, encode_requests(RequestMessage("dead", (request,))), "77", seconds=10)

    asyncio.run(orphan())
    until(lambda: asyncio.run(read_session(aws, service, 77)) is not None, "the session")
    assert asyncio.run(gateway_heartbeat(aws, service, "dead").declare_dead(1))
    give_up(queues, deployed, encode_timer(SessionTimer(77, 1)))
    assert len(read(letters("redrive", "--all", "--json"))) == 1
    until(lambda: asyncio.run(read_session(aws, service, 77)) is None, "the session's end")


def test_wrong_usage(letters: DeadLetters, queues: Any) -> None:
    missing = letters("drop", "no-such-id")
    assert (missing.status, missing.out) == (1, "")
    assert missing.err == "faaskeeper: no-such-id: no such dead letter, or somebody else is looking at it\n"
    assert letters("drop").status == 2
    assert letters("drop", "--all", "some-id").status == 2
