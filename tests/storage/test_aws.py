"""The seam to AWS: what an answer that does not come becomes, and what may be repeated."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.exceptions
import pytest

from faaskeeper.blocks.aws import BotoAws, typed_error
from faaskeeper.blocks.errors import AccessDenied, AwsError, ConditionFailed, Throttled, Unavailable
from faaskeeper.blocks.retry import repeat
from faaskeeper_client.local.cloud import CloudSession


@contextmanager
def answering_after(seconds: float, status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything with an empty document; its URL, and the paths it was asked for."""
    done = threading.Event()
    asked: list[str] = []

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            done.wait(seconds)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        done.set()
        server.shutdown()
        server.server_close()


def test_only_a_call_that_asks_to_wait_is_waited_for() -> None:
    with answering_after(1.0) as (url, _):
        aws = BotoAws("us-east-1", timeout=0.2, session=CloudSession(url, "123456789012", "us-east-1"))

        async def scenario() -> None:
            with pytest.raises(Unavailable):
                await aws.call("sqs", "send_message", QueueUrl=f"{url}/queue", MessageBody="x")
            polled = await aws.call("sqs", "receive_message", QueueUrl=f"{url}/queue", WaitTimeSeconds=20)
            assert "Messages" not in polled

        asyncio.run(scenario())
        aws.close()


def test_a_call_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the environment asks for more: nobody but the caller knows for how long it may be repeated."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    with answering_after(0, status=503) as (url, asked):
        aws = BotoAws("us-east-1", session=CloudSession(url, "123456789012", "us-east-1"))
        with pytest.raises(Unavailable):
            asyncio.run(aws.call("sqs", "send_message", QueueUrl=f"{url}/queue", MessageBody="x"))
        assert len(asked) == 1
        aws.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestTimeout", Unavailable),  # S3's, with status 400
        ("Throttling", Throttled),
        ("KMS.ThrottlingException", Throttled),
        ("InvalidSignatureException", AccessDenied),
        ("ValidationException", AwsError),
    ],
)
def test_what_is_refused_for_good_is_the_rest(code: str, kind: type[AwsError]) -> None:
    error = botocore.exceptions.ClientError({"Error": {"Code": code, "Message": ""}}, "Any")
    assert type(typed_error("any", "any", error)) is kind


UNKNOWN = Unavailable("sqs", "send_message", "ReadTimeout")


@pytest.mark.parametrize(
    ("last", "raised"),
    [
        (Throttled("sqs", "send_message", "RequestThrottled"), Unavailable),
        (AccessDenied("sqs", "send_message", "ExpiredToken"), Unavailable),
        (ConditionFailed("dynamodb", "update_item", "ConditionalCheckFailed"), ConditionFailed),
    ],
    ids=["throttled", "denied", "condition"],
)
def test_what_an_earlier_try_did_stays_unknown(last: AwsError, raised: type[AwsError]) -> None:
    """Whoever is told that nothing was done would go on as if it had not been."""
    errors = iter([UNKNOWN])

    async def call() -> None:
        raise next(errors, last)

    with pytest.raises(raised):
        asyncio.run(repeat(call, seconds=0.1))


def test_nothing_was_done_if_no_try_says_otherwise() -> None:
    async def call() -> None:
        raise Throttled("sqs", "send_message", "RequestThrottled")

    with pytest.raises(Throttled):
        asyncio.run(repeat(call, seconds=0.1))


def test_nothing_is_tried_again_after_its_time() -> None:
    """The machine may sleep between two tries, too."""
    now, tries = 0.0, 0

    async def call() -> None:
        nonlocal tries
        tries += 1
        asyncio.get_running_loop().call_soon(fall_asleep)
        raise UNKNOWN

    def fall_asleep() -> None:
        nonlocal now
        now += 360

    with pytest.raises(Unavailable):
        asyncio.run(repeat(call, seconds=120, clock=lambda: now))
    assert tries == 1
