"""The janitor does all its chores with nothing but what its role allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3.session
import pytest

from faaskeeper.blocks.aws import Aws, BotoAws, Response
from faaskeeper.blocks.blobs import blob_key, write_blob
from faaskeeper.blocks.queues import list_receivers
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import node_key
from faaskeeper.storage.znodes import WATCH_CHILD, WATCH_DATA, read_node, register_watch
from faaskeeper.znode.operations import Delete, SetData, WatchSubtree
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.cloud import CloudSession
from faaskeeper_client.local.synthesize import Assembly, synthesized
from tests.infra.reading import statements

from .world import CONTAINER, DAY, HOUR, MINUTE, TTL, World, create, run

LEFT_OUT = (
    "AWS::SQS::QueuePolicy",  # they deny what comes without TLS, as all does that comes to the emulator
    "AWS::S3::BucketPolicy",
    "AWS::Lambda::EventSourceMapping",  # the test is sequencer and reaper itself
    "AWS::Events::Rule",
    "AWS::Lambda::Permission",
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedCloud, Service]]:
    assembly = synthesized("janitor", "development", {})
    template = json.loads(assembly.template)
    for policy in template["Resources"].values():
        for statement in policy.get("Properties", {}).get("PolicyDocument", {}).get("Statement", ()):
            # the emulator does not see what an update names, and denies what depends on it
            if "dynamodb:Attributes" in statement.get("Condition", {}).get("Null", {}):
                del statement["Condition"]
    template["Resources"] = {
        id: {key: value for key, value in resource.items() if key != "DependsOn"}
        for id, resource in template["Resources"].items()
        if resource["Type"] not in LEFT_OUT
    }
    changed = tmp_path_factory.mktemp("assembly")
    for path in assembly.directory.iterdir():
        if path.name != f"{assembly.stack}.template.json":
            (changed / path.name).symlink_to(path)
    Path(changed, f"{assembly.stack}.template.json").write_text(json.dumps(template))
    with EmbeddedCloud(enforce_permissions=True) as cloud:
        cloud.deploy_assembly(Assembly(changed, assembly.stack), "janitor")
        parameter = cloud.session().client("ssm").get_parameter(Name="/faaskeeper/janitor")
        yield cloud, Service.from_json(parameter["Parameter"]["Value"])


class Updates:
    """The seam, where all names of attributes in updates of the znodes table are noted."""

    def __init__(self, aws: Aws, table: str) -> None:
        self.names: set[str] = set()
        self._aws = aws
        self._table = table

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if operation == "update_item" and parameters["TableName"] == self._table:
            text = parameters["UpdateExpression"] + " " + parameters["ConditionExpression"]
            self.names |= {*re.findall(r"(?<![:\w])[a-z_]+\b(?!\()", text), *parameters["Key"]}
        return await self._aws.call(service, operation, **parameters)


class AssumedSession(boto3.session.Session):
    """What a function gets from its role."""

    def __init__(self, session: CloudSession, function: str) -> None:
        functions = session.client("lambda").list_functions()["Functions"]
        (role,) = {each["Role"] for each in functions if function in each["FunctionName"]}
        given = session.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        super().__init__(
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
            region_name=session.region_name,
        )
        self._endpoint = session.client("sqs").meta.endpoint_url

    def client(self, service_name: str, **options: Any) -> Any:  # type: ignore[override]
        make: Any = super().client  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return make(service_name, endpoint_url=self._endpoint, **options)


def test_the_janitor_may_do_all_it_does(strict: tuple[EmbeddedCloud, Service]) -> None:
    cloud, service = strict
    world = World(cloud.session(), service)
    role = BotoAws(session=AssumedSession(cloud.session(), "Janitor"))
    janitor = Updates(role, service.znodes)

    async def work() -> None:
        await world.gateway("home", 1, stand_still=600_000)
        await world.gateway("dead", 2)
        await world.commit(
            create("/c", flags=CONTAINER), create("/c/x"), Delete("/c/x"), create("/t", flags=TTL, ttl=MINUTE)
        )
        await world.commit(
            create("/long", flags=TTL, ttl=2 * DAY), create("/watched"), create("/gone"), Delete("/gone")
        )
        await world.commit(WatchSubtree("/", "dead"), session=0, gateway="dead")
        for path in ("/watched", "/missing"):
            await register_watch(world.aws, service, path, WATCH_DATA, "dead")
            await register_watch(world.aws, service, path, WATCH_CHILD, "dead")
        await world.commit(SetData("/watched", b"fires"))
        await write_blob(world.aws, service, blob_key(service, "dead", "orphan"), b"data")
        await world.clean(janitor)
        assert await world.timers(wait=5) == 1  # the gateway's
        assert await world.timers(wait=5) == 1  # its session's
        world.now += DAY + HOUR
        await world.clean(janitor)
        await world.timers(wait=1)
        for _ in range(2):
            world.now += HOUR
            await world.clean(janitor)

        for path in ("/c", "/t", "/gone", "/missing"):
            assert not await world.item(node_key(path)), path
        watched = await read_node(world.aws, service, "/watched")
        assert not watched.watchers(WATCH_CHILD) | watched.watchers("fired_data")
        assert await world.items("ledger", "subtree") == []
        assert len(await world.items("ledger", "due")) == 1
        assert await list_receivers(world.aws, service) == {"home"}
        assert "Contents" not in await world.aws.call("s3", "list_objects_v2", Bucket=service.blobs)

    run(work())
    assert janitor.names == {"path", "part", "watch_data", "watch_child", "fired_data"}
    assert janitor.names <= allowed_names()
    world.close()
    role.close()


def allowed_names() -> set[str]:
    """The attributes that the role may update in the znodes table."""
    template = json.loads(synthesized("janitor", "development", {}).template)
    (allowed,) = [
        statement.conditions["ForAllValues:StringEquals"]["dynamodb:Attributes"]
        for statement in statements(template)
        if "Janitor" in statement.role and "ForAllValues:StringEquals" in statement.conditions
    ]
    return set(allowed)
