"""Least privilege: what each role may do, and that it is what the code does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from faaskeeper_cdk import TIERS, CoordinationService, InvalidSubtree, Tier

from .calls import actions_of
from .reading import Statement, flat, listed, statements

Templates = Callable[[str], dict[str, Any]]
FUNCTIONS = ("sequencer", "direct", "notifier", "reaper", "janitor")

STORAGE = "faaskeeper.storage"
ENTRIES = {
    "Client": [("faaskeeper_client.gateway_thread", "serve")],
    "Reader": [
        ("faaskeeper.blocks.blobs", "read_blob"),
        (f"{STORAGE}.ledger", "confirm_complete"),
        (f"{STORAGE}.ledger", "read_head"),
        (f"{STORAGE}.znodes", "read_children"),
        (f"{STORAGE}.znodes", "read_node"),
        (f"{STORAGE}.znodes", "read_node_and_value"),
    ],
    "Admin": [
        ("faaskeeper_client.administration.dead_letters", "drop"),
        ("faaskeeper_client.administration.dead_letters", "list_letters"),
        ("faaskeeper_client.administration.dead_letters", "redrive"),
        ("faaskeeper_client.administration.sessions", "scan_sessions"),
        ("faaskeeper_client.administration.status", "read_status"),
    ],
}
"""What is called with each grant."""

DISCOVERY = {"ssm:GetParameter"}
"""``find_service`` asks boto3 itself, as there is no service yet whose calls could be counted."""

WITHOUT_RESOURCES = {
    "cloudwatch:GetMetricStatistics",
    "sqs:ListQueues",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions for which IAM knows no resources, so that "*" is all one can say."""

BY_LAMBDA = {
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""What Lambda does in a function's name: its event source mapping, its logs, its traces."""

OF_THE_SAME_NAME = {"Client": {"dynamodb:DeleteItem"}, "Reader": set[str](), "Admin": set[str]()}
"""Found by mistake: gateways forget connections; they know heartbeats too, which only the reaper forgets."""

WITHOUT_A_NOTIFIER = {"sqs:ListQueues"}
"""What the sequencer would do where it is deployed without one."""


def of(template: dict[str, Any], role: str) -> list[Statement]:
    found = [statement for statement in statements(template) if role.lower() in statement.role.lower()]
    assert found
    return found


def test_no_action_has_a_wildcard(template: Templates, tier: str) -> None:
    for statement in statements(template(tier)):
        assert not [action for action in statement.actions if "*" in action]


def test_no_policy_of_any_resource_allows_a_wildcard_action(template: Templates, tier: str) -> None:
    """But for the sentence of a key's policy by which IAM decides on the key at all (KMS developer guide, "Default key
    policy": without it nobody could manage the key any more)."""
    found: list[str] = []
    for resource in template(tier)["Resources"].values():
        for document in ("AssumeRolePolicyDocument", "KeyPolicy", "PolicyDocument"):
            for statement in resource.get("Properties", {}).get(document, {}).get("Statement", ()):
                if statement["Effect"] == "Allow" and any("*" in action for action in listed(statement["Action"])):
                    assert flat(statement["Principal"]["AWS"]) == "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"
                    found.append(resource["Type"])
    assert found == (["AWS::KMS::Key"] if tier == "critical" else [])


def test_wildcard_resources_only_where_iam_knows_no_better(template: Templates, tier: str) -> None:
    for statement in statements(template(tier)):
        if "*" in statement.resources:
            assert statement.actions <= WITHOUT_RESOURCES
        for resource in statement.resources - {"*"}:
            assert resource.count("*") == resource.endswith("*"), resource
            if "*" in resource:
                assert (
                    resource.endswith(("/blobs/tests/*", "/journal/tests/*", ":faaskeeper_tests_*"))
                    or "emptier" in statement.role.lower()
                )


@pytest.mark.parametrize("function", [*FUNCTIONS, "emptier"])
def test_a_function_may_do_what_it_does_and_nothing_else(template: Templates, function: str) -> None:
    granted = {
        action for statement in of(template("development"), function) for action in statement.actions
    } - BY_LAMBDA
    code = actions_of((f"faaskeeper.functions.{function}", "handler"))
    assert code.needed - BY_LAMBDA - granted <= (WITHOUT_A_NOTIFIER if function in ("sequencer", "direct") else set())
    assert granted <= code.usable


@pytest.mark.parametrize("role", ENTRIES)
def test_a_grant_is_what_its_code_calls_and_nothing_else(template: Templates, role: str) -> None:
    granted = {action for statement in of(template("development"), role) for action in statement.actions}
    assert granted == actions_of(*ENTRIES[role]).needed - OF_THE_SAME_NAME[role] | DISCOVERY


def test_only_functions_that_commit_and_janitor_write_znodes_freely(template: Templates, tier: str) -> None:
    writes = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
    for statement in statements(template(tier)):
        if statement.actions & writes and any("Znodes" in resource for resource in statement.resources):
            restricted = "dynamodb:Attributes" in statement.conditions.get("ForAllValues:StringEquals", {})
            assert restricted or any(name in statement.role for name in ("Sequencer", "Direct", "Janitor"))


def test_a_client_writes_only_watches_liveness_and_requests(template: Templates, tier: str) -> None:
    client = of(template(tier), "Client")
    updates = {
        next(iter(statement.resources)): statement for statement in client if "dynamodb:UpdateItem" in statement.actions
    }
    znodes = next(statement for resource, statement in updates.items() if "Znodes" in resource)
    sessions = next(statement for resource, statement in updates.items() if "Sessions" in resource)
    assert len(updates) == 2
    assert znodes.conditions == {
        "ForAllValues:StringEquals": {
            "dynamodb:Attributes": ["path", "part", "watch_data", "watch_child", "watch_stay"]
        },
        "Null": {"dynamodb:Attributes": "false", "dynamodb:EnclosingOperation": "true"},
    }
    assert "session" not in sessions.conditions["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    assert sessions.conditions["ForAllValues:StringLike"] == {"dynamodb:LeadingKeys": ["gateway#*"]}
    assert sessions.conditions["Null"] == {
        "dynamodb:Attributes": "false",
        "dynamodb:LeadingKeys": "false",
        "dynamodb:EnclosingOperation": "true",
    }

    (puts,) = (statement for statement in client if "s3:PutObject" in statement.actions)
    assert puts.actions == {"s3:PutObject"}
    assert puts.conditions == {"Null": {"s3:if-none-match": "false"}}

    actions = {action for statement in client for action in statement.actions}
    assert not actions & {"dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Scan", "s3:DeleteObject"}
    for statement in client:
        if statement.actions & {"sqs:DeleteQueue", "sqs:ReceiveMessage", "sqs:DeleteMessage"}:
            assert all(resource.endswith(":faaskeeper_tests_*") for resource in statement.resources)


def test_a_reader_writes_nothing(template: Templates, tier: str) -> None:
    actions = {action for statement in of(template(tier), "Reader") for action in statement.actions}
    assert {action for action in actions if not action.startswith("kms:")} == {
        "dynamodb:GetItem",
        "dynamodb:Query",
        "s3:GetObject",
        "ssm:GetParameter",
    }


def test_the_key_is_used_only_through_services(template: Templates) -> None:
    found = [
        statement
        for statement in statements(template("critical"))
        if any(action.startswith("kms:") for action in statement.actions)
    ]
    assert len(found) == len(FUNCTIONS) + len(ENTRIES)
    for statement in found:
        assert not [resource for resource in statement.resources if "*" in resource]
        assert "kms:ViaService" in statement.conditions["StringEquals"]


FORMER, PRESENT, OF_THE_BUCKET = (
    f"arn:aws:kms:eu-central-1:111122223333:key/1b2c3d4e-0000-4000-8000-00000000000{number}" for number in range(3)
)


@pytest.mark.parametrize(
    ("tier", "present", "of_the_bucket", "former"),
    [
        ("standard", None, None, FORMER),
        ("standard", PRESENT, None, FORMER),
        ("standard", PRESENT, OF_THE_BUCKET, FORMER),
        ("standard", None, OF_THE_BUCKET, None),
        ("standard", PRESENT, PRESENT, PRESENT),
        ("development", None, None, FORMER),
    ],
)
def test_whatever_key_data_is_under_it_can_be_read(
    synthesize: Callable[..., tuple[dict[str, Any], Any]],
    tier: str,
    present: str | None,
    of_the_bucket: str | None,
    former: str | None,
) -> None:
    """Down from a tier with a key, to another key, or with a bucket that has its own."""

    def fill(stack: Stack) -> None:
        def key(arn: str | None) -> kms.IKey | None:
            return kms.Key.from_key_arn(stack, f"Key{len(stack.node.children)}", arn) if arn else None

        before = key(former)
        service = CoordinationService(
            stack,
            "Service",
            tier=TIERS[tier](),
            service_name="tests",
            encryption_key=key(present),
            former_keys=[before] if before else [],
            blobs=s3.Bucket(stack, "Bucket", encryption_key=key(of_the_bucket)) if of_the_bucket else None,
        )
        service.grant_read(iam.Role(stack, "Reader", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))

    readers: set[str] = set()
    usable: dict[str, set[str]] = {}
    for statement in statements(synthesize(fill)[0]):
        if statement.actions & {"s3:GetObject", "sqs:ReceiveMessage"}:
            readers.add(statement.role)
        if "kms:Decrypt" in statement.actions:
            assert "kms:ViaService" in statement.conditions["StringEquals"]
            usable.setdefault(statement.role, set()).update(statement.resources)
    assert len(readers) >= 3
    for reader in readers:
        assert usable[reader] == {arn for arn in (present, of_the_bucket, former) if arn}


@pytest.mark.parametrize("grant", ["grant_client", "grant_read"])
def test_a_subtree_limits_what_is_read_and_watched(
    synthesize: Callable[..., tuple[dict[str, Any], Any]], grant: str
) -> None:
    def fill(stack: Stack) -> None:
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        role = iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        getattr(service, grant)(role, subtree="/app/one")

    template, _ = synthesize(fill)
    on_znodes = [
        statement
        for statement in of(template, "Client")
        if any("Znodes" in resource for resource in statement.resources)
    ]
    assert on_znodes
    for statement in on_znodes:
        assert statement.conditions["ForAllValues:StringLike"] == {"dynamodb:LeadingKeys": ["/app/one", "/app/one/*"]}
        assert statement.conditions["Null"]["dynamodb:LeadingKeys"] == "false"


@pytest.mark.parametrize("subtree", ["app", "/app/", "/", "/a*", "/a?", "/${aws:username}"])
def test_a_subtree_is_a_path(synthesize: Callable[..., tuple[dict[str, Any], Any]], subtree: str) -> None:
    def fill(stack: Stack) -> None:
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        role = iam.Role(stack, "Client", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        service.grant_client(role, subtree=subtree)

    with pytest.raises(InvalidSubtree, match="absolute path"):
        synthesize(fill)
