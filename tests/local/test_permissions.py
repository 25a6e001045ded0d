"""What the deployed functions do with nothing but what their roles allow."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import Service
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.synthesize import Assembly, synthesized


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[EmbeddedCloud, Service]]:
    """A cloud that enforces permissions. Queue and bucket policies are left out: they deny what comes without TLS,
    and that is how the emulator is spoken to."""
    assembly = synthesized("strict", "development", {})
    template = json.loads(assembly.template)
    template["Resources"] = {
        id: {key: value for key, value in resource.items() if key != "DependsOn"}
        for id, resource in template["Resources"].items()
        if resource["Type"] not in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy")
    }
    changed = tmp_path_factory.mktemp("assembly")
    for path in assembly.directory.iterdir():
        if path != assembly.template_file:
            (changed / path.name).symlink_to(path)
    (changed / assembly.template_file.name).write_text(json.dumps(template))
    with EmbeddedCloud(enforce_permissions=True) as cloud:
        cloud.deploy_assembly(Assembly(changed, assembly.stack), "strict")
        parameter = cloud.session().client("ssm").get_parameter(Name="/faaskeeper/strict")
        yield cloud, Service.from_json(parameter["Parameter"]["Value"])


@pytest.fixture
def client(strict: tuple[EmbeddedCloud, Service]) -> Generator[KazooClient]:
    cloud, service = strict
    aws = BotoAws(session=cloud.session())
    with GatewayThread(aws, service) as gateway:
        client = KazooClient(hosts=gateway.hosts)
        client.start()
        yield client
        client.stop()
        client.close()
    aws.close()


def test_the_sequencer_may_do_all_it_does(client: KazooClient) -> None:
    client.create("/node", b"small")
    client.create("/node/ephemeral", ephemeral=True)
    client.create("/node/number-", sequence=True)
    client.set("/node", b"beside the item" * 1000)
    client.set("/node", b"in the bucket" * 10_000)
    with pytest.raises(NodeExistsError):
        client.create("/node")
    with client.transaction() as transaction:
        transaction.create("/node/one")
        transaction.delete("/node/one")
    seen = client.handler.event_object()
    client.get("/node", watch=lambda event: seen.set())
    client.set("/node", b"small again")
    assert seen.wait(10)
    client.delete("/node", recursive=True)


def test_the_sequencer_may_quarantine(strict: tuple[EmbeddedCloud, Service]) -> None:
    cloud, service = strict
    sqs = cloud.session().client("sqs")
    sqs.send_message(
        QueueUrl=service.requests, MessageBody="no request", MessageGroupId="requests", MessageDeduplicationId="1"
    )
    messages = sqs.receive_message(QueueUrl=service.dead_letters, WaitTimeSeconds=20)["Messages"]
    assert json.loads(messages[0]["Body"])["body"] == "no request"


def test_permissions_are_really_enforced(strict: tuple[EmbeddedCloud, Service]) -> None:
    cloud, service = strict
    functions = cloud.session().client("lambda").list_functions()["Functions"]
    (role,) = {function["Role"] for function in functions if "Notifier" in function["FunctionName"]}
    assumed = cloud.session().client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    dynamodb = cloud.session().client(
        "dynamodb",
        aws_access_key_id=assumed["AccessKeyId"],
        aws_secret_access_key=assumed["SecretAccessKey"],
        aws_session_token=assumed["SessionToken"],
    )
    with pytest.raises(dynamodb.exceptions.ClientError, match="AccessDenied"):
        dynamodb.scan(TableName=service.znodes)
