"""The quota service of examples/quota, deployed: what it promises, made only of FaaSKeeper's blocks."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from runpy import run_path
from typing import Any, TypeVar

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from faaskeeper.blocks.aws import Aws, BotoAws
from faaskeeper.blocks.blobs import blob_key
from faaskeeper.blocks.errors import AccessDenied
from faaskeeper.blocks.queues import REQUEST_GROUP
from faaskeeper_cdk import Tier
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.synthesize import Assembly
from quota.client import Client, Lease, LeaseLost, Refused
from quota.parts import Quota, key, lease_key, tenant_key
from tests.infra.granted import Granted
from tests.infra.reading import Statement, statements
from tests.infra.test_review import violations

ROOT = Path(__file__).parents[2]
APP = ROOT / "examples" / "quota" / "app.py"
T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(90):
            return await work

    return asyncio.run(bounded())


@pytest.fixture(scope="module")
def deployed(
    cloud: EmbeddedCloud, new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[BotoAws, Quota]:
    return deploy(cloud, new_account(), tmp_path_factory.mktemp("quota"))


def deploy(cloud: EmbeddedCloud, account: str, directory: Path) -> tuple[BotoAws, Quota]:
    """The stack as it is, under its own name."""
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(outdir=str(directory), context=flags, analytics_reporting=False)
    # without the rule: the emulator is not bootstrapped
    synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
    run_path(str(APP))["QuotaStack"](app, "Quota", synthesizer=synthesizer)
    app.synth()
    cloud.deploy_assembly(Assembly(directory, "Quota"), "Quota", account=account)
    session = cloud.session(account)
    (output,) = session.client("cloudformation").describe_stacks(StackName="Quota")["Stacks"][0]["Outputs"]
    return BotoAws(session=session), Quota(**json.loads(output["OutputValue"]))


def fill(stack: cdk.Stack) -> None:
    """A service, and a role that may use it."""
    service: Any = run_path(str(APP))["QuotaService"](stack, "Service", name="example", tier=Tier.standard())
    service.grant_client(iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))


def test_reviewers_find_nothing(tmp_path: Path) -> None:
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert violations(flags, tmp_path, fill) == []
    template = tmp_path / "Test.template.json"
    linted = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", template],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.stdout, linted.returncode) == ("", 0)


@pytest.fixture
def allowed(tmp_path: Path) -> list[Statement]:
    app = cdk.App(outdir=str(tmp_path), analytics_reporting=False)
    fill(cdk.Stack(app, "Test"))
    app.synth()
    template = json.loads((tmp_path / "Test.template.json").read_text())
    return [each for each in statements(template) if each.role.startswith("Client")]


@pytest.fixture
def granted(deployed: tuple[BotoAws, Quota], allowed: list[Statement]) -> Granted:
    """AWS for whoever has ``grant_client`` and nothing else."""
    return Granted(*deployed, allowed, {"table": ("pk", "sk")})


def test_a_client_needs_its_grant_and_nothing_else(
    deployed: tuple[BotoAws, Quota], granted: Granted, allowed: list[Statement]
) -> None:
    _, quota = deployed

    async def work() -> None:
        async with Client(granted, quota) as client:
            await client.limit("granted", 3)
            await client.watch("granted")
            await client.limit("granted", 4)
            assert await client.changed() == "granted"
            lease = await client.acquire("granted", 2, 120.0)
            await lease.renew()
            await lease.release()
            assert await client.report("granted") == {"limit": 4, "leases": {}}
            with pytest.raises(Refused, match="unknown command"):
                await client.do("one for the bucket", "granted", lease="x" * 1_000_000)

    run(work())
    assert granted.refused == []
    assert granted.allowed == {action for statement in allowed for action in statement.actions}


def update(quota: Quota, item: dict[str, Any], attribute: str) -> tuple[str, str, dict[str, Any]]:
    return (
        "dynamodb",
        "update_item",
        {
            "TableName": quota.table,
            "Key": item,
            "UpdateExpression": "SET #attribute = :value",
            "ExpressionAttributeNames": {"#attribute": attribute},
            "ExpressionAttributeValues": {":value": {"S": "forged"}},
        },
    )


def forbidden(quota: Quota) -> dict[str, tuple[str, str, dict[str, Any]]]:
    head, report = key("head", "head"), blob_key(quota, "reports", "forged")
    return {
        "set a limit or the units in use": update(quota, tenant_key("other"), "state"),
        "move the head": update(quota, head, "applied"),
        "forge an answer": update(quota, head, "answers"),
        "make the head watch": update(quota, head, "watchers"),
        "declare a lease dead": update(quota, lease_key("other"), "state"),
        "stop its timers": update(quota, lease_key("other"), "timer"),
        "count in a tenant": update(quota, tenant_key("other"), "count"),
        "keep a tenant in transactions": (
            "dynamodb",
            "transact_write_items",
            {"TransactItems": [{"Update": update(quota, tenant_key("other"), "watchers")[2]}]},
        ),
        "replace a tenant": ("dynamodb", "put_item", {"TableName": quota.table, "Item": tenant_key("other")}),
        "delete a tenant": ("dynamodb", "delete_item", {"TableName": quota.table, "Key": tenant_key("other")}),
        "put a report": ("s3", "put_object", {"Bucket": quota.blobs, "Key": report, "IfNoneMatch": "*"}),
        "overwrite a message": ("s3", "put_object", {"Bucket": quota.blobs, "Key": blob_key(quota, "messages", "x")}),
        "take commands away": ("sqs", "receive_message", {"QueueUrl": quota.requests}),
    }


def test_a_client_cannot_go_past_the_committer(deployed: tuple[BotoAws, Quota], granted: Granted) -> None:
    async def refused(aws: Aws, service: str, operation: str, parameters: dict[str, Any]) -> bool:
        try:
            await aws.call(service, operation, **parameters)
        except AccessDenied:
            return True
        return False

    async def work() -> list[str]:
        return [what for what, call in forbidden(deployed[1]).items() if not await refused(granted, *call)]

    assert run(work()) == []


async def acquired(client: Client, tenant: str, units: int, seconds: float = 120.0) -> Lease | None:
    try:
        return await client.acquire(tenant, units, seconds)
    except Refused:
        return None


def test_contenders_never_exceed_the_quota(deployed: tuple[BotoAws, Quota]) -> None:
    async def work() -> None:
        async with Client(*deployed) as owner:
            await owner.limit("shared", 7)
            clients = [Client(*deployed) for _ in range(3)]
            for client in clients:
                await client.__aenter__()
            tries = await asyncio.gather(*(_all_of(client) for client in clients))
            leases = [lease for found in tries for lease in found if lease]
            assert len(leases) == 3  # of two units each
            report = await owner.report("shared")
            assert report == {"limit": 7, "leases": {lease.id: 2 for lease in leases}}
            await leases[0].release()
            assert await acquired(owner, "shared", 3)
            assert await acquired(owner, "shared", 1) is None

    async def _all_of(client: Client) -> list[Lease | None]:
        return [await acquired(client, "shared", 2) for _ in range(3)]

    run(work())


def test_a_command_that_is_delivered_again_is_applied_once(deployed: tuple[BotoAws, Quota]) -> None:
    """Lambda's own doing: what the queue handed over is handed over again, by another invocation."""
    aws, quota = deployed

    async def work() -> None:
        async with Client(*deployed) as client:
            await client.limit("once", 5)
            await client.limit("other", 0)
            await client.transfer("once", "other", 2)
            head = await aws.call(
                "dynamodb", "get_item", TableName=quota.table, Key={"pk": {"S": "head"}, "sk": {"S": "head"}}
            )
            command = {"client": client.id, "number": 3, "do": "transfer", "tenant": "once", "to": "other", "units": 2}
            record = {
                "messageId": "again",
                "receiptHandle": "again",
                "body": json.dumps(command),
                "attributes": {"SequenceNumber": head["Item"]["applied"]["N"], "SentTimestamp": "0"},
            }
            functions = await aws.call("lambda", "list_functions")
            (committer,) = [each["FunctionName"] for each in functions["Functions"] if "Commit" in each["FunctionName"]]
            payload = json.dumps({"Records": [record]}).encode()
            answer = await aws.call("lambda", "invoke", FunctionName=committer, Payload=payload)
            assert "FunctionError" not in answer, answer
            assert (await client.report("once"))["limit"] == 3
            assert (await client.report("other"))["limit"] == 2
            with pytest.raises(Refused, match="exceeded"):
                await client.transfer("once", "other", 4)

    run(work())


def test_an_abandoned_lease_comes_back_and_one_that_is_renewed_does_not(deployed: tuple[BotoAws, Quota]) -> None:
    async def work() -> None:
        async with Client(*deployed) as client:
            await client.limit("expiring", 4)
            # whoever beats may be slow on a busy machine, so its lease is long
            kept = await client.acquire("expiring", 1, 120.0)
            abandoned = await client.acquire("expiring", 3, 1.0)
            while not (again := await acquired(client, "expiring", 3)):
                await kept.renew()
            assert abandoned.remaining() <= 0
            with pytest.raises(LeaseLost):
                await abandoned.renew()
            assert (await client.report("expiring"))["leases"] == {kept.id: 1, again.id: 3}

    run(work())


def test_who_watches_hears_of_a_new_limit(deployed: tuple[BotoAws, Quota]) -> None:
    async def work() -> None:
        async with Client(*deployed) as watcher, Client(*deployed) as owner:
            await watcher.watch("watched")
            await owner.limit("watched", 11)
            assert await watcher.changed() == "watched"
            assert (await watcher.report("watched"))["limit"] == 11

    run(work())


def test_nonsense_stops_nobody(deployed: tuple[BotoAws, Quota]) -> None:
    aws, quota = deployed

    async def work() -> None:
        async with Client(*deployed) as client:
            for index, body in enumerate(("no JSON", '{"do": "limit"}', "[]")):
                await aws.call(
                    "sqs",
                    "send_message",
                    QueueUrl=quota.requests,
                    MessageBody=body,
                    MessageGroupId=REQUEST_GROUP,
                    MessageDeduplicationId=f"nonsense-{index}",
                )
            with pytest.raises(Refused, match="failed"):
                await client.do("transfer", "nowhere", to=None)
            await client.limit("after", 1)
            reasons: list[Any] = []
            while len(reasons) < 3:
                received = await aws.call("sqs", "receive_message", QueueUrl=quota.dead_letters, WaitTimeSeconds=1)
                reasons += [json.loads(message["Body"])["body"] for message in received.get("Messages", [])]
            assert set(reasons) == {"no JSON", '{"do": "limit"}', "[]"}

    run(work())
