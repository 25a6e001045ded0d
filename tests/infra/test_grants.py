"""What a gateway and an operator do with nothing but what their grants allow, on a deployed service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, SessionExpiredError

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.blocks.blobs import blob_key, read_blob, write_blob
from faaskeeper.blocks.errors import AccessDenied
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper_cdk import CoordinationService, Tier
from faaskeeper_client.administration.dead_letters import drop, list_letters, redrive
from faaskeeper_client.administration.sessions import scan_sessions
from faaskeeper_client.administration.status import read_status
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud

from .granted import Granted
from .reading import Statement, statements

Templates = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def deployed(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> Generator[tuple[BotoAws, Service]]:
    account = new_account()
    service = cloud.deploy("tests", account=account)
    aws = BotoAws(session=cloud.session(account))
    yield aws, service
    aws.close()


def of(template: dict[str, Any], role: str) -> list[Statement]:
    return [statement for statement in statements(template) if statement.role.startswith(role)]


@contextmanager
def connected(aws: BotoAws | Granted, service: Service) -> Iterator[KazooClient]:
    with GatewayThread(aws, service) as gateway:
        client = KazooClient(gateway.hosts)
        client.start()
        yield client
        client.stop()
        client.close()


def test_a_gateway_needs_nothing_but_grant_client(deployed: tuple[BotoAws, Service], template: Templates) -> None:
    aws, service = deployed
    granted = Granted(aws, service, of(template("development"), "Client"))
    with connected(granted, service) as client, connected(aws, service) as anybody:
        fired = client.handler.event_object()
        client.create("/node", b"small")
        client.get("/node", watch=lambda event: fired.set())
        client.get_children("/node", watch=lambda event: None)
        client.exists("/missing", watch=lambda event: None)
        client.create("/node/ephemeral", ephemeral=True)
        anybody.set("/node", b"beside the item" * 1000)
        assert fired.wait(10)
        assert client.get("/node")[0] == b"beside the item" * 1000
        client.set("/node", b"in the bucket" * 10_000)
        assert client.get("/node")[0] == b"in the bucket" * 10_000
        client.sync("/node")
        client.delete("/node", recursive=True)
    assert granted.refused == []
    assert granted.allowed == {
        action for statement in of(template("development"), "Client") for action in statement.actions
    } - {"ssm:GetParameter"}


@pytest.fixture(scope="module")
def of_a_subtree(synthesize: Callable[..., tuple[dict[str, Any], Any]]) -> list[Statement]:
    def fill(stack: Stack) -> None:
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        service.grant_client(iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")), "/app")

    return of(synthesize(fill)[0], "Client")


def test_a_gateway_of_a_subtree_works_beside_others(
    deployed: tuple[BotoAws, Service], of_a_subtree: list[Statement]
) -> None:
    aws, service = deployed
    granted = Granted(aws, service, of_a_subtree)
    with connected(aws, service) as anybody, connected(granted, service) as client:
        anybody.create("/app")
        anybody.create("/elsewhere")
        assert client.get_children("/app") == []
        fired = client.handler.event_object()
        client.get("/app", watch=lambda event: fired.set())
        with anybody.transaction() as both:
            both.set_data("/app", b"one")
            both.set_data("/elsewhere", b"other")
        assert fired.wait(10)
        assert client.get("/app")[0] == b"one"
        client.create("/app/mine", ephemeral=True)
        assert anybody.get_children("/app") == ["mine"]
        with pytest.raises((ConnectionLoss, SessionExpiredError)):
            client.get("/elsewhere")


def test_an_operator_needs_nothing_but_grant_admin(deployed: tuple[BotoAws, Service], template: Templates) -> None:
    aws, service = deployed
    granted = Granted(aws, service, of(template("development"), "Admin"))

    async def operate() -> None:
        await read_status(granted, service, patience=10)
        await scan_sessions(granted, service)
        for body in ("no timer", encode_timer(GatewayTimer("gone", 1, 1))):
            await aws.call("sqs", "send_message", QueueUrl=service.dead_letters, MessageBody=body)
        assert len(await list_letters(granted, service)) == 2
        assert len(await redrive(granted, service, None)) == 1
        assert len(await drop(granted, service, None)) == 1

    asyncio.run(operate())
    assert granted.refused == []
    assert granted.allowed == {
        action for statement in of(template("development"), "Admin") for action in statement.actions
    } - {"ssm:GetParameter"}


NODE = {"path": {"S": "/node"}, "part": {"S": "node"}}
SESSION = {"id": {"S": "session#0000000000000001"}, "part": {"S": "session"}}
OTHER_GATEWAY = {"id": {"S": "gateway#other"}, "part": {"S": "gateway"}}
HEAD = {"pk": {"S": "head"}, "sk": {"S": "head"}}


def update(table: str, key: object, attribute: str, condition: str = "") -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": key,
        "UpdateExpression": "SET #attribute = :value",
        "ExpressionAttributeNames": {"#attribute": attribute},
        "ExpressionAttributeValues": {":value": {"S": "forged"}},
    } | ({"ConditionExpression": condition} if condition else {})


def forbidden(service: Service) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """What docs/security.md says that a client cannot do, as the calls that would do it."""
    queues = service.requests.rsplit("/", 1)[0]
    znode = {"TableName": service.znodes}
    replies = f"{queues}/{service.reply_prefix}other"
    return {
        "change data": ("dynamodb", "update_item", update(service.znodes, NODE, "data")),
        "change a version": ("dynamodb", "update_item", update(service.znodes, NODE, "version")),
        "create a znode": ("dynamodb", "update_item", update(service.znodes, NODE, "czxid")),
        "change an ACL": ("dynamodb", "update_item", update(service.znodes, NODE, "acl")),
        "learn of what it may not write": (
            "dynamodb",
            "update_item",
            update(service.znodes, NODE, "watch_data", "version = :value"),
        ),
        "keep a znode in transactions": (
            "dynamodb",
            "transact_write_items",
            {"TransactItems": [{"Update": update(service.znodes, NODE, "watch_data")}]},
        ),
        "keep a gateway in transactions": (
            "dynamodb",
            "transact_write_items",
            {"TransactItems": [{"Update": update(service.sessions, OTHER_GATEWAY, "beat")}]},
        ),
        "put a znode": ("dynamodb", "put_item", {**znode, "Item": NODE}),
        "delete a znode": ("dynamodb", "delete_item", {**znode, "Key": NODE}),
        "list all znodes": ("dynamodb", "scan", {**znode}),
        "move the head": ("dynamodb", "update_item", update(service.ledger, HEAD, "zxid")),
        "forge an event": ("dynamodb", "put_item", {"TableName": service.ledger, "Item": HEAD}),
        "change a password": ("dynamodb", "update_item", update(service.sessions, SESSION, "password_hash")),
        "lengthen a session": ("dynamodb", "update_item", update(service.sessions, SESSION, "timeout")),
        "delete a session": ("dynamodb", "delete_item", {"TableName": service.sessions, "Key": SESSION}),
        "mark a gateway dead": ("dynamodb", "update_item", update(service.sessions, OTHER_GATEWAY, "state")),
        "stop its timers": ("dynamodb", "update_item", update(service.sessions, OTHER_GATEWAY, "timer")),
        "take requests away": ("sqs", "receive_message", {"QueueUrl": service.requests}),
        "delete requests": ("sqs", "delete_message", {"QueueUrl": service.requests}),
        "take timers away": ("sqs", "receive_message", {"QueueUrl": service.timers}),
        "send a reply": ("sqs", "send_message", {"QueueUrl": replies, "MessageBody": "forged"}),
        "send a dead letter": ("sqs", "send_message", {"QueueUrl": service.dead_letters, "MessageBody": "forged"}),
        "overwrite an object": ("s3", "put_object", {"Key": "blobs/tests/gateway/there", "Body": b""}),
        "write a journal": ("s3", "put_object", {"Key": "journal/tests/forged", "Body": b"", "IfNoneMatch": "*"}),
        "write to another service": ("s3", "put_object", {"Key": "blobs/other/x", "Body": b"", "IfNoneMatch": "*"}),
        "delete an object": ("s3", "delete_object", {"Key": "blobs/tests/gateway/there"}),
        "list the bucket": ("s3", "list_objects_v2", {}),
        "invoke a function": ("lambda", "invoke", {"FunctionName": "sequencer"}),
    }


def test_a_client_can_write_nothing_else(deployed: tuple[BotoAws, Service], template: Templates) -> None:
    aws, service = deployed
    granted = Granted(aws, service, of(template("development"), "Client"))

    async def refuses(of_aws: str, operation: str, parameters: dict[str, Any]) -> bool:
        try:
            await granted.call(of_aws, operation, **parameters)
        except AccessDenied:
            return True
        return False

    async def attempt() -> list[str]:
        return [what for what, call in forbidden(service).items() if not await refuses(*call)]

    assert asyncio.run(attempt()) == []


def test_what_is_in_the_bucket_stays_as_it_is(deployed: tuple[BotoAws, Service], template: Templates) -> None:
    """Whoever reads a znode knows where its data is; what may be put must be new."""
    aws, service = deployed
    granted = Granted(aws, service, of(template("development"), "Client"))
    key = blob_key(service, "gateway", "0" * 32)

    async def put_twice() -> bytes:
        await write_blob(granted, service, key, b"first")
        await write_blob(granted, service, key, b"second")
        return await read_blob(granted, service, key)

    assert asyncio.run(put_twice()) == b"first"
