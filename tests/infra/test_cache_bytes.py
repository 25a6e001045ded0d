"""``cache_bytes`` of the constructs that run a gateway: told to it by the environment, which its programs read."""

from __future__ import annotations

import json

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Template

from faaskeeper.protocol.service import CACHE_BYTES_VARIABLE
from faaskeeper_cdk import CoordinationService, Ec2Gateway, EcsGateway, LambdaGateway, Tier
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES, default_cache_bytes


def text(cache_bytes: int | None) -> str:
    """Of a template with one gateway of each kind."""
    stack = cdk.Stack()
    service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
    function = lambda_.Function(
        stack,
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_12,
        handler="index.handler",
        code=lambda_.Code.from_inline("def handler(event, context): ..."),
    )
    host = ec2.Instance(
        stack,
        "Host",
        vpc=ec2.Vpc(stack, "Vpc", max_azs=1),
        instance_type=ec2.InstanceType("t4g.small"),
        machine_image=ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
    )
    task = ecs.FargateTaskDefinition(stack, "Task")
    image = ecs.ContainerImage.from_registry("of/the-team:1")
    LambdaGateway(stack, "InFunction", service=service, function=function, cache_bytes=cache_bytes)
    EcsGateway(stack, "InTask", service=service, task_definition=task, image=image, cache_bytes=cache_bytes)
    Ec2Gateway(stack, "OnHost", service=service, host=host, cache_bytes=cache_bytes)
    return json.dumps(Template.from_stack(stack).to_json())


def test_it_is_told_to_each_gateway() -> None:
    told = text(1_000_000)
    assert f'{{"Name": "{CACHE_BYTES_VARIABLE}", "Value": "1000000"}}' in told
    assert f'"{CACHE_BYTES_VARIABLE}": "1000000"' in told
    assert f"packages {CACHE_BYTES_VARIABLE}=1000000\\" in told


def test_nothing_is_told_unless_asked() -> None:
    assert CACHE_BYTES_VARIABLE not in text(None)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="cache_bytes=-1: at least 0"):
        text(-1)


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_cache_bytes() == DEFAULT_CACHE_BYTES
    monkeypatch.setenv(CACHE_BYTES_VARIABLE, "0")
    assert default_cache_bytes() == 0
    monkeypatch.setenv(CACHE_BYTES_VARIABLE, "-5")
    with pytest.raises(ValueError, match="FAASKEEPER_CACHE_BYTES='-5': a number of bytes"):
        default_cache_bytes()
