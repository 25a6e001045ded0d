"""A service that is destroyed: the development tier leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from faaskeeper.functions.emptier import empty
from faaskeeper.storage.aws import BotoAws
from faaskeeper_client.local import EmbeddedCloud


def test_destroying_a_development_service_leaves_nothing(cloud: EmbeddedCloud, account: str) -> None:
    service = cloud.deploy("one", account=account)
    session = cloud.session(account)
    session.client("s3").put_object(Bucket=service.blobs, Key="blobs/full", Body=b"data")
    cloudformation = session.client("cloudformation")
    cloudformation.delete_stack(StackName="faaskeeper-one")
    deadline = time.monotonic() + 30
    while any(
        stack["StackName"] == "faaskeeper-one" and stack["StackStatus"] != "DELETE_COMPLETE"
        for stack in cloudformation.list_stacks()["StackSummaries"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
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
