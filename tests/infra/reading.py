"""Reading a CloudFormation template: resources by type, statements by role, intrinsic functions as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Template = dict[str, Any]


def resources(template: Template, kind: str) -> dict[str, Any]:
    """Logical id to resource."""
    return {id: resource for id, resource in template["Resources"].items() if resource["Type"] == kind}


def properties(template: Template, kind: str, named: str) -> Any:
    """Of the one resource of this type whose logical id contains ``named``."""
    (found,) = [resource for id, resource in resources(template, kind).items() if named in id]
    return found["Properties"]


def flat(value: Any) -> str:
    """``{"Fn::GetAtt": ["Queue", "Arn"]}`` as ``<Queue.Arn>``, joined text as one."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"<{argument}>"
    if function == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    if function == "Fn::Join":
        return str(argument[0]).join(flat(part) for part in argument[1])
    if function == "Fn::Sub" and isinstance(argument, str):
        return re.sub(r"\$\{(.*?)\}", r"<\1>", argument)
    raise AssertionError(f"{function} is not expected here")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Statement:
    role: str
    actions: frozenset[str]
    resources: frozenset[str]
    conditions: dict[str, Any]


def statements(template: Template) -> Iterator[Statement]:
    """All that roles are allowed; ``role`` is the logical id."""
    for policy in resources(template, "AWS::IAM::Policy").values():
        (role,) = policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            yield Statement(
                role["Ref"],
                frozenset(listed(statement["Action"])),
                frozenset(flat(resource) for resource in listed(statement["Resource"])),
                statement.get("Condition", {}),
            )
