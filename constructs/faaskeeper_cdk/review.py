"""What a reviewer is told where a rule of cdk-nag does not fit, written next to the resource it is about.

The acknowledgements are the CDK's own (``Validations``), so nothing here needs cdk-nag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct

CONTROL_PACKS = ("NIST.800.53.R5", "HIPAA.Security")


def acknowledge(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """``reasons`` by rule, such as ``AwsSolutions-S1``; they hold for ``scope`` and all inside it."""
    Validations.of(scope).acknowledge(
        *(Acknowledgment(id=f"{rule.split('-')[0]}::{rule}", reason=reason) for rule, reason in reasons.items())
    )


def acknowledge_controls(scope: IConstruct, reasons: Mapping[str, str]) -> None:
    """``reasons`` by a rule that all packs of controls have, such as ``LambdaDLQ``; for ``scope`` and all inside it."""
    acknowledge(scope, {f"{pack}-{rule}": reason for rule, reason in reasons.items() for pack in CONTROL_PACKS})


def acknowledge_resource(scope: IConstruct, resource: str, reason: str) -> None:
    """A wildcard in the ARN ``resource`` of a policy of ``scope``."""
    acknowledge(scope, {f"AwsSolutions-IAM5[Resource::{_flat(Stack.of(scope).resolve(resource))}]": reason})


def _flat(value: Any) -> str:
    """An ARN with intrinsic functions as cdk-nag writes it: ``<Bucket.Arn>/blobs/*``."""
    if not isinstance(value, dict):
        return str(value)
    ((function, argument),) = cast(dict[str, Any], value).items()
    match function:
        case "Ref":
            return f"<{argument}>"
        case "Fn::GetAtt":
            return f"<{'.'.join(argument)}>"
        case "Fn::Join":
            separator, parts = argument
            return str(separator).join(_flat(part) for part in parts)
        case _:
            return json.dumps(value)
