"""What a reviewer is told where a rule of cdk-nag does not fit, written next to the resource it is about.

The acknowledgements are the CDK's own (``Validations``), so nothing here needs cdk-nag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import jsii
from aws_cdk import (
    Acknowledgment,
    IResolveContext,
    IStringProducer,
    Lazy,
    Reference,
    Stack,
    Tokenization,
    Validations,
)
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


def acknowledge_resource(scope: IConstruct, resource: str, reason: str) -> str:
    """A wildcard in the ARN ``resource`` of a policy of ``scope``. The policy is to hold what is returned: what an ARN
    of another stack looks like is known only when it is written."""
    stack = Stack.of(scope)
    tokens = Tokenization.reverse_string(resource).tokens
    if any(isinstance(token, Reference) and Stack.of(token.target) is not stack for token in tokens):
        return Lazy.uncached_string(_OfAnotherStack(scope, resource, reason))
    _acknowledge_wildcard(scope, stack.resolve(resource), reason)
    return resource


@jsii.implements(IStringProducer)
class _OfAnotherStack:
    def __init__(self, scope: IConstruct, resource: str, reason: str) -> None:
        self._scope, self._resource, self._reason = scope, resource, reason

    def produce(self, context: IResolveContext) -> str:
        if not context.preparing:
            _acknowledge_wildcard(self._scope, context.resolve(self._resource), self._reason)
        return self._resource


def _acknowledge_wildcard(scope: IConstruct, resolved: Any, reason: str) -> None:
    acknowledge(scope, {f"AwsSolutions-IAM5[Resource::{_flat(resolved)}]": reason})


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
            return json.dumps(value, separators=(",", ":"))
