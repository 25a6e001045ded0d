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

from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper.storage.aws import BotoAws
from faaskeeper_cdk import CoordinationService, Tier
from faaskeeper_client.cli.dead_letters import drop, list_letters, redrive
from faaskeeper_client.cli.sessions import scan_sessions
from faaskeeper_client.cli.status import read_status
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.serving import GatewayThread

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
    with connected(granted, service) as client:
        fired = client.handler.event_object()
        client.create("/node", b"small")
        client.get("/node", watch=lambda event: fired.set())
        client.get_children("/node", watch=lambda event: None)
        client.exists("/missing", watch=lambda event: None)
        client.create("/node/ephemeral", ephemeral=True)
        client.set("/node", b"beside the item" * 1000)
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
        assert client.get("/app")[0] == b"one"
        assert fired.wait(10)
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
