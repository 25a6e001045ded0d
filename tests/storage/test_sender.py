"""Calls that are sent without boto3: the same requests, answers and errors as its own, each sent once, in time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials

from faaskeeper.blocks import connections, sender
from faaskeeper.blocks.aws import BotoAws, typed_error
from faaskeeper.blocks.errors import AccessDenied, AwsError, NotSent, Throttled, Unavailable
from faaskeeper.blocks.retry import passing, repeat
from faaskeeper_client.local.cloud import CloudSession
from tests.storage.server import Asked, Said, Served, serving

KEY = {"pk": {"S": "a"}, "sk": {"S": "é"}}
ITEM = {
    **KEY,
    "B": {"B": b"\x00\xff"},
    "BS": {"BS": [b"1", b"\x80"]},
    "M": {"M": {"B": {"S": "B"}, "BS": {"L": [{"B": b""}, {"NULL": True}, {"BOOL": False}]}}},
    "N": {"N": "-1.5e10"},
    "S": {"SS": ["x", "y"]},
}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("dynamodb", "get_item", {"TableName": "table", "Key": KEY, "ConsistentRead": True}),
    ("dynamodb", "put_item", {"TableName": "table", "Item": ITEM, "ConditionExpression": "attribute_not_exists(pk)"}),
    ("dynamodb", "batch_get_item", {"RequestItems": {"table": {"Keys": [KEY], "ConsistentRead": True}}}),
    (
        "dynamodb",
        "transact_write_items",
        {
            "TransactItems": [
                {"Put": {"TableName": "table", "Item": ITEM}},
                {
                    "Update": {
                        "TableName": "table",
                        "Key": KEY,
                        "UpdateExpression": "SET #b = :b",
                        "ExpressionAttributeNames": {"#b": "B"},
                        "ExpressionAttributeValues": {":b": {"B": bytearray(b"x")}},
                    }
                },
            ],
            "ClientRequestToken": "token",
        },
    ),
    ("sqs", "send_message", {"QueueUrl": "http://127.0.0.1/1/q.fifo", "MessageBody": "é", "MessageGroupId": "g"}),
    ("sqs", "receive_message", {"QueueUrl": "http://127.0.0.1/1/q", "AttributeNames": ["All"]}),
    ("sqs", "list_queues", {"QueueNamePrefix": "x"}),
    (
        "lambda",
        "invoke",
        {
            "FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "Qualifier": "live 1",
            "LogType": "None",
            "Payload": b'{"a": "\xc3\xa9"}',
        },
    ),
    ("lambda", "invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": b"{}"}),
]


def boto3_client(url: str, service: str) -> Any:
    config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
    return CloudSession(url, "123456789012", "us-east-1").client(service, config=config)


def aws_at(served: Served, **options: Any) -> closing[BotoAws]:
    return closing(BotoAws(session=CloudSession(served.url, "123456789012", "us-east-1"), **options))


async def get(aws: BotoAws) -> Any:
    return await aws.call("dynamodb", "get_item", TableName="table", Key=KEY)


class TestLikeBoto3:
    @pytest.mark.parametrize("repeated", [False, True], ids=["first", "later"])
    @pytest.mark.parametrize(("service", "operation", "parameters"), CALLS, ids=lambda value: str(value)[:20])
    def test_requests(self, service: str, operation: str, parameters: dict[str, Any], repeated: bool) -> None:
        with serving(lambda asked: Said(b"null" if "functions" in asked.path else b"{}")) as served:
            with aws_at(served) as aws:

                async def scenario() -> None:
                    if repeated:  # what one call has, another need not have
                        other = {"FunctionName": "g", "ClientContext": "e30="} if service == "lambda" else parameters
                        await aws.call(service, operation, **other)
                    await aws.call(service, operation, **parameters)

                asyncio.run(scenario())
            getattr(boto3_client(served.url, service), operation)(**parameters)
            ours, theirs = served.asked[-2:]
        assert (ours.path, _document(ours.body)) == (theirs.path, _document(theirs.body))
        assert _lasting(ours) == _lasting(theirs)
        assert _signature(ours) == ours.headers["Authorization"].rpartition("=")[2]

    @pytest.mark.parametrize(
        ("service", "operation", "parameters", "answer"),
        [
            ("dynamodb", "get_item", CALLS[0][2], {"Item": ITEM, "ConsumedCapacity": {"CapacityUnits": 0.5}}),
            ("dynamodb", "get_item", CALLS[0][2], {}),
            ("dynamodb", "scan", {"TableName": "t00"}, {"Items": [ITEM] * 3, "Count": 3, "LastEvaluatedKey": KEY}),
            ("dynamodb", "scan", {"TableName": "t00"}, {"Items": [{"B": ITEM["B"]}, {"BS": ITEM["BS"]}], "Count": 2}),
            (
                "dynamodb",
                "batch_get_item",
                CALLS[2][2],
                {
                    "Responses": {"table": [ITEM]},
                    "UnprocessedKeys": {"B_S": {"Keys": [KEY], "ExpressionAttributeNames": {"#B": "x"}}},
                },
            ),
            (
                "dynamodb",
                "update_item",
                {"TableName": "table", "Key": KEY, "ReturnValues": "ALL_NEW"},
                {"Attributes": ITEM},
            ),
            (
                "sqs",
                "receive_message",
                CALLS[5][2],
                {"Messages": [{"Body": "é", "Attributes": {"SequenceNumber": "18849496460467696128"}}]},
            ),
            ("sqs", "get_queue_attributes", {"QueueUrl": "http://q/1/q"}, {"Attributes": {"DelaySeconds": "0"}}),
        ],
    )
    def test_answers(self, service: str, operation: str, parameters: dict[str, Any], answer: Any) -> None:
        body = json.dumps(answer, default=lambda value: b64encode(value).decode()).encode()
        with serving(lambda _: Said(body, headers={"x-amz-crc32": str(zlib.crc32(body))})) as served:
            with aws_at(served) as aws:
                ours = asyncio.run(aws.call(service, operation, **parameters))
            theirs = getattr(boto3_client(served.url, service), operation)(**parameters)
        ours.pop("ResponseMetadata", None)
        theirs.pop("ResponseMetadata")
        assert ours == theirs
        assert ours == answer

    @pytest.mark.parametrize(
        ("service", "operation", "parameters", "said"),
        [
            (
                "dynamodb",
                "put_item",
                CALLS[1][2],
                Said(
                    b'{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",'
                    b'"message":"no","Item":{"a":{"B":"AP8="}}}',
                    400,
                ),
            ),
            (
                "dynamodb",
                "transact_write_items",
                CALLS[3][2],
                Said(
                    b'{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled",'
                    b'"CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Item":{"a":{"B":"AP8="}}}]}',
                    400,
                ),
            ),
            (
                "dynamodb",
                "get_item",
                CALLS[0][2],
                Said(
                    b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"x"}',
                    400,
                ),
            ),
            ("dynamodb", "get_item", CALLS[0][2], Said(b'{"__type":"com.amazon.coral#InternalServerError"}', 500)),
            ("dynamodb", "get_item", CALLS[0][2], Said(b"<html>bad gateway</html>", 502)),
            ("dynamodb", "get_item", CALLS[0][2], Said(b'{"__type":"ExpiredTokenException","message":"old"}', 400)),
            (
                "sqs",
                "send_message",
                CALLS[4][2],
                Said(
                    b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"gone"}',
                    400,
                    {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
                ),
            ),
            ("sqs", "send_message", CALLS[4][2], Said(b'{"__type":"com.amazonaws.sqs#RequestThrottled"}', 400)),
            (
                "lambda",
                "invoke",
                CALLS[7][2],
                Said(b'{"Reason":"x","message":"slow"}', 429, {"x-amzn-errortype": "TooManyRequestsException"}),
            ),
        ],
    )
    def test_errors(self, service: str, operation: str, parameters: dict[str, Any], said: Said) -> None:
        with serving(lambda _: said) as served:
            with aws_at(served) as aws, pytest.raises(AwsError) as ours:
                asyncio.run(aws.call(service, operation, **parameters))
            with pytest.raises(botocore.exceptions.ClientError) as theirs:
                getattr(boto3_client(served.url, service), operation)(**parameters)
        expected = typed_error(service, operation, theirs.value)
        assert type(ours.value) is type(expected)
        assert vars(ours.value) == vars(expected)
        assert str(ours.value) == str(expected)

    def test_an_invocation(self) -> None:
        """What the function answered is bytes, of any kind; boto3 has a stream there."""
        headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "$LATEST"}
        with serving(lambda _: Said(b"\xff\x00", headers=headers)) as served, aws_at(served) as aws:
            answer = asyncio.run(aws.call("lambda", "invoke", FunctionName="f", Payload=b"{}"))
        assert answer["Payload"] == b"\xff\x00"
        assert answer["FunctionError"] == "Unhandled"
        assert answer["StatusCode"] == 200

    def test_what_cannot_be_sent(self) -> None:
        with serving() as served, aws_at(served) as aws:

            async def scenario() -> None:
                await get(aws)
                with pytest.raises(AwsError) as refused:
                    await aws.call("dynamodb", "get_item", TableName="table", Kee=KEY)
                assert refused.value.code == "ParamValidation"

            asyncio.run(scenario())
            assert len(served.asked) == 1


class TestWhere:
    @pytest.mark.parametrize(
        ("variables", "account", "endpoint"),
        [
            ({}, None, "https://dynamodb.eu-west-1.amazonaws.com"),
            ({}, "123456789012", "https://123456789012.ddb.eu-west-1.amazonaws.com"),
            ({"AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}, "1", "https://dynamodb.eu-west-1.amazonaws.com"),
            ({"AWS_USE_FIPS_ENDPOINT": "true"}, None, "https://dynamodb-fips.eu-west-1.amazonaws.com"),
            ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, None, "https://dynamodb.eu-west-1.api.aws"),
            ({"AWS_ENDPOINT_URL": "http://here:1/under"}, None, "http://here:1/under"),
            ({"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_DYNAMODB": "http://y"}, None, "http://y"),
        ],
    )
    def test_endpoints(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], account: str | None, endpoint: str
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        session = boto3.session.Session(
            aws_access_key_id="a", aws_secret_access_key="b", aws_account_id=account, region_name="eu-west-1"
        )
        assert _plan(session).endpoint == endpoint

    def test_a_proxy_is_left_to_boto3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        assert _plan(session) is None
        monkeypatch.setenv("NO_PROXY", "amazonaws.com")
        assert _plan(session) is not None

    def test_nobody_is_asked_without_credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with closing(BotoAws("us-east-1")) as aws, pytest.raises(AccessDenied):
            asyncio.run(get(aws))

    def test_over_tls(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl, which makes the server's certificate, is not on the PATH")
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        make = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        )
        subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        with serving(lambda _: Said(b'{"Item": {}}'), tls) as served:
            with aws_at(served) as stranger, pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                asyncio.run(get(stranger))
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
            with aws_at(served) as aws:

                async def scenario() -> None:
                    for _ in range(3):
                        assert await get(aws) == {"Item": {}}

                asyncio.run(scenario())
            assert len({asked.connection for asked in served.asked}) == 1


class TestWhen:
    def test_what_waited_too_long_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on a machine that slept. Whoever repeats it is told that nothing was done, unless something may have."""
        now = 0.0
        monkeypatch.setattr("faaskeeper.blocks.aws.boot_time", lambda: now)
        monkeypatch.setattr(sender, "boot_time", lambda: now)
        first_came, go_on = threading.Event(), threading.Event()

        def answer(_: Asked) -> Said:
            first_came.set()
            go_on.wait()
            return Said()

        with serving(answer) as served, aws_at(served, most=1, unsent=30.0) as aws:

            async def scenario() -> None:
                nonlocal now
                first = asyncio.ensure_future(get(aws))
                await asyncio.to_thread(first_came.wait)
                second = asyncio.ensure_future(get(aws))
                await asyncio.sleep(0)
                now = 31.0
                go_on.set()
                await first
                with pytest.raises(NotSent) as late:
                    await second
                assert passing(late.value)
                assert await get(aws) == {}

            asyncio.run(scenario())
            assert len(served.asked) == 2

    def test_of_an_earlier_try_nothing_is_known(self) -> None:
        errors = iter([Unavailable("sqs", "send_message", "TimeoutError")])

        async def call() -> None:
            raise next(errors, NotSent("sqs", "send_message", "NotSent"))

        with pytest.raises(Unavailable):
            asyncio.run(repeat(call, seconds=0.1))

    def test_credentials_that_run_out_are_refreshed(self) -> None:
        times = 0

        def refresh() -> dict[str, str]:
            nonlocal times
            times += 1
            left = timedelta(minutes=1 if times == 1 else 60)
            return {
                "access_key": f"KEY{times}",
                "secret_key": "secret",
                "token": f"token{times}",
                "expiry_time": (datetime.now(UTC) + left).isoformat(),
            }

        with serving() as served:
            session = _session_with(RefreshableCredentials.create_from_metadata(refresh(), refresh, "test"), served.url)
            with closing(BotoAws(session=session)) as aws:

                async def scenario() -> None:
                    for _ in range(3):
                        await get(aws)

                asyncio.run(scenario())
        assert [asked.headers["X-Amz-Security-Token"] for asked in served.asked] == ["token2"] * 3
        assert all("Credential=KEY2/" in asked.headers["Authorization"] for asked in served.asked)
        assert times == 2


class TestConnections:
    @pytest.fixture
    def closes(self) -> list[int]:
        """Numbers of requests after which the server ends the connection."""
        return []

    @pytest.fixture
    def served(self, closes: list[int]) -> Iterator[Served]:
        count = 0

        def answer(_: Asked) -> Said:
            nonlocal count
            count += 1
            return Said(closes=count in closes)

        with serving(answer) as served:
            yield served

    def test_one_is_kept(self, served: Served) -> None:
        with aws_at(served) as aws:
            asyncio.run(_one_after_the_other(aws, 5))
        assert [asked.connection for asked in served.asked] == [0] * 5

    def test_as_many_as_are_needed(self, served: Served) -> None:
        with aws_at(served, most=3) as aws:

            async def scenario() -> None:
                await asyncio.gather(*(get(aws) for _ in range(20)))

            asyncio.run(scenario())
        assert len(served.asked) == 20
        assert len({asked.connection for asked in served.asked}) <= 3

    @pytest.mark.parametrize("asleep", [False, True], ids=["awake", "while the loop stood still"])
    def test_one_that_the_server_has_closed(self, served: Served, closes: list[int], asleep: bool) -> None:
        closes.append(2)
        with aws_at(served) as aws:

            async def scenario() -> None:
                await _one_after_the_other(aws, 2)
                if asleep:
                    served.ended.acquire(timeout=10)  # as between a function's invocations
                else:
                    await asyncio.to_thread(served.ended.acquire)
                await _one_after_the_other(aws, 2)

            asyncio.run(scenario())
        assert [asked.connection for asked in served.asked] == [0, 0, 1, 1]

    def test_one_that_nobody_used_for_long(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr(connections, "boot_time", lambda: now)
        with aws_at(served) as aws:

            async def scenario() -> None:
                nonlocal now
                await get(aws)
                now += connections.MAX_IDLE_SECONDS - 1
                await get(aws)
                now += connections.MAX_IDLE_SECONDS + 1
                await get(aws)

            asyncio.run(scenario())
        assert [asked.connection for asked in served.asked] == [0, 0, 1]

    def test_of_two_event_loops(self, served: Served) -> None:
        with aws_at(served) as aws:
            asyncio.run(_one_after_the_other(aws, 2))
            asyncio.run(_one_after_the_other(aws, 2))
        assert [asked.connection for asked in served.asked] == [0, 0, 1, 1]

    def test_an_answer_that_ends_too_early_is_asked_for_once(self) -> None:
        with serving(lambda _: Said(b'{"It', length=100, closes=True)) as served, aws_at(served) as aws:
            with pytest.raises(Unavailable):
                asyncio.run(get(aws))
            assert len(served.asked) == 1

    def test_a_call_that_is_given_up_takes_its_connection_along(self) -> None:
        come, go_on = threading.Event(), threading.Event()

        def answer(asked: Asked) -> Said:
            if asked.connection == 0:
                come.set()
                go_on.wait()
                return Said(b'{"Item": {"for": {"S": "nobody"}}}')
            return Said()

        with serving(answer) as served, aws_at(served) as aws:

            async def scenario() -> None:
                call = asyncio.ensure_future(get(aws))
                await asyncio.to_thread(come.wait)
                call.cancel()
                go_on.set()
                assert await get(aws) == {}

            asyncio.run(scenario())

    def test_nobody_listens(self) -> None:
        with serving() as served:
            pass
        with aws_at(served) as aws, pytest.raises(Unavailable):
            asyncio.run(get(aws))

    @pytest.mark.parametrize("said", [Said(headers={"x-amz-crc32": "1"}), Said(b"no JSON")], ids=["checksum", "JSON"])
    def test_what_is_no_answer(self, said: Said) -> None:
        with serving(lambda _: said) as served, aws_at(served) as aws, pytest.raises(Unavailable):
            asyncio.run(get(aws))

    @pytest.mark.parametrize("chunked", [False, True])
    def test_large_bodies(self, chunked: bool) -> None:
        item = {"data": {"B": bytes(range(256)) * 12_000}}

        def answer(asked: Asked) -> Said:
            return Said(json.dumps({"Item": json.loads(asked.body)["Item"]}).encode(), chunked=chunked)

        with serving(answer) as served, aws_at(served) as aws:

            async def scenario() -> None:
                for _ in range(2):
                    assert await aws.call("dynamodb", "put_item", TableName="table", Item=item) == {"Item": item}

            asyncio.run(scenario())
            assert [asked.connection for asked in served.asked] == [0, 0]

    def test_a_throttled_call_leaves_its_connection(self, served: Served) -> None:
        body = b'{"__type":"ThrottlingException","message":"slow down"}'
        with serving(lambda asked: Said(body, 400)) as served, aws_at(served) as aws:

            async def scenario() -> None:
                for _ in range(2):
                    with pytest.raises(Throttled):
                        await get(aws)

            asyncio.run(scenario())
            assert [asked.connection for asked in served.asked] == [0, 0]


async def _one_after_the_other(aws: BotoAws, count: int) -> None:
    for _ in range(count):
        await get(aws)


def _plan(session: boto3.session.Session) -> Any:
    async def plan() -> Any:
        with closing(BotoAws(session=session)) as aws:
            return await aws._sender.plan("dynamodb", "get_item", {"TableName": "table", "Key": KEY})  # pyright: ignore[reportPrivateUsage]

    return asyncio.run(plan())


def _session_with(credentials: Credentials, url: str) -> boto3.session.Session:
    core = botocore.session.Session()
    core._credentials = credentials  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
    session = boto3.session.Session(botocore_session=core, region_name="us-east-1")
    make: Callable[..., Any] = session.client
    session.client = lambda service, **options: make(service, endpoint_url=url, **options)  # type: ignore[method-assign]
    return session


def _document(body: bytes) -> Any:
    return json.loads(body)


def _lasting(asked: Asked) -> dict[str, str]:
    """Its headers, without what is another in each call; what the SDK says of itself has a part that is."""
    headers = {name.lower(): value for name, value in asked.headers.items()}
    headers["user-agent"] = headers["user-agent"].split(" ")[0]
    changing = {"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "x-amz-content-sha256", "x-amz-date"}
    return {name: value for name, value in headers.items() if name not in changing | {"accept-encoding"}}


def _signature(asked: Asked) -> str:
    """As AWS computes it from what arrived (Signature Version 4)."""
    headers = {name.lower(): " ".join(value.split()) for name, value in asked.headers.items()}
    scope, signed, _ = (part.partition("=")[2] for part in headers["authorization"].split(", "))
    path, _, query = asked.path.partition("?")
    names = signed.split(";")
    assert {"host", "x-amz-date", "content-type"} & set(headers) <= set(names)
    canonical = "\n".join(
        [
            "POST",
            path.replace("%", "%25"),
            query,
            *(f"{name}:{headers[name]}" for name in names),
            "",
            signed,
            hashlib.sha256(asked.body).hexdigest(),
        ]
    )
    _, *parts = scope.split("/")
    text = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], "/".join(parts), hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = b"AWS4embedded"
    for part in [*parts, text]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()
