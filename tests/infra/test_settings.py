"""What a user of the constructs or of the app can get wrong, and what is said then."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from aws_cdk import App, RemovalPolicy, Stack

from cdk_app.settings import InvalidSettings, Settings
from cdk_app.stacks import add_stacks
from faaskeeper_cdk import CoordinationService, InvalidServiceName, InvalidTier, Tier

IN_VIRGINIA = "arn:aws:sns:us-east-1:123456789012:pager"
IN_FRANKFURT = "arn:aws:sns:eu-central-1:123456789012:pager"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1b2c3d4e-0000-4000-8000-5f6071829304"


def settings(**context: Any) -> Settings:
    return Settings.from_context(App(context=context).node)


def test_defaults() -> None:
    assert settings() == Settings(name="faaskeeper", tier="standard", regions=(), account=None)


def test_what_the_cdk_keeps_in_the_context_is_its_own() -> None:
    keys = ("@aws-cdk/core:annotationsInValidationReport", "availability-zones:account=1:region=r", "cli-telemetry")
    assert settings(**dict.fromkeys(keys, False)) == settings()


def test_one_stack_a_region() -> None:
    stacks = add_stacks(App(), settings(name="prod", tier="critical", regions="eu-central-1, us-east-1"))
    assert [(stack.stack_name, stack.region) for stack in stacks] == [
        ("prod-eu-central-1", "eu-central-1"),
        ("prod-us-east-1", "us-east-1"),
    ]
    assert {stack.coordination.service_name for stack in stacks} == {"prod"}
    assert all(stack.termination_protection for stack in stacks)


def test_without_a_region_the_stack_goes_wherever_it_is_deployed() -> None:
    (stack,) = add_stacks(App(), settings())
    assert stack.stack_name == "faaskeeper"
    assert "Token" in stack.region


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"teir": "standard"}, "^-c teir: tier is meant\\?$"),
        ({"alarm-topic": IN_VIRGINIA}, "^-c alarm-topic: alarmTopic is meant\\?$"),
        ({"stage": "prod"}, "^-c stage: one of account, alarmTopic, formerKeys, name, regions, superDigest, tier$"),
        ({"tier": "huge"}, "tier=huge: one of development, standard, critical"),
        ({"regions": "eu-central-1,Frankfurt"}, "'Frankfurt' is not the name of a region"),
        ({"regions": "us-east-1,us-east-1"}, "named twice"),
        ({"regions": ["us-east-1"]}, "text is expected"),
        ({"account": "12"}, "12 digits"),
        ({"alarmTopic": "pager"}, "'pager' is not the ARN of an SNS topic"),
        ({"alarmTopic": IN_VIRGINIA, "tier": "development"}, "pager: tier development has no alarms"),
        ({"alarmTopic": f"{IN_VIRGINIA},{IN_FRANKFURT}"}, "one topic for a stack without -c regions=.* not 2"),
        ({"alarmTopic": IN_VIRGINIA, "regions": "us-east-1,eu-central-1"}, "for region eu-central-1, .* not 0"),
        ({"alarmTopic": f"{IN_VIRGINIA},{IN_VIRGINIA}2", "regions": "us-east-1"}, "for region us-east-1, .* not 2"),
        ({"alarmTopic": IN_VIRGINIA, "regions": "eu-central-1"}, "its region is none of -c regions=eu-central-1"),
        ({"formerKeys": "alias/mine"}, "'alias/mine' is not the ARN of a KMS key"),
        ({"formerKeys": KEY, "regions": "us-east-1"}, "its region is none of -c regions=us-east-1"),
        ({"name": "my_service"}, "-c name='my_service': a service name is 1 to 32 letters, digits and hyphens"),
        ({"name": "a" * 33}, "1 to 32 letters, digits and hyphens"),
    ],
)
def test_wrong_settings_are_named(context: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        settings(**context)


@pytest.mark.parametrize("regions", ["", "us-east-1,eu-central-1"])
def test_alarms_are_told_to_the_topic_of_their_region(regions: str) -> None:
    topics = [IN_FRANKFURT, IN_VIRGINIA] if regions else [IN_VIRGINIA]
    stacks = add_stacks(App(), settings(alarmTopic=",".join(topics), regions=regions))
    told: list[str] = []
    for stack in stacks:
        monitoring = stack.coordination.monitoring
        assert monitoring is not None
        for alarm in monitoring.alarms.values():
            (action,) = stack.resolve(alarm.node.default_child.alarm_actions)  # type: ignore[union-attr]
            assert action == (IN_FRANKFURT if stack.region == "eu-central-1" else IN_VIRGINIA)
            told.append(action)
    assert set(told) == set(topics)


def test_a_former_key_is_given_to_the_stack_of_its_region() -> None:
    stacks = add_stacks(App(), settings(formerKeys=KEY, regions="us-east-1,eu-central-1"))
    assert [[key.key_arn for key in stack.coordination.storage.keys] for stack in stacks] == [[], [KEY]]


def test_regions_of_every_partition() -> None:
    regions = ("us-gov-west-1", "us-isob-east-1", "cn-north-1", "eusc-de-east-1", "ap-southeast-7")
    assert settings(regions=",".join(regions)).regions == regions


@pytest.mark.parametrize("name", ["1st", "with_underscore", "a" * 33, "a/b", "ü"])
def test_wrong_service_names_are_named(name: str) -> None:
    with pytest.raises(InvalidServiceName, match="1 to 32 letters, digits and hyphens"):
        CoordinationService(Stack(), "Service", service_name=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests_visibility": 9}, "requests_visibility=9 is below sequencer_timeout=10"),
        ({"requests_visibility": 43_201}, "requests_visibility=43201: 1 to 43200 seconds"),
        ({"sequencer_timeout": 3}, "sequencer_timeout=3: 4 to 900 .* ends 2 s before"),
        ({"sequencer_timeout": 901, "requests_visibility": 901}, "sequencer_timeout=901: 4 to 900"),
        ({"worker_timeout": 19}, "worker_timeout=19: 20 to 900 .* begins nothing in the last 10"),
        ({"worker_timeout": 901}, "worker_timeout=901: 20 to 900"),
        ({"sequencer_memory": 127}, "sequencer_memory=127: 128 to 10240 MB"),
        ({"sequencer_memory": 10_241}, "sequencer_memory=10241: 128 to 10240 MB"),
        ({"worker_memory": 64}, "worker_memory=64: 128 to 10240 MB"),
        ({"max_read_units": -1}, "max_read_units=-1: at least 1 request units"),
        ({"max_write_units": 0}, "max_write_units=0: at least 1 request units"),
        ({"inline_limit": 0}, "inline_limit=0"),
        ({"inline_limit": 40_000}, "inline_limit=40000 and blob_limit=32768"),
        ({"blob_limit": 400_000}, "400 KB"),
        ({"point_in_time_recovery_days": 36}, "point_in_time_recovery_days=36: 0 to 35"),
        ({"point_in_time_recovery_days": -1}, "0 to 35"),
        ({"requests_pollers": 1}, "0, or 2 to 200"),
        ({"janitor_interval_minutes": 0}, "at least 1"),
        ({"removal_policy": RemovalPolicy.DESTROY}, "never be deleted"),
        ({"removal_policy": RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE}, "could not be rolled back"),
        ({"removal_policy": RemovalPolicy.SNAPSHOT}, "SNAPSHOT"),
        ({"empty_bucket_on_removal": True}, "needs RemovalPolicy.DESTROY"),
    ],
)
def test_a_tier_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTier, match=message):
        dataclasses.replace(Tier.standard(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"requests_visibility": 43_200, "sequencer_timeout": 900},
        {"sequencer_timeout": 4, "requests_visibility": 4},
        {"worker_timeout": 20},
        {"sequencer_memory": 128, "worker_memory": 10_240},
        {"max_read_units": 1, "max_write_units": None},
    ],
)
def test_a_tier_goes_to_the_bounds(changes: dict[str, Any]) -> None:
    CoordinationService(Stack(), "Service", tier=dataclasses.replace(Tier.standard(), **changes))


def test_a_tier_is_overridden_field_by_field() -> None:
    tier = dataclasses.replace(Tier.standard(), sequencer_memory=1769)
    assert tier.sequencer_memory == 1769
    assert dataclasses.replace(tier, sequencer_memory=Tier.standard().sequencer_memory) == Tier.standard()
