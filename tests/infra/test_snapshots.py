"""A change of a template shows in a diff, and none makes CloudFormation replace what holds data."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from faaskeeper_cdk import TIERS

from .reading import resources
from .snapshots import HOLD_DATA, UPDATE, current, diff, path_of, replacements

TABLE, BUCKET, QUEUE = "AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue"


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    template: dict[str, Any] = json.loads(path_of("critical").read_text())
    return template


def test_the_template_is_the_one_that_was_reviewed(tier: str) -> None:
    template = current(tier)
    lost = "\n".join(replacements(json.loads(path_of(tier).read_text()), template))
    assert not lost, f"an update of deployed services would replace what holds data:\n{lost}"
    changes = diff(tier, template)
    assert not changes, f"if this is meant, `{UPDATE}` and commit what it writes:\n{changes}"


def change(kind: str, name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda template: next(iter(resources(template, kind).values()))["Properties"].update({name: value})


def rename(template: dict[str, Any]) -> None:
    id, resource = next(iter(resources(template, TABLE).items()))
    del template["Resources"][id]
    template["Resources"][f"{id}Renamed"] = resource


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (rename, "the logical id is gone"),
        (change(TABLE, "KeySchema", []), "KeySchema"),
        (change(TABLE, "AttributeDefinitions", []), "AttributeDefinitions"),
        (change(TABLE, "TableName", "znodes"), "TableName was None and is 'znodes'"),
        (change(BUCKET, "BucketName", "blobs"), "BucketName"),
        (change(QUEUE, "QueueName", "requests.fifo"), "QueueName"),
        (change(QUEUE, "FifoQueue", "false"), "FifoQueue"),
    ],
)
def test_a_replacement_is_named(snapshot: dict[str, Any], edit: Callable[[dict[str, Any]], object], named: str) -> None:
    changed = copy.deepcopy(snapshot)
    edit(changed)
    (found,) = replacements(snapshot, changed)
    assert named in found


@pytest.mark.parametrize(
    "edit",
    [
        change(TABLE, "OnDemandThroughput", {"MaxReadRequestUnits": 1, "MaxWriteRequestUnits": 1}),
        change(TABLE, "DeletionProtectionEnabled", False),
        change(QUEUE, "VisibilityTimeout", 60),
        change("AWS::Lambda::Function", "MemorySize", 128),
    ],
)
def test_what_replaces_nothing_is_no_replacement(
    snapshot: dict[str, Any], edit: Callable[[dict[str, Any]], object]
) -> None:
    changed = copy.deepcopy(snapshot)
    edit(changed)
    assert list(replacements(snapshot, changed)) == []


def test_from_one_tier_to_another_no_data_is_lost() -> None:
    """A service may grow up, or be given its own key; it then encrypts the tables it has. Down again, the key leaves
    the stack and is kept: what was encrypted with it is read by ``former_keys``."""
    tiers = {tier: json.loads(path_of(tier).read_text()) for tier in TIERS}
    assert {resource["Type"] for resource in tiers["critical"]["Resources"].values()} >= set(HOLD_DATA)
    ((key, description),) = resources(tiers["critical"], "AWS::KMS::Key").items()
    assert description["DeletionPolicy"] != "Delete"
    for before, after in permutations(tiers, 2):
        gone = [f"AWS::KMS::Key {key}: the logical id is gone"] if before == "critical" else []
        assert list(replacements(tiers[before], tiers[after])) == gone
