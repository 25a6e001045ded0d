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

from .conftest import TIERS, fill


def violations(flags: dict[str, Any], directory: Path, fill: Callable[[cdk.Stack], object]) -> list[str]:
    """Of cdk-nag's rules, warnings too."""
    app = cdk.App(outdir=str(directory), context=flags, analytics_reporting=False)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app), cdk_nag.ServerlessChecks(app))
    fill(cdk.Stack(app, "Test"))
    with contextlib.suppress(RuntimeError):  # the report tells more
        app.synth()
    report = json.loads((directory / "validation-report.json").read_text())
    return [violation["ruleName"] for plugin in report["pluginReports"] for violation in plugin["violations"]]


def test_cdk_nag_finds_nothing(flags: dict[str, Any], tmp_path: Path, tier: str) -> None:
    assert violations(flags, tmp_path, lambda stack: fill(stack, tier)) == []


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
    result = subprocess.run(
        # W3005: the CDK writes dependencies out that a GetAtt implies
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout + result.stderr == ""
    assert result.returncode == 0
