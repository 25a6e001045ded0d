"""``python -m faaskeeper_client.local.template DIRECTORY NAME TIER OVERRIDES``: what ``synthesize`` runs."""

from __future__ import annotations

import dataclasses
import json
import sys

import aws_cdk as cdk

from faaskeeper_cdk import CoordinationService, Tier


def main(directory: str, name: str, tier: str, overrides: str) -> None:
    """Writes a cloud assembly with one stack, named like its service."""
    make = {"development": Tier.development, "standard": Tier.standard, "critical": Tier.critical}[tier]
    app = cdk.App(outdir=directory, analytics_reporting=False)
    # without the rule: the emulator is not bootstrapped
    stack = cdk.Stack(app, name, synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False))
    CoordinationService(stack, "Service", tier=dataclasses.replace(make(), **json.loads(overrides)), service_name=name)
    app.synth()


if __name__ == "__main__":
    main(*sys.argv[1:])
