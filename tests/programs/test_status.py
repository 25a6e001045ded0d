"""``faaskeeper status``: what an operator sees of a service that works, and of one that does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from kazoo.client import KazooClient

from faaskeeper_client.cli import main
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud

from .conftest import Deployed, Result, until

Status = Callable[..., Result]


@pytest.fixture
def status(aws_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Status:
    def run(*options: str, service: str = "local") -> Result:
        capsys.readouterr()
        code = main(["status", "--service", service, *options])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def read(result: Result) -> Any:
    return json.loads(result.out)


@pytest.fixture
def troubled(cloud: EmbeddedCloud, account: str, aws_environment: pytest.MonkeyPatch) -> Deployed:
    """A service of the test's own that nobody uses, to be broken."""
    environment = cloud.environment(account)
    for name, value in environment.items():
        if name.startswith("AWS_"):
            aws_environment.setenv(name, value)
    return Deployed(cloud.deploy("troubled", account=account), cloud.session(account), environment)


def test_a_service_that_works(status: Status, gateway: GatewayThread, zk: KazooClient) -> None:
    zk.create("/status-test", ephemeral=True)
    result = status("--json")
    assert (result.status, result.err) == (0, "")
    found = read(result)
    assert (found["service"], found["region"], found["healthy"], found["problems"]) == ("local", "us-east-1", True, [])
    assert int(found["zxid"], 16) >= zk.exists("/status-test").czxid
    assert found["deadLetters"] == 0
    assert found["timers"]["delayed"] + found["timers"]["waiting"] + found["timers"]["taken"] >= 1
    (mine,) = [each for each in found["gateways"] if each["alive"]]
    assert mine["beat"] >= 1
    assert mine["timeout"] > 0
    assert mine["sessions"] == found["sessions"] >= 1


def test_for_people(status: Status, zk: KazooClient) -> None:
    result = status()
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[:2] == ["service       local in us-east-1", "health        healthy"]
    assert any(line.split()[:2] == ["GATEWAY", "STATE"] for line in lines)
    assert any(line.split()[1:2] == ["alive"] for line in lines)
    assert lines[-1] == "last errors   none in 1 h"


def test_a_service_nobody_used(status: Status, troubled: Deployed) -> None:
    found = read(status("--json", service=troubled.service.name))
    assert (found["healthy"], found["zxid"], found["gateways"], found["sessions"]) == (True, "0x0", [], 0)


def test_what_a_gateway_answers_from_memory(status: Status, gateway: GatewayThread, zk: KazooClient) -> None:
    zk.ensure_path("/status-memory")
    for _ in range(200):
        zk.get("/status-memory")
    found = read(status("--json", "--gateway", gateway.hosts))["memory"][gateway.hosts]
    assert found["hits"] >= 100
    assert found["entries"] >= 1
    (line,) = [line for line in status("--gateway", gateway.hosts).out.splitlines() if line.startswith("memory")]
    assert re.fullmatch(
        rf"memory        at {gateway.hosts}: \d+ of \d+ reads \(\d+%\), \d+ entries in \d+ bytes, \d+ invalidations",
        line,
    )
    nobody = status("--gateway", "127.0.0.1:1")
    assert nobody.status == 1
    assert nobody.err.startswith("faaskeeper: no gateway answers at 127.0.0.1:1: ")


def test_a_write_stall_and_its_end(status: Status, troubled: Deployed) -> None:
    functions, queues = troubled.session.client("lambda"), troubled.session.client("sqs")
    (mapping,) = [
        each
        for each in functions.list_event_source_mappings()["EventSourceMappings"]
        if each["EventSourceArn"].endswith(troubled.service.requests.rsplit("/", 1)[1])
    ]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    queues.send_message(
        QueueUrl=troubled.service.requests, MessageBody="?", MessageGroupId="g", MessageDeduplicationId="1"
    )

    stalled = status("--json", "--patience", "0.1", service=troubled.service.name)
    assert stalled.status == 1
    assert read(stalled)["problems"] == ["write stall: 1 requests wait and none is done with"]
    assert stalled.err == "faaskeeper: service troubled is not healthy\n"

    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    until(
        lambda: read(status("--json", service=troubled.service.name))["deadLetters"] == 1, "the message in quarantine"
    )
    quarantined = status(service=troubled.service.name)
    assert quarantined.status == 1
    lines = quarantined.out.splitlines()
    assert "health        1 dead letters" in lines
    assert lines[-2] == "last errors   1"
    assert re.fullmatch(r"  \d\d:\d\d:\d\d faaskeeper\.blocks\.delivery: message .* is no request: .*", lines[-1])
    (logged,) = read(status("--json", service=troubled.service.name))["lastErrors"]
    assert "is no request" in logged["message"]
    queues.purge_queue(QueueUrl=troubled.service.dead_letters)
    assert status(service=troubled.service.name).status == 0


def test_requests_that_waited_too_long(status: Status, troubled: Deployed) -> None:
    """The emulator measures no queue; AWS does not let anybody write its metrics."""
    troubled.session.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": troubled.service.requests.rsplit("/", 1)[1]}],
                "Timestamp": datetime.now(UTC),
                "Value": 31.0,
                "Unit": "Seconds",
            }
        ],
    )
    result = status("--json", service=troubled.service.name)
    assert result.status == 1
    assert read(result)["requests"]["oldest"] == 31.0
    assert read(result)["problems"] == ["slow writes: the oldest request waited for 31 s"]


def test_no_such_service(status: Status) -> None:
    result = status(service="nope")
    assert (result.status, result.out) == (3, "")
    assert "there is no FaaSKeeper service 'nope'" in result.err
