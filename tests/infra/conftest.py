from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from faaskeeper_cdk import TIERS, CoordinationService

ROOT = Path(__file__).parents[2]
Template = dict[str, Any]


@pytest.fixture(scope="session")
def flags() -> dict[str, Any]:
    """The feature flags of cdk.json: a template of the tests is the template that is deployed."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


@pytest.fixture(scope="session")
def synthesize(
    flags: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[cdk.Stack], object]], tuple[Template, Path]]:
    """The template of a stack that the given function fills, and the file it is in."""

    def run(fill: Callable[[cdk.Stack], object], **options: Any) -> tuple[Template, Path]:
        directory = tmp_path_factory.mktemp("cdk.out")
        app = cdk.App(outdir=str(directory), context=flags, analytics_reporting=False)
        stack = cdk.Stack(app, "Test", **options)
        fill(stack)
        path = Path(app.synth().get_stack_by_name("Test").template_full_path)
        return json.loads(path.read_text()), path

    return run


@pytest.fixture(scope="session")
def template(synthesize: Callable[..., tuple[Template, Path]]) -> Callable[[str], Template]:
    """The template of a service of the given tier, with roles ``Client``, ``Reader`` and ``Admin``."""

    @cache
    def of(tier: str) -> Template:
        return synthesize(lambda stack: fill(stack, tier))[0]

    return of


def fill(stack: cdk.Stack, tier: str) -> CoordinationService:
    service = CoordinationService(stack, "Service", tier=TIERS[tier](), service_name="tests")
    for name, grant in (
        ("Client", service.grant_client),
        ("Reader", service.grant_read),
        ("Admin", service.grant_admin),
    ):
        role = iam.Role(stack, name, assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        grant(role)
    return service


@pytest.fixture(params=sorted(TIERS))
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)
