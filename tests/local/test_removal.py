"""A service that is destroyed: the development tier leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.functions.emptier.function import TAG, empty
from faaskeeper_client.discovery import find_service
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.errors import CloudError
from faaskeeper_client.local.synthesize import Assembly, synthesized

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
    s3.put_bucket_tagging(Bucket="full", Tagging={"TagSet": [{"Key": TAG, "Value": "true"}]})
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


@pytest.mark.parametrize("tags", [[], [{"Key": "team", "Value": "true"}], [{"Key": TAG, "Value": "false"}]])
def test_a_bucket_that_is_not_marked_is_not_emptied(
    cloud: EmbeddedCloud, account: str, tags: list[dict[str, str]]
) -> None:
    s3: Any = cloud.session(account).client("s3")
    bucket = f"of-{account}"
    s3.create_bucket(Bucket=bucket)
    if tags:
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    s3.put_object(Bucket=bucket, Key="blobs/0", Body=b"data")
    aws = BotoAws(session=cloud.session(account))
    asyncio.run(empty(aws, bucket))
    aws.close()
    assert s3.get_object(Bucket=bucket, Key="blobs/0")["Body"].read() == b"data"


def test_a_service_that_moves_to_another_tier_keeps_its_blobs(
    cloud: EmbeddedCloud, account: str, tmp_path: Path
) -> None:
    s3: Any = cloud.session(account).client("s3")
    functions: Any = cloud.session(account).client("lambda")

    def deployed_emptiers() -> list[str]:
        names = [function["FunctionName"] for function in functions.list_functions()["Functions"]]
        return [name for name in names if "Emptier" in name]

    service = cloud.deploy("one", account=account)
    s3.put_object(Bucket=service.blobs, Key="blobs/full", Body=b"data")
    assert deployed_emptiers()
    cloud.deploy("one", tier="standard", account=account)
    assert deployed_emptiers() == []
    assert s3.get_object(Bucket=service.blobs, Key="blobs/full")["Body"].read() == b"data"

    with pytest.raises(CloudError, match="UPDATE_ROLLBACK_COMPLETE"):
        cloud.deploy_assembly(that_fails("one", tmp_path), "faaskeeper-one", account=account)
    assert deployed_emptiers() == []
    assert s3.get_object(Bucket=service.blobs, Key="blobs/full")["Body"].read() == b"data"


def that_fails(name: str, directory: Path) -> Assembly:
    """A development service whose last resource cannot be made."""
    assembly = synthesized(name, "development", {"alarms": False})
    template = json.loads(assembly.template)
    (emptying,) = (id for id, each in template["Resources"].items() if each["Type"] == "Custom::FaaSKeeperEmptyBucket")
    template["Resources"]["Fails"] = {
        "Type": "AWS::SSM::Parameter",
        "DependsOn": [emptying],
        "Properties": {"Name": f"/faaskeeper/{name}", "Type": "String", "Value": "taken"},
    }
    for path in assembly.directory.iterdir():
        if path != assembly.template_file:
            (directory / path.name).symlink_to(path)
    changed = Assembly(directory, assembly.stack)
    changed.template_file.write_text(json.dumps(template))
    return changed


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
