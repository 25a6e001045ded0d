"""What a principal with ``grant_client`` is let do, on a cloud that enforces it: a gateway's work, and nothing else.

The emulator does not know the keys of the conditions (``dynamodb:Attributes``, ``dynamodb:LeadingKeys``,
``s3:if-none-match``), so they are left out here: ``test_permissions`` looks at them in the template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from botocore.exceptions import ClientError
from kazoo.client import KazooClient

from faaskeeper.protocol.service import Service
from faaskeeper.storage.aws import BotoAws
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.cloud import CloudSession
from faaskeeper_client.local.synthesize import Assembly
from faaskeeper_client.serving import GatewayThread

from .conftest import fill

POLICIES = ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy")
"""They deny what comes without TLS, and that is how the emulator is spoken to."""


@pytest.fixture(scope="module")
def granted(
    synthesize: Callable[..., tuple[dict[str, Any], Path]],
) -> Generator[tuple[EmbeddedCloud, Service, CloudSession]]:
    """A service, and a session of the role that ``grant_client`` was called for."""
    template, path = synthesize(
        lambda stack: fill(stack, "development"),
        synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
    )
    template["Resources"] = {
        id: {key: value for key, value in resource.items() if key != "DependsOn"}
        for id, resource in template["Resources"].items()
        if resource["Type"] not in (*POLICIES, "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard")
    }
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::IAM::Policy":
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                statement.pop("Condition", None)
    path.write_text(json.dumps(template))
    with EmbeddedCloud(enforce_permissions=True) as cloud:
        cloud.deploy_assembly(Assembly(path.parent, "Test"), "granted")
        parameter = cloud.session().client("ssm").get_parameter(Name="/faaskeeper/tests")
        described = cloud.session().client("cloudformation").describe_stack_resources(StackName="granted")
        (role,) = (
            resource["PhysicalResourceId"]
            for resource in described["StackResources"]
            if resource["ResourceType"] == "AWS::IAM::Role" and resource["LogicalResourceId"].startswith("Client")
        )
        sts = cloud.session().client("sts")
        arn = f"arn:aws:iam::{cloud.account}:role/{role}"
        keys = sts.assume_role(RoleArn=arn, RoleSessionName="client")["Credentials"]
        session = Assumed(cloud, keys)
        yield cloud, Service.from_json(parameter["Parameter"]["Value"]), session


class Assumed(CloudSession):
    """A session of an assumed role."""

    def __init__(self, cloud: EmbeddedCloud, keys: dict[str, str]) -> None:
        super().__init__(cloud.endpoint_url, cloud.account, cloud.region)
        self._keys = {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }

    def client(self, service_name: str, **options: Any) -> Any:
        return super().client(service_name, **self._keys | options)


def test_a_gateway_may_do_all_it_does(granted: tuple[EmbeddedCloud, Service, CloudSession]) -> None:
    _, service, session = granted
    aws = BotoAws(session=session)
    with GatewayThread(aws, service) as gateway:
        client = KazooClient(hosts=gateway.hosts)
        client.start()
        client.create("/node", b"small")
        client.create("/node/ephemeral", ephemeral=True)
        client.set("/node", b"in the bucket" * 10_000)
        assert client.get("/node")[0] == b"in the bucket" * 10_000
        assert client.get_children("/node") == ["ephemeral"]
        seen = client.handler.event_object()
        client.exists("/other", watch=lambda event: seen.set())
        client.create("/other")
        assert seen.wait(10)
        client.stop()
        client.close()
    aws.close()


def test_it_may_do_nothing_else(granted: tuple[EmbeddedCloud, Service, CloudSession]) -> None:
    cloud, service, session = granted
    dynamodb, sqs, s3 = (session.client(name) for name in ("dynamodb", "sqs", "s3"))
    node = {"path": {"S": "/node"}, "part": {"S": "node"}}
    head = {"pk": {"S": "head"}, "sk": {"S": "head"}}
    function = cloud.session().client("lambda").list_functions()["Functions"][0]["FunctionName"]
    replies = f"{service.requests.rsplit('/', 1)[0]}/{service.reply_prefix}other"
    denied: dict[str, Callable[[], object]] = {
        "put a znode": lambda: dynamodb.put_item(TableName=service.znodes, Item=node),
        "delete a znode": lambda: dynamodb.delete_item(TableName=service.znodes, Key=node),
        "list all znodes": lambda: dynamodb.scan(TableName=service.znodes),
        "put a znode in a batch": lambda: dynamodb.batch_write_item(
            RequestItems={service.znodes: [{"PutRequest": {"Item": node}}]}
        ),
        "put a znode in a transaction": lambda: dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": service.znodes, "Item": node}}]
        ),
        "move the head": lambda: dynamodb.update_item(
            TableName=service.ledger,
            Key=head,
            UpdateExpression="SET zxid = :zxid",
            ExpressionAttributeValues={":zxid": {"N": "1"}},
        ),
        "forge an event": lambda: dynamodb.put_item(TableName=service.ledger, Item=head),
        "delete a session": lambda: dynamodb.delete_item(
            TableName=service.sessions, Key={"id": {"S": "session#1"}, "part": {"S": "session"}}
        ),
        "take requests": lambda: sqs.receive_message(QueueUrl=service.requests),
        "take timers": lambda: sqs.receive_message(QueueUrl=service.timers),
        "throw all requests away": lambda: sqs.purge_queue(QueueUrl=service.requests),
        "send a reply": lambda: sqs.send_message(QueueUrl=replies, MessageBody="forged"),
        "send a dead letter": lambda: sqs.send_message(QueueUrl=service.dead_letters, MessageBody="forged"),
        "write a journal": lambda: s3.put_object(Bucket=service.blobs, Key="journal/forged", Body=b""),
        "write another service's blob": lambda: s3.put_object(Bucket=service.blobs, Key="blobs/x/y", Body=b""),
        "delete a blob": lambda: s3.delete_object(Bucket=service.blobs, Key=f"blobs/{service.name}/x"),
        "list blobs": lambda: s3.list_objects_v2(Bucket=service.blobs),
        "invoke a function": lambda: session.client("lambda").invoke(FunctionName=function),
        "change the description": lambda: session.client("ssm").put_parameter(
            Name="/faaskeeper/tests", Value="{}", Overwrite=True
        ),
    }
    allowed: list[str] = []
    for what, call in denied.items():
        try:
            call()
        except ClientError as error:
            if "AccessDenied" in str(error) or "not authorized" in str(error):
                continue
            raise
        allowed.append(what)
    assert not allowed


def test_what_is_in_the_bucket_stays_as_it_is(granted: tuple[EmbeddedCloud, Service, CloudSession]) -> None:
    """Whoever reads a znode knows where its data is; the condition of the grant lets only new objects be written."""
    _, service, session = granted
    s3 = session.client("s3")
    key = f"blobs/{service.name}/tests/there"
    s3.put_object(Bucket=service.blobs, Key=key, Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=service.blobs, Key=key, Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=service.blobs, Key=key)["Body"].read() == b"first"
