"""What ``cdk deploy`` does, by boto3 and in a fraction of a second: publish assets, create or update the stack."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import botocore.exceptions

from faaskeeper_client.local.errors import CloudError
from faaskeeper_client.local.synthesize import Assembly

_LONGEST = 120.0
_POLL = 0.05


def deploy(session: Any, assembly: Assembly, stack: str, account: str) -> None:
    """Brings ``stack`` to what ``assembly`` describes. Raises CloudError."""
    urls = _publish(session, assembly, account)
    cloudformation = session.client("cloudformation")
    parameters = {
        "StackName": stack,
        "TemplateURL": urls[assembly.template_file],  # a template in the request ends at 51,200 bytes
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    }
    try:
        cloudformation.create_stack(**parameters)
        _wait(cloudformation, stack, "CREATE")
    except cloudformation.exceptions.AlreadyExistsException:
        try:
            cloudformation.update_stack(**parameters)
            _wait(cloudformation, stack, "UPDATE")
        except botocore.exceptions.ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
    _apply_what_the_emulator_drops(session, json.loads(assembly.template), stack)


def _publish(session: Any, assembly: Assembly, account: str) -> dict[Path, str]:
    """The URL of each asset, by its source."""
    s3 = session.client("s3")
    buckets = {entry["Name"] for entry in s3.list_buckets()["Buckets"]}
    urls: dict[Path, str] = {}
    for asset in assembly.assets():
        bucket = asset.bucket.replace("${AWS::AccountId}", account).replace("${AWS::Region}", session.region_name)
        if bucket not in buckets:
            s3.create_bucket(Bucket=bucket)
            buckets.add(bucket)
        s3.put_object(Bucket=bucket, Key=asset.key, Body=asset.content())
        urls[asset.source] = f"{s3.meta.endpoint_url}/{bucket}/{asset.key}"
    return urls


def _wait(cloudformation: Any, stack: str, what: str) -> None:
    deadline = time.monotonic() + _LONGEST
    while True:
        status: str = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        if status == f"{what}_COMPLETE":
            return
        if not status.startswith(what) or status.endswith("FAILED") or time.monotonic() > deadline:
            events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
                for event in events
                if event["ResourceStatus"].endswith("FAILED")
            ]
            raise CloudError(f"stack {stack!r} ended as {status}: " + ("; ".join(reasons) or "no reason given"))
        time.sleep(_POLL)


def _apply_what_the_emulator_drops(session: Any, template: dict[str, Any], stack: str) -> None:
    """Times to live: the emulator has them but leaves them out of its CloudFormation."""
    dynamodb = session.client("dynamodb")
    paginator = session.client("cloudformation").get_paginator("list_stack_resources")
    for page in paginator.paginate(StackName=stack):
        for resource in page["StackResourceSummaries"]:
            described: dict[str, Any] = template["Resources"][resource["LogicalResourceId"]].get("Properties", {})
            name = resource["PhysicalResourceId"]
            if resource["ResourceType"] == "AWS::DynamoDB::Table" and "TimeToLiveSpecification" in described:
                dynamodb.update_time_to_live(
                    TableName=name, TimeToLiveSpecification=described["TimeToLiveSpecification"]
                )
