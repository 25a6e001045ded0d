"""What ``prices`` says of a tier is what the tier says of itself, and what is deployed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from faaskeeper_cdk.tier import TIERS
from faaskeeper_client import prices

from .reading import resources

Templates = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize("name", TIERS)
def test_a_tier_is_priced_as_it_is(name: str, template: Templates) -> None:
    tier, priced = TIERS[name](), prices.TIERS[name]
    assert (priced.sequencer_memory, priced.worker_memory) == (tier.sequencer_memory, tier.worker_memory)
    assert (priced.tracing, priced.customer_managed_key) == (tier.tracing, tier.customer_managed_key)
    assert (priced.keeps_warm, priced.recovery) == (tier.keep_warm, bool(tier.point_in_time_recovery_days))
    assert (priced.max_read_units, priced.max_write_units) == (tier.max_read_units, tier.max_write_units)
    assert tier.janitor_interval_minutes * 60 == prices.JANITOR_INTERVAL
    watched = 0
    for alarm in resources(template(name), "AWS::CloudWatch::Alarm").values():
        metrics = alarm["Properties"].get("Metrics")
        watched += sum("MetricStat" in metric for metric in metrics) if metrics else 1
    assert priced.alarm_metrics == watched
