"""Metrics, alarms and dashboard, and that the runbook knows every alarm."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_cdk import Stack
from aws_cdk import aws_sns as sns

from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper_cdk import CoordinationService, InvalidMetric, Tier

from .conftest import ROOT
from .reading import flat, resources

Templates = Callable[[str], dict[str, Any]]
ALARM, DASHBOARD = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"
MONITORED = ["critical", "standard"]


def alarms(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties by the alarm's name without that of the service."""
    found = [resource["Properties"] for resource in resources(template, ALARM).values()]
    return {properties["AlarmName"].removeprefix("faaskeeper-tests-"): properties for properties in found}


def measured(alarm: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(namespace, metric, dimensions) of all that an alarm looks at."""
    metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
    for metric in metrics:
        dimensions = {each["Name"]: flat(each["Value"]) for each in metric["Dimensions"]}
        yield metric["Namespace"], metric["MetricName"], dimensions


def only(found: Iterator[tuple[str, str, dict[str, str]]]) -> tuple[str, str, dict[str, str]]:
    (one,) = found
    return one


def test_development_pays_for_no_monitoring(template: Templates) -> None:
    kinds = {resource["Type"] for resource in template("development")["Resources"].values()}
    assert not [kind for kind in kinds if kind.startswith("AWS::CloudWatch::")]


def test_metrics_are_there_in_every_tier() -> None:
    service = CoordinationService(Stack(), "Service", tier=Tier.development(), service_name="tests")
    assert service.monitoring is None
    metric = service.metric_operations()
    assert (metric.namespace, metric.metric_name, metric.dimensions) == (
        "FaaSKeeper",
        "Operations",
        {"Service": "tests"},
    )
    assert service.metric_commit_latency().statistic == "p99"
    assert service.metric_queue_age().metric_name == "ApproximateAgeOfOldestMessage"
    with pytest.raises(InvalidMetric, match="'Operation': one of Messages, Operations"):
        service.metric("Operation")


@pytest.mark.parametrize("tier", MONITORED)
class TestAlarms:
    def test_own_metrics_are_ones_that_functions_report_of_this_service(self, template: Templates, tier: str) -> None:
        own = [
            (metric, dimensions)
            for alarm in alarms(template(tier)).values()
            for namespace, metric, dimensions in measured(alarm)
            if namespace == "FaaSKeeper"
        ]
        assert {metric for metric, _ in own} == {
            "Quarantined",
            "Refused",
            "CancelledTransactions",
            "Transactions",
            "FailedTimers",
        }
        for metric, dimensions in own:
            assert metric in FunctionMetrics.UNITS
            assert dimensions == {"Service": "tests"}

    def test_each_watches_what_its_name_says(self, template: Templates, tier: str) -> None:
        found = alarms(template(tier))
        queue = template(tier)["Resources"]

        def watched(name: str) -> set[tuple[str, str]]:
            return {(metric, next(iter(dims.values()))) for _, metric, dims in measured(found[name])}

        ((metric, requests),) = watched("QueueAge")
        assert metric == "ApproximateAgeOfOldestMessage"
        assert queue[requests.strip("<>").removesuffix(".QueueName")]["Properties"]["FifoQueue"] is True
        assert watched("WriteStall") == {
            ("ApproximateNumberOfMessagesVisible", requests),
            ("ApproximateNumberOfMessagesNotVisible", requests),
            ("NumberOfMessagesDeleted", requests),
        }
        ((metric, dead_letters),) = watched("DeadLetters")
        assert (metric, "DeadLetters" in dead_letters) == ("ApproximateNumberOfMessagesVisible", True)
        for name, metric, function in (
            ("SequencerErrors", "Errors", "Sequencer"),
            ("SequencerThrottles", "Throttles", "Sequencer"),
            ("DirectErrors", "Errors", "Direct"),
            ("DirectThrottles", "Throttles", "Direct"),
            ("JanitorErrors", "Errors", "Janitor"),
        ):
            namespace, watched_metric, dimensions = only(measured(found[name]))
            assert (namespace, watched_metric) == ("AWS/Lambda", metric)
            assert function in dimensions["FunctionName"]
        tables = {f"<{id}>" for id in resources(template(tier), "AWS::DynamoDB::Table")}
        assert watched("TableThrottles") == {
            (metric, table) for metric in ("ReadThrottleEvents", "WriteThrottleEvents") for table in tables
        }
        errors = list(measured(found["TableErrors"]))
        assert {dimensions["TableName"] for _, _, dimensions in errors} == tables
        assert {metric for _, metric, _ in errors} == {"SystemErrors"}
        assert all(dimensions["Operation"] for _, _, dimensions in errors)

    def test_an_alarm_takes_ten_metrics_at_most(self, template: Templates, tier: str) -> None:
        """CloudWatch's quota for metric math in an alarm, which no synthesis checks."""
        for name, alarm in alarms(template(tier)).items():
            assert len(list(measured(alarm))) <= 10, name

    def test_silence_is_no_alarm_and_does_not_empty_the_dead_letter_queue(self, template: Templates, tier: str) -> None:
        for name, alarm in alarms(template(tier)).items():
            assert alarm["TreatMissingData"] == ("ignore" if name == "DeadLetters" else "notBreaching")

    def test_every_alarm_has_an_entry_in_the_runbook_and_the_reverse(self, template: Templates, tier: str) -> None:
        _, *entries = re.split(r"^### ", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
        alarm_entries = {entry.partition("\n")[0]: entry for entry in entries}
        found = alarms(template(tier))
        assert set(alarm_entries) == set(found)
        for name, alarm in found.items():
            assert alarm["AlarmDescription"].endswith(f"docs/runbook.md#{name.lower()}")
            for part in ("Means", "Look at", "Do", "Do not"):
                assert f"**{part}.**" in alarm_entries[name], f"{name}: {part}"


def test_the_topic_hears_of_every_alarm_and_of_its_end(synthesize: Callable[..., tuple[dict[str, Any], Any]]) -> None:
    def fill(stack: Stack) -> None:
        topic = sns.Topic.from_topic_arn(stack, "Topic", "arn:aws:sns:us-east-1:123456789012:pager")
        CoordinationService(stack, "Service", tier=Tier.standard(), service_name="tests", alarm_topic=topic)

    found = alarms(synthesize(fill)[0])
    assert found
    for alarm in found.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == ["arn:aws:sns:us-east-1:123456789012:pager"]


def test_nobody_hears_of_alarms_without_a_topic(template: Templates) -> None:
    assert not any("AlarmActions" in alarm for alarm in alarms(template("standard")).values())


@pytest.mark.parametrize("tier", MONITORED)
class TestDashboard:
    def test_begins_with_the_write_stall(self, template: Templates, tier: str) -> None:
        ((alarm_widget, *graphs), name) = dashboard(template(tier))
        assert name == "faaskeeper-tests-<AWS::Region>"
        assert len(alarm_widget["properties"]["alarms"]) == len(alarms(template(tier)))
        titles = [graph["properties"]["title"] for graph in graphs]
        assert titles[0].startswith("Write stall")
        assert titles[1].startswith("Commit latency")

    def test_shows_all_that_the_functions_emit_and_nothing_else(self, template: Templates, tier: str) -> None:
        widgets, _ = dashboard(template(tier))
        own = {
            metric[1]
            for widget in widgets
            for metric in widget["properties"].get("metrics", [])
            if metric[0] == "FaaSKeeper"
        }
        assert own == emitted()


def emitted() -> set[str]:
    """The names in calls of ``metrics.add`` and ``metrics.set`` in the functions' code."""
    source = "".join(path.read_text() for path in (ROOT / "lambda_src").rglob("*.py"))
    return set(re.findall(r"""metrics\.(?:add|set)\(\s*"(\w+)\"""", source))


def test_what_is_named_is_emitted_and_the_reverse() -> None:
    assert emitted() == set(FunctionMetrics.UNITS)


def dashboard(template: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Its widgets and its name."""
    (found,) = resources(template, DASHBOARD).values()
    body = json.loads(flat(found["Properties"]["DashboardBody"]))
    return body["widgets"], flat(found["Properties"]["DashboardName"])
