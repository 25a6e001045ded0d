"""The page of the constructs says what the code has."""

from __future__ import annotations

import dataclasses
import inspect
import re
from enum import Enum

from faaskeeper_cdk import TIERS, CoordinationService, Tier
from faaskeeper_cdk.monitoring import ServiceMetrics

from .conftest import ROOT

PAGE = (ROOT / "docs" / "constructs.md").read_text()


def cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.name.lower()
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def tier_table() -> str:
    tiers = [make() for make in TIERS.values()]
    rows = [("field", *TIERS), *[("---",) * (len(TIERS) + 1)]]
    rows += [
        (f"`{field.name}`", *(cell(getattr(tier, field.name)) for tier in tiers)) for field in dataclasses.fields(Tier)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("| --- | --- | --- | --- |", "|---|---|---|---|")


def test_the_tiers_are_as_the_table_says() -> None:
    table = tier_table()
    assert table in PAGE, f"the table of docs/constructs.md is to be:\n{table}"


def test_every_parameter_of_a_service_is_explained() -> None:
    parameters = set(inspect.signature(CoordinationService.__init__).parameters) - {"self", "scope", "id"}
    assert parameters == set(re.findall(r"^\| `(\w+)` \| [^|]*\|$", PAGE, re.MULTILINE))


def test_every_metric_is_named() -> None:
    methods = {name for name, _ in inspect.getmembers(ServiceMetrics) if name.startswith("metric_")}
    assert methods == set(re.findall(r"`(metric_\w+)`", PAGE))
