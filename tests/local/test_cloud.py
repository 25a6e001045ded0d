"""The embedded cloud: it runs what is deployed, keeps what it is told to keep, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faaskeeper.protocol.service import Service
from faaskeeper_client.local import CloudError, EmbeddedCloud


def receive(sqs: Any, queue: str, seconds: float = 20.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            return dict(message)
    pytest.fail(f"nothing arrived in {queue}")


def send_junk(cloud: EmbeddedCloud, account: str, service: Service) -> dict[str, Any]:
    """What the deployed sequencer makes of a message that is no request."""
    sqs = cloud.session(account).client("sqs")
    sqs.send_message(
        QueueUrl=service.requests,
        MessageBody="no request",
        MessageGroupId="requests",
        MessageDeduplicationId=str(time.monotonic_ns()),
    )
    quarantined: dict[str, Any] = json.loads(receive(sqs, service.dead_letters)["Body"])
    return quarantined


def processes_with(text: str) -> list[str]:
    return [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and text in _file(entry / "cmdline") + _file(entry / "environ")
    ]


def _file(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_the_queue_starts_the_deployed_function(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", account=account)
    assert send_junk(cloud, account, service)["body"] == "no request"
    assert [worker.function for worker in cloud.workers("Sequencer")]


def test_description_is_what_clients_read(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", account=account, inline_limit=2048)
    parameter = cloud.session(account).client("ssm").get_parameter(Name="/faaskeeper/one")
    assert Service.from_json(parameter["Parameter"]["Value"]) == service
    assert service.inline_limit == 2048
    tables = cloud.session(account).client("dynamodb").list_tables()["TableNames"]
    assert set(tables) == {service.znodes, service.sessions, service.ledger}


def test_deploying_again_changes_nothing_but_what_changed(cloud: EmbeddedCloud, account: str) -> None:
    before = cloud.deploy("one", account=account)
    cloud.session(account).client("dynamodb").put_item(
        TableName=before.znodes, Item={"path": {"S": "/kept"}, "part": {"S": "node"}}
    )
    after = cloud.deploy("one", account=account, inline_limit=2048)
    assert after.inline_limit == 2048
    assert after.znodes == before.znodes
    assert cloud.session(account).client("dynamodb").scan(TableName=after.znodes)["Count"] == 1


def test_event_records_expire(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", account=account)
    described = cloud.session(account).client("dynamodb").describe_time_to_live(TableName=service.ledger)
    assert described["TimeToLiveDescription"] == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}


def test_accounts_share_nothing(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> None:
    first, second = new_account(), new_account()
    cloud.deploy("one", account=first)
    assert cloud.session(second).client("dynamodb").list_tables()["TableNames"] == []
    cloud.deploy("one", account=second)
    assert cloud.session(first).client("sqs").list_queues() != cloud.session(second).client("sqs").list_queues()


def test_a_killed_function_starts_anew(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", account=account)
    send_junk(cloud, account, service)
    name = cloud.session(account).client("lambda").list_functions()["Functions"]
    (sequencer,) = [function["FunctionName"] for function in name if "Sequencer" in function["FunctionName"]]
    (worker,) = cloud.workers(sequencer)
    worker.kill()
    send_junk(cloud, account, service)
    assert worker.pid not in {worker.pid for worker in cloud.workers(sequencer)}


def test_data_is_kept_if_told_so(tmp_path: Path) -> None:
    with EmbeddedCloud(data=tmp_path / "data") as cloud:
        service = cloud.deploy("one")
        cloud.session().client("dynamodb").put_item(
            TableName=service.znodes, Item={"path": {"S": "/kept"}, "part": {"S": "node"}}
        )
        cloud.session().client("s3").put_object(Bucket=service.blobs, Key="blobs/kept", Body=b"\0\xff")
    with EmbeddedCloud(data=tmp_path / "data") as cloud:
        assert cloud.deploy("one") == service
        items = cloud.session().client("dynamodb").scan(TableName=service.znodes)["Items"]
        assert items == [{"path": {"S": "/kept"}, "part": {"S": "node"}}]
        body = cloud.session().client("s3").get_object(Bucket=service.blobs, Key="blobs/kept")["Body"].read()
        assert body == b"\0\xff"
        assert send_junk(cloud, cloud.account, service)["body"] == "no request"


def test_data_in_use_is_said_so(tmp_path: Path) -> None:
    with EmbeddedCloud(data=tmp_path) as cloud:
        port = cloud.endpoint_url.rsplit(":", 1)[1]
        with pytest.raises(CloudError, match=f"port {port}, which is in use"), EmbeddedCloud(data=tmp_path):
            pass


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with EmbeddedCloud() as cloud:
        service = cloud.deploy("one")
        send_junk(cloud, cloud.account, service)
        assert processes_with(str(tmp_path))
        port = int(cloud.endpoint_url.rsplit(":", 1)[1])
    assert processes_with(f"TMPDIR={tmp_path}") == []
    assert list(tmp_path.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_cloud_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = """
import time
from faaskeeper_client.local import EmbeddedCloud
cloud = EmbeddedCloud()
cloud.start()
print(cloud.endpoint_url, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().startswith("http://127.0.0.1:")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while processes_with(f"TMPDIR={tmp_path}/") or list(tmp_path.iterdir()):
        assert time.monotonic() < deadline, "the emulator outlived its parent"
        time.sleep(0.05)


def test_unknown_fields_and_tiers_are_named(cloud: EmbeddedCloud) -> None:
    with pytest.raises(CloudError, match="unexpected keyword argument 'memory'"):
        cloud.deploy("one", memory=1)
    with pytest.raises(CloudError, match="requests_visibility=1 is below sequencer_timeout=10"):
        cloud.deploy("one", requests_visibility=1)
    with pytest.raises(CloudError, match="a service name is 1 to 32 letters"):
        cloud.deploy("not a name")
    with pytest.raises(CloudError, match="one of development, standard, critical"):
        cloud.deploy("one", tier="huge")


def test_node_is_missed_by_name(cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CloudError, match="node is not on the PATH"):
        cloud.deploy("never-synthesized-before", blob_limit=31_337)
