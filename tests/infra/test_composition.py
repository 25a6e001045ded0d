"""A service inside what others have: their stacks and stages, keys, buckets, log groups and boundaries."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct, IConstruct

from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.protocol.service import Service
from faaskeeper_cdk import CoordinationService, Tier
from faaskeeper_cdk.monitoring import ServiceMetrics

from .reading import flat, properties, resources

Synthesize = Callable[..., tuple[dict[str, Any], Path]]
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1b2c3d4e-0000-4000-8000-5f6071829304"
BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"


def test_everything_that_exists_already_is_used(synthesize: Synthesize) -> None:
    def fill(stack: cdk.Stack) -> None:
        CoordinationService(
            stack,
            "Service",
            tier=Tier.critical(),
            service_name="tests",
            encryption_key=kms.Key.from_key_arn(stack, "Key", KEY),
            blobs=s3.Bucket.from_bucket_name(stack, "Bucket", "of-the-team"),
            log_group=logs.LogGroup.from_log_group_name(stack, "Logs", "/of/the/team"),
            permissions_boundary=iam.ManagedPolicy.from_managed_policy_arn(stack, "Boundary", BOUNDARY),
        )

    template, _ = synthesize(fill)
    for kind in ("AWS::KMS::Key", "AWS::S3::Bucket", "AWS::Logs::LogGroup"):
        assert not resources(template, kind)
    described = Service.from_json(flat(properties(template, "AWS::SSM::Parameter", "Discovery")["Value"]))
    assert described.blobs == "of-the-team"
    for table in resources(template, "AWS::DynamoDB::Table").values():
        assert table["Properties"]["SSESpecification"]["KMSMasterKeyId"] == KEY
    for queue in resources(template, "AWS::SQS::Queue").values():
        assert queue["Properties"]["KmsMasterKeyId"] == KEY
    for function in resources(template, "AWS::Lambda::Function").values():
        assert function["Properties"]["LoggingConfig"]["LogGroup"] == "/of/the/team"
        assert function["Properties"]["KmsKeyArn"] == KEY
    roles = resources(template, "AWS::IAM::Role").values()
    assert len(roles) == 5
    for role in roles:
        assert role["Properties"]["PermissionsBoundary"] == BOUNDARY


def test_somebody_else_s_bucket_is_not_emptied(synthesize: Synthesize) -> None:
    def fill(stack: cdk.Stack) -> None:
        bucket = s3.Bucket(stack, "Bucket")
        CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests", blobs=bucket)

    template, _ = synthesize(fill)
    (bucket,) = resources(template, "AWS::S3::Bucket").values()
    assert "Tags" not in bucket.get("Properties", {})
    assert not resources(template, "Custom::FaaSKeeperEmptyBucket")
    assert not [role for role in resources(template, "AWS::IAM::Role") if "Emptier" in role]


def test_a_log_group_of_the_same_stack(synthesize: Synthesize) -> None:
    def fill(stack: cdk.Stack) -> None:
        group = logs.LogGroup(stack, "Shared")
        CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests", log_group=group)

    template, _ = synthesize(fill)
    (group,) = resources(template, "AWS::Logs::LogGroup")
    for function in resources(template, "AWS::Lambda::Function").values():
        assert function["Properties"]["LoggingConfig"]["LogGroup"] == {"Ref": group}


class Team(cdk.Stage):
    """As others have it: a service in a nested stack of its own, users in the stack around it and in another one."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id, env=cdk.Environment(account="111122223333", region="eu-central-1"))
        platform = cdk.Stack(self, "Platform")
        nested = cdk.NestedStack(platform, "Coordination")
        service = CoordinationService(nested, "Service", service_name="team")
        for stack in (platform, cdk.Stack(self, "Application")):
            service.grant_client(iam.Role(stack, "User", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))


def test_nested_stacks_and_stages(flags: dict[str, Any], tmp_path: Path) -> None:
    app = cdk.App(outdir=str(tmp_path), context=flags, analytics_reporting=False)
    for environment in ("Beta", "Prod"):
        Team(app, environment)
    assembly = app.synth()
    for environment in ("Beta", "Prod"):
        stacks = {stack.stack_name: stack for stack in assembly.get_nested_assembly(f"assembly-{environment}").stacks}
        assert set(stacks) == {f"{environment}-Platform", f"{environment}-Application"}
        platform = json.loads(Path(stacks[f"{environment}-Platform"].template_full_path).read_text())
        (nested,) = resources(platform, "AWS::CloudFormation::Stack").values()
        (inner,) = Path(stacks[f"{environment}-Platform"].template_full_path).parent.glob(
            f"*{environment}Platform*.nested.template.json"
        )
        service = json.loads(inner.read_text())
        assert len(resources(service, "AWS::DynamoDB::Table")) == 3
        assert not resources(platform, "AWS::DynamoDB::Table")
        # what the users need of it comes out of the nested stack
        outputs = {f"Outputs.{name}" for name in service["Outputs"]}
        granted = json.dumps(resources(platform, "AWS::IAM::Policy"))
        assert nested["Properties"]["TemplateURL"]
        assert sum(output in granted for output in outputs) >= 6  # three tables, a bucket, two queues


def test_services_of_one_account_and_region_share_no_name(synthesize: Synthesize) -> None:
    """Of what is named in an account: parameters, alarms, dashboards, the prefixes of reply queues and blobs."""

    def fill(stack: cdk.Stack) -> None:
        CoordinationService(stack, "First")
        CoordinationService(stack, "Second")
        CoordinationService(stack, "Third", service_name="third")

    template, _ = synthesize(fill)
    for kind, name in (
        ("AWS::SSM::Parameter", "Name"),
        ("AWS::CloudWatch::Alarm", "AlarmName"),
        ("AWS::CloudWatch::Dashboard", "DashboardName"),
    ):
        names = [flat(resource["Properties"][name]) for resource in resources(template, kind).values()]
        assert names
        assert len(names) % 3 == 0
        assert len(set(names)) == len(names), kind
    prefixes = [
        Service.from_json(flat(parameter["Properties"]["Value"])).reply_prefix
        for parameter in resources(template, "AWS::SSM::Parameter").values()
    ]
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and a.startswith(b)]
    for resource in template["Resources"].values():
        assert not {"TableName", "BucketName", "QueueName", "FunctionName", "RoleName"} & set(
            resource.get("Properties", {})
        ) - ({"FunctionName"} if resource["Type"] != "AWS::Lambda::Function" else set())


def is_block(construct: IConstruct) -> bool:
    """Ours, and more than a resource."""
    return type(construct).__module__.startswith("faaskeeper_cdk") and not isinstance(construct, cdk.Resource)


def reachable(value: object) -> Iterator[str]:
    """Paths of constructs that public attributes lead to."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for part in value:
            yield from reachable(part)
        return
    if not isinstance(value, Construct):
        return
    yield value.node.path
    if isinstance(value, lambda_.Function):
        yield from reachable((value.role, value.log_group))
    if is_block(value):
        for name in vars(value):
            if not name.startswith("_"):
                yield from reachable(getattr(value, name))


def blocks(construct: IConstruct) -> Iterator[IConstruct]:
    """What our own classes made."""
    for child in construct.node.children:
        yield child
        if is_block(child):
            yield from blocks(child)


@pytest.mark.parametrize("tier", [Tier.development(), Tier.critical()])
def test_every_inner_resource_can_be_reached(tier: Tier) -> None:
    service = CoordinationService(cdk.Stack(), "Service", tier=tier, service_name="tests")
    made = {each.node.path for each in blocks(service) if not isinstance(each, cdk.CfnOutput)}
    assert len(made) > 20
    assert made - set(reachable(service)) == set()


def test_each_metric_of_the_functions_has_a_method() -> None:
    service = CoordinationService(cdk.Stack(), "Service", tier=Tier.development(), service_name="tests")
    methods = [getattr(service, name) for name, _ in inspect.getmembers(ServiceMetrics) if name.startswith("metric_")]
    assert all(method.__doc__ for method in methods)
    metrics = [method() for method in methods]
    own = set(FunctionMetrics.UNITS)
    assert {metric.metric_name for metric in metrics if isinstance(metric, cloudwatch.Metric)} & own == own
