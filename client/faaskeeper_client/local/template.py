"""``python -m faaskeeper_client.local.template DIRECTORY STACK NAME TIER OVERRIDES``: what ``synthesize`` runs."""

from __future__ import annotations

import dataclasses
import json
import sys

import aws_cdk as cdk

from faaskeeper_cdk import CoordinationService, InvalidServiceName, InvalidTier, Tier


def main(directory: str, stack_id: str, name: str, tier: str, overrides: str) -> None:
    """Writes a cloud assembly with one stack."""
    tiers = {"development": Tier.development, "standard": Tier.standard, "critical": Tier.critical}
    if tier not in tiers:
        sys.exit(f"no such tier: one of {', '.join(tiers)}")
    app = cdk.App(outdir=directory, analytics_reporting=False)
    # without the rule: the emulator is not bootstrapped
    synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
    stack = cdk.Stack(app, stack_id, synthesizer=synthesizer)
    try:
        options = json.loads(overrides)
        super_digest = options.pop("super_digest", "")
        choice = dataclasses.replace(tiers[tier](), **options)
        CoordinationService(stack, "Service", tier=choice, service_name=name, super_digest=super_digest)
    except (InvalidServiceName, InvalidTier, TypeError) as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main(*sys.argv[1:])
