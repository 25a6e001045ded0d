"""An old gateway with a new service, and the reverse: neither works, and both say what to do.

There is one version yet, so this process takes itself for another while the deployed functions stay what they are.
"""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import pytest
from kazoo.client import KazooClient

from faaskeeper import page
from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol import messages, service
from faaskeeper.protocol.messages import encode_refusal
from faaskeeper.protocol.service import PARAMETER_PREFIX, IncompatibleVersion
from faaskeeper.storage.keys import head_key
from faaskeeper_client.gateway_thread import GatewayThread

from .conftest import Deployed, start, until


@pytest.fixture
def described(deployed: Deployed) -> Any:
    """Sets the description of the service, until the end of the test."""
    ssm = deployed.session.client("ssm")

    def put(text: str) -> None:
        ssm.put_parameter(Name=f"{PARAMETER_PREFIX}{deployed.service.name}", Value=text, Type="String", Overwrite=True)

    yield put
    put(deployed.service.to_json())


@pytest.mark.parametrize(
    ("version", "refused", "upgrade"),
    [
        (0, "the gateway speaks protocol version 0, the service 1: upgrade the gateway", "this software"),
        (2, "the gateway speaks protocol version 2, the service 1: upgrade the service", "the service"),
    ],
    ids=["old gateway", "new gateway"],
)
def test_a_gateway_of_another_version_ends(
    deployed: Deployed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: int,
    refused: str,
    upgrade: str,
) -> None:
    aws = BotoAws(session=deployed.session)
    with GatewayThread(aws, deployed.service) as thread:
        monkeypatch.setattr(messages, "PROTOCOL_VERSION", version)
        monkeypatch.setattr(service, "PROTOCOL_VERSION", version)
        client = KazooClient(thread.hosts)
        client.start_async()
        expected = f"service 'local' has protocol version 1, this software {version}: upgrade {upgrade}"
        until(lambda: expected in caplog.text, "the gateway's last words")
        assert refused in caplog.text
        until(lambda: not listens(thread), "the end of the server")
        assert not client.connected
        client.stop()
        client.close()
    aws.close()
    letters = deployed.session.client("sqs").receive_message(QueueUrl=deployed.service.dead_letters)
    assert "Messages" not in letters


def listens(thread: GatewayThread) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((thread.address.host, thread.address.port)) == 0


def test_a_gateway_whose_service_is_upgraded_exits_and_says_why(deployed: Deployed, described: Any) -> None:
    sqs = deployed.session.client("sqs")
    process = start("gateway", "--service", "local", "--listen", "127.0.0.1:0", environment=deployed.environment)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready ")
    described(replace(deployed.service, protocol_version=2).to_json())
    for url in sqs.list_queues(QueueNamePrefix=deployed.service.reply_prefix)["QueueUrls"]:
        sqs.send_message(QueueUrl=url, MessageBody='{"v":2,"refused":"upgrade the gateway"}')
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.splitlines()[-1] == (
        "faaskeeper: service 'local' has protocol version 2, this software 1: "
        f"upgrade this software ({page('operations.md#upgrade')})"
    )


def test_a_refusal_that_the_description_does_not_bear_out_drops_connections_and_no_more(deployed: Deployed) -> None:
    """From a sequencer that is about to be replaced."""
    sqs = deployed.session.client("sqs")
    aws = BotoAws(session=deployed.session)
    with GatewayThread(aws, deployed.service) as thread:
        client = KazooClient(thread.hosts)
        client.start()
        for url in sqs.list_queues(QueueNamePrefix=deployed.service.reply_prefix)["QueueUrls"]:
            sqs.send_message(QueueUrl=url, MessageBody=encode_refusal("upgrade"))
        dropped = []
        client.add_listener(dropped.append)
        until(lambda: bool(dropped) and client.connected, "the way back")
        assert client.exists("/zookeeper")
        client.stop()
        client.close()
    aws.close()


@pytest.mark.parametrize(("version", "upgrade"), [("0", "the service"), ("2", "this software")])
def test_tables_of_another_version_are_left_alone(
    deployed: Deployed, gateway: GatewayThread, version: str, upgrade: str
) -> None:
    """By a gateway that starts. What the sequencer does is tested where there is one to look into."""
    dynamodb = deployed.session.client("dynamodb")

    def set_version(number: str) -> None:
        dynamodb.update_item(
            TableName=deployed.service.ledger,
            Key=head_key().attributes,
            UpdateExpression="SET version = :version",
            ExpressionAttributeValues={":version": {"N": number}},
        )

    aws = BotoAws(session=deployed.session)
    set_version(version)
    try:
        with pytest.raises(IncompatibleVersion, match=f"^the ledger has data version {version}, .*upgrade {upgrade} "):
            GatewayThread(aws, deployed.service).start()
    finally:
        set_version("1")
        aws.close()


def test_every_message_and_the_description_carry_their_version(deployed: Deployed) -> None:
    described = json.loads(deployed.service.to_json())
    assert (described["data_version"], described["protocol_version"]) == (1, 1)
    head = deployed.session.client("dynamodb").get_item(TableName=deployed.service.ledger, Key=head_key().attributes)[
        "Item"
    ]
    assert head["version"] == {"N": "1"}
