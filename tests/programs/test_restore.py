"""``faaskeeper restore``: a new service from the tables of another, as point-in-time recovery makes them."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import child_key, node_key, session_key, value_key
from faaskeeper.znode.model import Blob
from faaskeeper_client.administration.contents import problems, read_contents
from faaskeeper_client.administration.restore import InUse, Torn, restore
from faaskeeper_client.cli import main
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud

from ..functions.stage import Stage, create, run
from .conftest import Deployed, until

TREE = {"/": b"", "/app": b"", "/app/small": b"x", "/app/beside": b"y" * 5000, "/app/large": b"z" * 100_000}
EPHEMERAL = 1


@pytest.fixture
def aws(deployed: Deployed) -> Generator[BotoAws]:
    aws = BotoAws(session=deployed.session)
    yield aws
    aws.close()


def source_of(target: Service, source: Service) -> Service:
    """As the options of the command say it."""
    return replace(target, znodes=source.znodes, sessions=source.sessions, ledger=source.ledger, blobs=source.blobs)


def options(source: Service) -> list[str]:
    return [
        *("--znodes", source.znodes),
        *("--sessions", source.sessions),
        *("--ledger", source.ledger),
        *("--blobs", source.blobs),
    ]


def test_all_is_there_and_goes_on(
    cloud: EmbeddedCloud,
    deployed: Deployed,
    aws: BotoAws,
    aws_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = cloud.deploy("restored", account=deployed.session.get_credentials().access_key)
    stats: dict[str, Any] = {}
    with GatewayThread(aws, deployed.service) as thread:
        clients = [KazooClient(thread.hosts, timeout=timeout) for timeout in (10.0, 40.0)]
        for client in clients:
            client.start()
        first, second = clients
        for path, data in list(TREE.items())[1:]:
            first.create(path, data)
        acl = [make_acl("world", "anyone", read=True)]
        first.set_acls("/app/small", acl)
        first.set("/app/beside", b"w" * 6000)
        first.delete(first.create("/app/n-", sequence=True))
        first.create("/app/short", ephemeral=True)
        second.create("/app/long", ephemeral=True)
        for path in TREE:
            stats[path] = first.exists(path)
        seen = second.last_zxid
        short, long = (client.client_id for client in clients)
    for client in clients:
        client.stop()  # after their gateway: their sessions live on
        client.close()

    assert main(["restore", "--service", "restored", *options(deployed.service), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["repaired"], report["lostData"], report["sessions"], report["blobs"]) == ([], [], 2, 1)
    assert int(report["zxid"], 16) > seen

    with GatewayThread(aws, target) as thread:
        again = KazooClient(thread.hosts, timeout=40.0, client_id=long)
        again.start()
        assert again.client_id == long
        assert {path: again.exists(path) for path in TREE} == stats
        assert again.get_acls("/app/small")[0] == acl
        assert again.get("/app/beside")[0] == b"w" * 6000
        assert again.get("/app/large")[0] == TREE["/app/large"]
        assert again.create("/app/n-", sequence=True) == "/app/n-0000000006"
        assert again.exists("/app/long").owner_session_id == long[0]
        until(lambda: again.exists("/app/short") is None, f"the end of session {short[0]:#x}", 60)
        again.delete("/app/beside")
        again.delete("/app/large")
        assert sorted(again.get_children("/app")) == ["long", "n-0000000006", "small"]
        again.stop()
        again.close()
    capsys.readouterr()
    assert main(["verify", "--service", "restored"]) == 0
    assert capsys.readouterr().out == ""

    assert main(["restore", "--service", "restored", *options(deployed.service)]) == 1
    assert capsys.readouterr().err.startswith("faaskeeper: service 'restored' is in use")


async def torn_stage(aws: BotoAws) -> Stage:
    """With a transaction of each kind of which a part is missing, or is there too early."""
    stage = await Stage.create(aws)
    client = await stage.client()
    await stage.do(client, *(create(path) for path in ("/a", "/a/edge", "/b", "/b/child", "/c", "/c/child")))
    await stage.do(
        client, create("/mine", flags=EPHEMERAL), *(create(each, b"v" * 5000) for each in ("/value", "/gone"))
    )

    async def drop(key: Any) -> None:
        await aws.call("dynamodb", "delete_item", TableName=key.table_name(stage.service), Key=key.attributes)

    async def put(key: Any, name: str, value: str) -> None:
        await aws.call(
            "dynamodb",
            "update_item",
            TableName=key.table_name(stage.service),
            Key=key.attributes,
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": {"N": value}},
        )

    await drop(child_key("/a/edge"))
    await drop(node_key("/b"))  # its creation is missing
    await drop(node_key("/c"))
    await put(node_key("/c"), "zxid", "90")  # it was deleted after its child
    await put(value_key("/value"), "mzxid", "80")
    await drop(value_key("/gone"))
    await drop(session_key(client.session))
    await put(node_key("/a"), "zxid", "100")
    return stage


def test_what_is_torn_is_refused_or_mended(aws: BotoAws) -> None:
    async def scenario() -> None:
        source, target = await torn_stage(aws), await Stage.create(aws)
        with pytest.raises(Torn) as caught:
            await restore(aws, source_of(target.service, source.service), target.service, 0)
        text = "\n".join(caught.value.problems)
        for part in (
            "/value: its data is that of another moment",
            "/gone: its data is missing",
            "there is an item of transaction 0x64, and the head is at ",
            "the head counts 1 sessions, there are 0",
            "/c/child: its parent or its session is gone",
            "/mine: its parent or its session is gone",
            "/b: it is gone, and has children",
            "znodes /a child#edge: missing",
            "znodes / child#c: stands for nothing",
        ):
            assert part in text
        assert await target.node("/a") is None

        restored = await restore(aws, source_of(target.service, source.service), target.service, 0, repair=True)
        assert restored.problems == caught.value.problems
        assert restored.zxid == 101
        contents = await read_contents(aws, target.service)
        assert problems(contents, target.service) == []
        assert await target.children("/") == ["a", "b", "gone", "value", "zookeeper"]
        assert await target.children("/a") == ["edge"]
        assert await target.children("/b") == ["child"]
        client = await target.client()
        (outcome,) = await target.do(client, create("/a/new"))
        assert outcome.zxid > 101
        with pytest.raises(InUse):
            await restore(aws, source_of(target.service, source.service), target.service, 0)

    run(scenario())


def test_a_blob_that_was_deleted_since_is_found_among_the_versions_or_reported(aws: BotoAws) -> None:
    async def scenario() -> None:
        source, target = await Stage.create(aws), await Stage.create(aws)
        bucket = source.service.blobs
        await aws.call("s3", "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        client = await source.client()
        keys = [f"blobs/{source.service.name}/{client.gateway.id}/{number:032x}" for number in range(2)]
        for number, key in enumerate(keys):
            await aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=b"large")
            await source.do(client, create(f"/{number}", Blob(key, 5)))
            await aws.call("s3", "delete_object", Bucket=bucket, Key=key)
        versions = await aws.call("s3", "list_object_versions", Bucket=bucket, Prefix=keys[1])
        for version in versions["Versions"]:
            await aws.call("s3", "delete_object", Bucket=bucket, Key=keys[1], VersionId=version["VersionId"])
        restored = await restore(aws, source_of(target.service, source.service), target.service, 0)
        assert (restored.blobs, restored.lost) == (1, ["/1"])
        node = await target.node("/0")
        assert node is not None
        assert isinstance(node.data, Blob)
        response = await aws.call("s3", "get_object", Bucket=target.service.blobs, Key=node.data.key)
        assert response["Body"] == b"large"

    run(scenario())
