"""What is deployed: the properties on which the design rests, in every tier."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from aws_cdk import Stack

from faaskeeper.blocks.runtime import KEEP_WARM
from faaskeeper.functions.emptier.function import TAG
from faaskeeper.protocol.service import Service
from faaskeeper_cdk import CoordinationService

from .reading import flat, properties, resources, statements

Templates = Callable[[str], dict[str, Any]]


def test_three_tables_paid_by_request(template: Templates, tier: str) -> None:
    tables = resources(template(tier), "AWS::DynamoDB::Table").values()
    keys = {
        tuple((key["AttributeName"], key["KeyType"]) for key in table["Properties"]["KeySchema"]) for table in tables
    }
    assert keys == {
        (("path", "HASH"), ("part", "RANGE")),
        (("id", "HASH"), ("part", "RANGE")),
        (("pk", "HASH"), ("sk", "RANGE")),
    }
    assert {table["Properties"]["BillingMode"] for table in tables} == {"PAY_PER_REQUEST"}


def test_only_event_records_expire(template: Templates, tier: str) -> None:
    expiring = [
        id
        for id, table in resources(template(tier), "AWS::DynamoDB::Table").items()
        if "TimeToLiveSpecification" in table["Properties"]
    ]
    assert len(expiring) == 1
    assert "Ledger" in expiring[0]


def test_requests_keep_their_order_and_are_never_moved_aside(template: Templates, tier: str) -> None:
    requests = properties(template(tier), "AWS::SQS::Queue", "Requests")
    assert requests["FifoQueue"] is True
    assert requests["ContentBasedDeduplication"] is False
    assert "RedrivePolicy" not in requests
    assert requests["MaximumMessageSize"] == 1024 * 1024


def test_timers_that_fail_for_good_are_kept(template: Templates, tier: str) -> None:
    timers = properties(template(tier), "AWS::SQS::Queue", "Timers")
    assert "DeadLetters" in timers["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]


def test_no_batch_is_handed_out_twice_while_its_function_runs(template: Templates, tier: str) -> None:
    all_resources = template(tier)["Resources"]
    mappings = resources(template(tier), "AWS::Lambda::EventSourceMapping").values()
    assert len(mappings) == 2
    for mapping in mappings:
        queue = all_resources[mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        function = all_resources[mapping["Properties"]["FunctionName"]["Ref"]]["Properties"]
        assert queue["VisibilityTimeout"] >= function["Timeout"]
        assert mapping["Properties"]["BatchSize"] == 10


def test_a_flood_of_timers_leaves_concurrency_to_others(template: Templates, tier: str) -> None:
    """Without a reservation, which an account with a small quota refuses."""
    mapping = properties(template(tier), "AWS::Lambda::EventSourceMapping", "Timers")
    assert 2 <= mapping["ScalingConfig"]["MaximumConcurrency"] <= 5
    for function in resources(template(tier), "AWS::Lambda::Function").values():
        assert "ReservedConcurrentExecutions" not in function["Properties"]


def test_what_is_invoked_asynchronously_says_how_often(template: Templates, tier: str) -> None:
    """By a rule, by another function or by CloudFormation. Lambda's own rule is two repetitions within six hours."""
    all_resources = template(tier)["Resources"]
    invoked = {
        target["Arn"]["Fn::GetAtt"][0]
        for rule in resources(template(tier), "AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
    }
    invoked |= {
        resource.removeprefix("<").removesuffix(".Arn>")
        for statement in statements(template(tier))
        if "lambda:InvokeFunction" in statement.actions
        for resource in statement.resources
    }
    invoked |= {
        resource["Properties"]["ServiceToken"]["Fn::GetAtt"][0]
        for resource in resources(template(tier), "Custom::FaaSKeeperEmptyBucket").values()
    }
    configured = {
        each["Properties"]["FunctionName"]["Ref"]: each["Properties"]
        for each in resources(template(tier), "AWS::Lambda::EventInvokeConfig").values()
    }
    assert configured.keys() == invoked
    for id, properties_ in configured.items():
        handler = all_resources[id]["Properties"]["Handler"].split(".")[2]
        attempts, age = properties_["MaximumRetryAttempts"], properties_["MaximumEventAgeInSeconds"]
        assert (handler, attempts, age) in {
            ("notifier", 1, 60),
            ("sequencer", 0, 60),
            ("direct", 0, 60),
            ("janitor", 0, 60),
            ("emptier", 2, 900),
        }


def test_writes_find_warm_functions_where_the_tier_says_so(template: Templates, tier: str) -> None:
    all_resources = template(tier)["Resources"]
    warmed = [
        (all_resources[target["Arn"]["Fn::GetAtt"][0]]["Properties"]["Handler"], target["Input"])
        for id, rule in resources(template(tier), "AWS::Events::Rule").items()
        if "KeepWarm" in id
        for target in rule["Properties"]["Targets"]
    ]
    expected = [] if tier == "development" else ["sequencer", "direct"]
    event = json.dumps(KEEP_WARM, separators=(",", ":"))
    assert warmed == [(f"faaskeeper.functions.{name}.handler", event) for name in expected]


def test_an_operator_can_see_how_long_invocations_took(template: Templates, tier: str) -> None:
    for function in resources(template(tier), "AWS::Lambda::Function").values():
        assert function["Properties"]["LoggingConfig"]["SystemLogLevel"] == "INFO"


def test_ceilings_are_below_the_quota_of_an_account_that_never_asked_for_more(template: Templates, tier: str) -> None:
    for table in resources(template(tier), "AWS::DynamoDB::Table").values():
        ceiling = table["Properties"].get("OnDemandThroughput", {})
        assert all(units < 40_000 for units in ceiling.values())


def test_journals_outlive_every_moment_that_the_tables_can_be_restored_to(template: Templates, tier: str) -> None:
    (bucket,) = resources(template(tier), "AWS::S3::Bucket").values()
    rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    (expiry,) = [rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == "journal/"]
    assert expiry > 35


def test_functions(template: Templates, tier: str) -> None:
    functions = resources(template(tier), "AWS::Lambda::Function")
    expected = {"sequencer", "direct", "notifier", "reaper", "janitor"}
    if tier == "development":
        expected.add("emptier")
    handlers = {function["Properties"]["Handler"] for function in functions.values()}
    assert handlers == {f"faaskeeper.functions.{name}.handler" for name in expected}
    for function in functions.values():
        assert function["Properties"]["Runtime"] == "python3.14"
        assert function["Properties"]["Architectures"] == ["arm64"]
        log_group = template(tier)["Resources"][function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]]
        assert log_group["Properties"]["RetentionInDays"] > 0


@pytest.mark.parametrize("name", ["sequencer", "direct", "notifier", "reaper", "janitor", "emptier"])
def test_handler_exists(name: str) -> None:
    assert find_spec(f"faaskeeper.functions.{name}") is not None


def test_timers_that_arm_themselves_again_are_no_runaway_recursion(template: Templates, tier: str) -> None:
    allowed = {
        function["Properties"]["Handler"].split(".")[2]
        for function in resources(template(tier), "AWS::Lambda::Function").values()
        if function["Properties"].get("RecursiveLoop") == "Allow"
    }
    assert {"sequencer", "reaper"} <= allowed


def test_functions_and_clients_read_the_same_description(template: Templates, tier: str) -> None:
    parameter = properties(template(tier), "AWS::SSM::Parameter", "Discovery")
    assert parameter["Name"] == "/faaskeeper/tests"
    service = Service.from_json(flat(parameter["Value"]))
    functions = resources(template(tier), "AWS::Lambda::Function").values()
    for function in functions:
        text = flat(function["Properties"]["Environment"]["Variables"]["FAASKEEPER_SERVICE"])
        assert Service.from_json(text) == replace(service, log_groups=(), direct="")
    assert len(service.log_groups) == len(functions)
    assert service.name == "tests"
    assert service.inline_limit == 1024
    keys = [f"<{key}.Arn>" for key in resources(template(tier), "AWS::KMS::Key")]
    assert service.encryption_key == "".join(keys)
    for field, kind in (
        ("znodes", "AWS::DynamoDB::Table"),
        ("sessions", "AWS::DynamoDB::Table"),
        ("ledger", "AWS::DynamoDB::Table"),
        ("blobs", "AWS::S3::Bucket"),
        ("requests", "AWS::SQS::Queue"),
        ("timers", "AWS::SQS::Queue"),
        ("dead_letters", "AWS::SQS::Queue"),
    ):
        logical_id = getattr(service, field).strip("<>")
        assert logical_id in resources(template(tier), kind)
        assert field.replace("_", "") in logical_id.lower()


def test_only_functions_that_commit_know_the_notifier(template: Templates, tier: str) -> None:
    functions = resources(template(tier), "AWS::Lambda::Function")
    knowing = {
        function["Properties"]["Handler"]: function["Properties"]["Environment"]["Variables"]["NOTIFIER_FUNCTION"][
            "Ref"
        ]
        for function in functions.values()
        if "NOTIFIER_FUNCTION" in function["Properties"]["Environment"]["Variables"]
    }
    assert knowing.keys() == {f"faaskeeper.functions.{name}.handler" for name in ("sequencer", "direct")}
    (notifier,) = set(knowing.values())
    assert functions[notifier]["Properties"]["Handler"] == "faaskeeper.functions.notifier.handler"


def test_nothing_is_reached_without_tls(template: Templates, tier: str) -> None:
    secured: set[str] = set()
    for kind, key in (("AWS::SQS::QueuePolicy", "Queues"), ("AWS::S3::BucketPolicy", "Bucket")):
        for policy in resources(template(tier), kind).values():
            denied = [
                statement
                for statement in policy["Properties"]["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Deny"
                and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            ]
            if denied:
                secured |= set(re.findall(r'"Ref": "(\w+)"', json.dumps(policy["Properties"][key])))
    assert secured == set(resources(template(tier), "AWS::SQS::Queue")) | set(
        resources(template(tier), "AWS::S3::Bucket")
    )


def test_bucket_is_private(template: Templates, tier: str) -> None:
    bucket = properties(template(tier), "AWS::S3::Bucket", "Blobs")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}


def test_development_leaves_nothing_behind(template: Templates) -> None:
    policies = {resource.get("DeletionPolicy", "Delete") for resource in template("development")["Resources"].values()}
    assert policies == {"Delete"}
    assert len(resources(template("development"), "Custom::FaaSKeeperEmptyBucket")) == 1


def test_only_a_bucket_that_is_to_be_emptied_says_so(template: Templates, tier: str) -> None:
    tags = properties(template(tier), "AWS::S3::Bucket", "Blobs").get("Tags", [])
    assert tags == ([{"Key": TAG, "Value": "true"}] if tier == "development" else [])


@pytest.mark.parametrize("tier", ["standard", "critical"])
def test_data_outlives_the_stack(template: Templates, tier: str) -> None:
    kept = {
        resource["Type"]: resource["DeletionPolicy"]
        for resource in template(tier)["Resources"].values()
        if resource.get("UpdateReplacePolicy") == "Retain"
    }
    # a bucket that a failed deployment made can go; a table cannot, it is protected; a key must not, it is in use
    expected = {"AWS::DynamoDB::Table": "Retain", "AWS::S3::Bucket": "RetainExceptOnCreate"}
    assert kept == expected | ({"AWS::KMS::Key": "Retain"} if tier == "critical" else {})
    for table in resources(template(tier), "AWS::DynamoDB::Table").values():
        assert table["DeletionPolicy"] == "Retain"
        assert table["Properties"]["DeletionProtectionEnabled"] is True
        assert table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert properties(template(tier), "AWS::S3::Bucket", "Blobs")["VersioningConfiguration"]["Status"] == "Enabled"


def test_development_has_low_ceilings(template: Templates) -> None:
    for table in resources(template("development"), "AWS::DynamoDB::Table").values():
        ceiling = table["Properties"]["OnDemandThroughput"]
        assert 0 < ceiling["MaxWriteRequestUnits"] <= 1_000
        assert 0 < ceiling["MaxReadRequestUnits"] <= 1_000


def test_critical_encrypts_everything_with_its_own_key(template: Templates) -> None:
    critical = template("critical")
    (key,) = resources(critical, "AWS::KMS::Key")
    for table in resources(critical, "AWS::DynamoDB::Table").values():
        assert key in json.dumps(table["Properties"]["SSESpecification"])
    for queue in resources(critical, "AWS::SQS::Queue").values():
        assert key in json.dumps(queue["Properties"]["KmsMasterKeyId"])
    for log_group in resources(critical, "AWS::Logs::LogGroup").values():
        assert key in json.dumps(log_group["Properties"]["KmsKeyId"])
    assert key in json.dumps(properties(critical, "AWS::S3::Bucket", "Blobs")["BucketEncryption"])


def test_several_services_in_one_stack_do_not_collide(synthesize: Callable[..., tuple[dict[str, Any], Any]]) -> None:
    def fill(stack: Stack) -> None:
        CoordinationService(stack, "First")
        CoordinationService(stack, "Second")

    template, _ = synthesize(fill)
    services = [
        Service.from_json(flat(parameter["Properties"]["Value"]))
        for parameter in resources(template, "AWS::SSM::Parameter").values()
    ]
    assert len({service.name for service in services}) == 2
    first, second = (service.reply_prefix for service in services)
    assert not first.startswith(second)
    assert not second.startswith(first)
