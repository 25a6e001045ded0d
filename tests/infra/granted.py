"""The seam to AWS with IAM before it, for what the emulator's own does not know: leading keys and attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from faaskeeper.blocks.aws import Aws, Response
from faaskeeper.blocks.errors import AccessDenied
from faaskeeper.blocks.parts import Parts
from faaskeeper.storage.keys import KEY_NAMES

from .calls import action_of
from .reading import Statement

Values = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Request:
    """``resource`` is named as by ``_short``, ``values`` are those of the condition keys."""

    action: str
    resource: str
    values: Values


class Granted:
    """Refuses what ``statements`` do not allow. ``allowed`` collects the actions of the rest. ``tables`` are the fields
    of ``service`` that name one, with the names of its keys."""

    def __init__(
        self,
        aws: Aws,
        service: Parts,
        statements: Iterable[Statement],
        tables: Mapping[str, tuple[str, str]] = KEY_NAMES,
    ) -> None:
        self.allowed: set[str] = set()
        self.refused: list[Request] = []
        self._aws = aws
        self._service = service
        self._statements = list(statements)
        self._tables = tables

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        for request in self._requests(service, operation, parameters):
            if not any(_allows(statement, request) for statement in self._statements):
                self.refused.append(request)
                raise AccessDenied(service, operation, "AccessDeniedException", f"{request.action} {request.resource}")
            self.allowed.add(request.action)
        return await self._aws.call(service, operation, **parameters)

    def _requests(self, service: str, operation: str, parameters: dict[str, Any]) -> Iterator[Request]:
        action = action_of(service, operation)
        if service == "dynamodb":
            if "TransactItems" in parameters:
                enclosing = frozenset(["".join(word.capitalize() for word in operation.split("_"))])
                for kind, item in (part for each in parameters["TransactItems"] for part in each.items()):
                    request = self._of_table(f"dynamodb:{kind}Item", item)
                    yield replace(request, values=request.values | {"dynamodb:EnclosingOperation": enclosing})
            else:
                yield self._of_table(action, parameters)
        elif service == "s3":
            condition = parameters.get("IfNoneMatch")
            values = {"s3:if-none-match": frozenset([condition])} if condition else {}
            yield Request(action, f"Blobs/{parameters.get('Key', '')}", values)
        elif service == "sqs":
            yield Request(action, self._queue(parameters), {})
        elif service == "lambda":
            name = parameters["FunctionName"]
            yield Request(action, "Direct" if name == getattr(self._service, "direct", None) else name, {})
        elif service == "logs":
            logical_id = parameters["logGroupName"].rsplit("/", 1)[1]
            yield Request(action, _short(f"<{logical_id}.Arn>"), {})
        else:
            yield Request(action, "*", {})

    def _of_table(self, action: str, item: dict[str, Any]) -> Request:
        (role,) = [role for role in self._tables if getattr(self._service, role) == item["TableName"]]
        partition, _ = self._tables[role]
        aliases: dict[str, str] = item.get("ExpressionAttributeNames", {})
        values: Values = {}
        if "Key" in item:
            values["dynamodb:LeadingKeys"] = frozenset([item["Key"][partition]["S"]])
        elif "KeyConditionExpression" in item:
            name, value = re.match(r"(\S+) = (:\w+)", item["KeyConditionExpression"]).groups()  # type: ignore[union-attr]
            assert aliases.get(name, name) == partition
            values["dynamodb:LeadingKeys"] = frozenset([item["ExpressionAttributeValues"][value]["S"]])
        if "UpdateExpression" in item:
            text = f"{item['UpdateExpression']} {item.get('ConditionExpression', '')}"
            named = {aliases.get(name, name) for name in re.findall(r"(?<![:\w])#?[a-z_]+\b(?!\()", text)}
            values["dynamodb:Attributes"] = frozenset(named | set(item["Key"]))
        return Request(action, role.capitalize(), values)

    def _queue(self, parameters: dict[str, Any]) -> str:
        name = parameters.get("QueueName") or parameters["QueueUrl"].rsplit("/", 1)[1]
        if name.startswith(self._service.reply_prefix):
            return str(name)
        (role,) = [
            role for role in ("requests", "timers", "dead_letters") if getattr(self._service, role).endswith(f"/{name}")
        ]
        return "".join(word.capitalize() for word in role.split("_"))


def _allows(statement: Statement, request: Request) -> bool:
    return (
        request.action in statement.actions
        and any(fnmatchcase(request.resource, _short(resource)) for resource in statement.resources)
        and all(
            _holds(operator, expected, request.values.get(key, frozenset()))
            for operator, keys in statement.conditions.items()
            for key, expected in keys.items()
        )
    )


def _short(resource: str) -> str:
    """A resource of a template by its last name: ``<ServiceStorageZnodes87AFD1D6.Arn>`` as ``Znodes``."""
    resource = re.sub(r"^<Service(?:Storage|Queues|Functions)?(\w+?)[0-9A-F]{8}\.Arn>", r"\1", resource)
    return resource.rsplit(":", 1)[-1]


def _holds(operator: str, expected: Any, values: frozenset[str]) -> bool:
    match operator:
        case "Null":
            return (expected == "true") == (not values)
        case "ForAllValues:StringEquals":
            return values <= set(expected)
        case "ForAllValues:StringLike":
            return all(any(fnmatchcase(value, pattern) for pattern in expected) for value in values)
    raise AssertionError(f"{operator} is not known here")
