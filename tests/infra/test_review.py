"""What automatic reviewers say of the templates."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag
import pytest
from aws_cdk import aws_sns as sns

from faaskeeper_cdk import TIERS, CoordinationService, Tier

from .conftest import fill

PACKS = (cdk_nag.AwsSolutionsChecks, cdk_nag.ServerlessChecks)
CONTROLS = (*PACKS, cdk_nag.NIST80053R5Checks, cdk_nag.HIPAASecurityChecks)


def violations(
    flags: dict[str, Any], directory: Path, fill: Callable[[cdk.Stack], object], packs: tuple[Any, ...] = PACKS
) -> list[str]:
    """Of cdk-nag's rules, warnings too, and of the CDK's own."""
    app = cdk.App(outdir=str(directory), context=flags, analytics_reporting=False)
    cdk.Validations.of(app).add_plugins(*(pack(app) for pack in packs))
    fill(cdk.Stack(app, "Test"))
    with contextlib.suppress(RuntimeError):  # the report tells more
        app.synth()
    report = json.loads((directory / "validation-report.json").read_text())
    return [violation["ruleName"] for plugin in report["pluginReports"] for violation in plugin["violations"]]


def cfn_lint(*templates: Path) -> str:
    """What it says."""
    result = subprocess.run(
        # W3005: the CDK writes dependencies out that a GetAtt implies
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *templates],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def test_cdk_nag_finds_nothing(flags: dict[str, Any], tmp_path: Path, tier: str) -> None:
    assert violations(flags, tmp_path, lambda stack: fill(stack, tier)) == []


def with_a_topic(stack: cdk.Stack) -> None:
    """As an account under NIST 800-53 or HIPAA has it: somebody hears of the alarms."""
    CoordinationService(
        stack,
        "Service",
        tier=Tier.critical(),
        alarm_topic=sns.Topic.from_topic_arn(stack, "Topic", "arn:aws:sns:us-east-1:123456789012:pager"),
    )


def test_the_critical_tier_meets_nist_800_53_and_hipaa(flags: dict[str, Any], tmp_path: Path) -> None:
    assert violations(flags, tmp_path, with_a_topic, CONTROLS) == []


def test_alarms_that_nobody_hears_are_found(flags: dict[str, Any], tmp_path: Path) -> None:
    found = violations(
        flags, tmp_path, lambda stack: CoordinationService(stack, "Service", tier=Tier.critical()), CONTROLS
    )
    assert set(found) == {"NIST.800.53.R5-CloudWatchAlarmAction", "HIPAA.Security-CloudWatchAlarmAction"}


def test_what_breaks_a_default_rule_of_the_cdk_is_not_synthesized(synthesize: Callable[..., object]) -> None:
    def careless(stack: cdk.Stack) -> None:
        cdk.CfnResource(stack, "Careless", type="AWS::SQS::Queue", properties={"VisibilityTimeout": "soon"})

    with pytest.raises(RuntimeError, match="'soon' is not of type 'integer'"):
        synthesize(careless)


def test_cdk_nag_would_find_something(flags: dict[str, Any], tmp_path: Path) -> None:
    def careless(stack: cdk.Stack) -> None:
        fill(stack, "development")
        cdk.aws_sqs.Queue(stack, "Careless")

    assert "AwsSolutions-SQS4" in violations(flags, tmp_path, careless)


def test_cfn_lint_finds_nothing(synthesize: Callable[..., tuple[dict[str, Any], Path]]) -> None:
    paths = [
        synthesize(lambda stack, tier=tier: fill(stack, tier), env=cdk.Environment(region=region))[1]
        for tier, region in (*((tier, None) for tier in TIERS), ("critical", "eu-central-1"))
    ]
    assert cfn_lint(*paths) == ""
