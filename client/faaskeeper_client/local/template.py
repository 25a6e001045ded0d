"""``python -m faaskeeper_client.local.template DIRECTORY STACK WANTED``: what ``synthesize`` runs."""

from __future__ import annotations

import dataclasses
import json
import sys

import aws_cdk as cdk

from faaskeeper_cdk import TIERS, CoordinationService, InvalidServiceName, InvalidTier


def main(directory: str, stack_id: str, wanted: str) -> None:
    """Writes a cloud assembly with one stack. ``wanted`` is JSON: name, tier, overrides, super_digest."""
    wish = json.loads(wanted)
    if wish["tier"] not in TIERS:
        sys.exit(f"no such tier: one of {', '.join(TIERS)}")
    app = cdk.App(outdir=directory, analytics_reporting=False)
    # without the rule: the emulator is not bootstrapped
    synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
    stack = cdk.Stack(app, stack_id, synthesizer=synthesizer)
    try:
        tier = dataclasses.replace(TIERS[wish["tier"]](), **wish["overrides"])
        CoordinationService(stack, "Service", tier=tier, service_name=wish["name"], super_digest=wish["super_digest"])
    except (InvalidServiceName, InvalidTier, TypeError) as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main(*sys.argv[1:])
