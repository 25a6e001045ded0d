"""A service that is destroyed: the development tier leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from faaskeeper.functions.emptier import empty
from faaskeeper.storage.aws import BotoAws
from faaskeeper_client.discovery import find_service
from faaskeeper_client.local import EmbeddedCloud

ROOT = Path(__file__).parents[2]


def delete(cloud: EmbeddedCloud, account: str, stack: str) -> None:
    cloudformation = cloud.session(account).client("cloudformation")
    cloudformation.delete_stack(StackName=stack)
    deadline = time.monotonic() + 60
    while any(
        summary["StackName"] == stack and summary["StackStatus"] != "DELETE_COMPLETE"
        for summary in cloudformation.list_stacks()["StackSummaries"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_destroying_a_development_service_leaves_nothing(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", account=account)
    session = cloud.session(account)
    session.client("s3").put_object(Bucket=service.blobs, Key="blobs/full", Body=b"data")
    delete(cloud, account, "faaskeeper-one")
    assert session.client("dynamodb").list_tables()["TableNames"] == []
    assert session.client("sqs").list_queues().get("QueueUrls", []) == []
    assert session.client("lambda").list_functions()["Functions"] == []
    assert session.client("logs").describe_log_groups()["logGroups"] == []
    assert session.client("iam").list_roles()["Roles"] == []
    assert session.client("events").list_rules()["Rules"] == []
    assert session.client("ssm").describe_parameters()["Parameters"] == []
    buckets = [bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]]
    assert service.blobs not in buckets


@pytest.mark.parametrize("versioned", [False, True])
def test_a_bucket_is_emptied_with_all_versions(cloud: EmbeddedCloud, account: str, versioned: bool) -> None:
    s3: Any = cloud.session(account).client("s3")
    s3.create_bucket(Bucket="full")
    if versioned:
        s3.put_bucket_versioning(Bucket="full", VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put_object(Bucket="full", Key=f"blobs/{number}", Body=b"first")
        s3.put_object(Bucket="full", Key=f"blobs/{number}", Body=b"second")
    s3.delete_object(Bucket="full", Key="blobs/0")
    aws = BotoAws(session=cloud.session(account))
    asyncio.run(empty(aws, "full"))
    listed = s3.list_object_versions(Bucket="full")
    assert listed.get("Versions", []) == []
    assert listed.get("DeleteMarkers", []) == []
    s3.delete_bucket(Bucket="full")
    asyncio.run(empty(aws, "full"))  # gone is empty: CloudFormation may ask twice
    aws.close()


def test_destroying_a_standard_service_keeps_its_data(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", tier="standard", account=account)
    delete(cloud, account, "faaskeeper-one")
    session = cloud.session(account)
    kept = set(session.client("dynamodb").list_tables()["TableNames"])
    assert kept == {service.znodes, service.sessions, service.ledger}
    assert service.blobs in [bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]]
    assert session.client("logs").describe_log_groups()["logGroups"] == []
    assert session.client("iam").list_roles()["Roles"] == []
    assert session.client("events").list_rules()["Rules"] == []
    assert session.client("sqs").list_queues().get("QueueUrls", []) == []
    assert session.client("lambda").list_functions()["Functions"] == []
    assert session.client("ssm").describe_parameters()["Parameters"] == []


def test_the_cdk_command_line_deploys_and_destroys(cloud: EmbeddedCloud, account: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | cloud.environment(account) | {"PATH": path}

    def cdk(*arguments: str) -> None:
        result = subprocess.run(
            [ROOT / "node_modules" / ".bin" / "cdk", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr

    assembly = str(tmp_path / "cdk.out")
    cdk("synth", "--quiet", "--output", assembly, "-c", "tier=development", "-c", "name=by-cli")
    cdk("bootstrap", "--app", assembly, f"aws://{account}/{cloud.region}")
    cdk("deploy", "--app", assembly, "--require-approval", "never", "by-cli")
    assert find_service("by-cli", session=cloud.session(account)).name == "by-cli"
    cdk("destroy", "--app", assembly, "--force", "by-cli")
    assert cloud.session(account).client("dynamodb").list_tables()["TableNames"] == []
