"""The template of each tier as it was reviewed last, so that a change shows as a diff.

``make snapshots`` brings them up to date, unless the change would cost deployed services their data.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from difflib import unified_diff
from functools import cache
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from cdk_app.settings import Settings
from cdk_app.stacks import add_stacks
from faaskeeper_cdk import TIERS

ROOT = Path(__file__).parents[2]
UPDATE = "make snapshots"
REPLACE = "--replace"
HOLD_DATA = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SQS::Queue")
MORE_THAN_THE_SCHEMA = {"AWS::DynamoDB::Table": ("AttributeDefinitions", "LocalSecondaryIndexes")}
"""Of the table's page in the CloudFormation reference: "replacement if you edit an existing AttributeDefinition", and
a table gets or loses local indexes only when it is made."""

Template = dict[str, Any]


def path_of(tier: str) -> Path:
    return Path(__file__).with_name("snapshots") / f"{tier}.json"


def current(tier: str) -> Template:
    """The template that ``cdk deploy -c tier=...`` deploys."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    with tempfile.TemporaryDirectory() as directory:
        app = cdk.App(outdir=directory, context=context, analytics_reporting=False)
        (stack,) = add_stacks(app, Settings(tier=tier))
        app.synth()
        template: Template = json.loads(Path(directory, f"{stack.stack_name}.template.json").read_text())
    return template


def normalized(template: Template) -> str:
    """Without what the code of the functions decides: the hash that their zip is named by."""
    return re.sub(r'"[0-9a-f]{64}\.zip"', '"CODE.zip"', json.dumps(template, indent=1)) + "\n"


def diff(tier: str, template: Template) -> str:
    """What changed since the snapshot, as lines of a unified diff."""
    before = path_of(tier).read_text().splitlines()
    after = normalized(template).splitlines()
    return "\n".join(unified_diff(before, after, f"snapshot of {tier}", f"{tier} now", n=4, lineterm=""))


@cache
def replacing(kind: str) -> frozenset[str]:
    """Properties whose change makes CloudFormation put a new, empty resource in place of the old one."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    pointers = [*schema.get("createOnlyProperties", ()), *schema.get("conditionalCreateOnlyProperties", ())]
    return frozenset(pointer.split("/")[2] for pointer in pointers) | frozenset(MORE_THAN_THE_SCHEMA.get(kind, ()))


def replacements(before: Template, after: Template) -> Iterator[str]:
    """Each resource that holds data and would be gone, or empty, after an update, and the property that makes it so."""
    for id, old in before["Resources"].items():
        if old["Type"] not in HOLD_DATA:
            continue
        new = after["Resources"].get(id)
        if new is None or new["Type"] != old["Type"]:
            yield f"{old['Type']} {id}: the logical id is gone"
            continue
        for name in sorted(replacing(old["Type"])):
            values = [resource.get("Properties", {}).get(name) for resource in (old, new)]
            if values[0] != values[1]:
                yield f"{old['Type']} {id}: {name} was {values[0]!r} and is {values[1]!r}"


def main(arguments: list[str]) -> int:
    for tier in TIERS:
        template = current(tier)
        if path_of(tier).exists() and REPLACE not in arguments:
            found = list(replacements(json.loads(path_of(tier).read_text()), template))
            if found:
                print(
                    f"{tier}: an update would replace what holds data. Not written without {REPLACE}:", *found, sep="\n"
                )
                return 1
        path_of(tier).parent.mkdir(exist_ok=True)
        path_of(tier).write_text(normalized(template))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
