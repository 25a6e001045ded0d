"""Which AWS actions code can reach, read from its source.

Names are followed, not values: a function counts as called where it is named, a method where a method of that name is
and its class is named somewhere that is reached. That finds too much rather than too little.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import faaskeeper
import faaskeeper_client

PACKAGES = [Path(str(package.__file__)).parent for package in (faaskeeper, faaskeeper_client)]

NAMES = {
    "transact_write_items": "dynamodb:UpdateItem",
    "transact_get_items": "dynamodb:GetItem",
    "change_message_visibility_batch": "sqs:ChangeMessageVisibility",
    "delete_message_batch": "sqs:DeleteMessage",
    "list_objects_v2": "s3:ListBucket",
    "list_object_versions": "s3:ListBucketVersions",
    "delete_objects": "s3:DeleteObject",
    "invoke": "lambda:InvokeFunction",
}
"""Operations whose actions have other names than they."""

ALSO = {
    "transact_write_items": ("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem"),
    "delete_objects": ("s3:DeleteObjectVersion",),
}
"""What some calls of an operation need besides."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Place = tuple[str, str]
"""A module and a name in it."""
Call = tuple[str, str]
"""A service and an operation."""


@dataclass
class Module:
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, Place] = field(default_factory=dict)


@cache
def modules() -> dict[str, Module]:
    found: dict[str, Module] = {}
    for root, path in ((package.parent, path) for package in PACKAGES for path in package.rglob("*.py")):
        relative = path.relative_to(root).with_suffix("")
        parts = relative.parent.parts if relative.name == "__init__" else relative.parts
        module = found.setdefault(".".join(parts), Module())
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, Function | ast.ClassDef):
                module.defined[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    module.defined.update(dict.fromkeys(names(target, ast.Store), node))
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module.imported[alias.asname or alias.name] = (str(node.module), alias.name)
    return found


def resolve(place: Place) -> Place | None:
    """Where the name is defined; None outside of our package."""
    while (module := modules().get(place[0])) is not None:
        if place[1] in module.defined:
            return place
        if place[1] not in module.imported:
            return None
        place = module.imported[place[1]]
    return None


@dataclass
class Actions:
    """``needed`` by every call, ``usable`` by some."""

    needed: set[str]
    usable: set[str]


def actions_of(*roots: Place) -> Actions:
    """Of what is called when ``roots`` are."""
    waiting: list[tuple[str, ast.AST]] = []
    places: set[Place] = set()
    attributes = {"__init__", "__aenter__", "__aexit__", "__enter__", "__exit__"}
    methods: dict[int, tuple[str, str, ast.AST]] = {}
    calls: set[Call] = set()

    def see(module: str, name: str) -> None:
        place = resolve((module, name))
        if place is None or place in places:
            return
        places.add(place)
        node = modules()[place[0]].defined[place[1]]
        if not isinstance(node, ast.ClassDef):
            waiting.append((place[0], node))
            return
        for part in node.body:
            if isinstance(part, Function):
                methods[id(part)] = (place[0], part.name, part)
            else:
                waiting.append((place[0], part))
        for base in node.bases:
            waiting.append((place[0], base))

    for root in roots:
        assert resolve(root) is not None, root
        see(*root)
    while waiting:
        where, node = waiting.pop()
        calls |= set(calls_in(node))
        attributes |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
        for name in names(node):
            see(where, name)
        for key, (owner, name, method) in list(methods.items()):
            if name in attributes:
                del methods[key]
                waiting.append((owner, method))
    needed = {action_of(service, operation) for service, operation in calls}
    return Actions(needed, needed | {action for _, operation in calls for action in ALSO.get(operation, ())})


def names(node: ast.AST, context: type[ast.expr_context] = ast.Load) -> Iterator[str]:
    return (part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, context))


def calls_in(node: ast.AST) -> Iterator[Call]:
    """Of the seam: ``aws.call("dynamodb", "get_item", ...)``."""
    for part in ast.walk(node):
        match part:
            case ast.Call(
                func=ast.Attribute(attr="call"), args=[ast.Constant(value=service), ast.Constant(value=operation)]
            ):
                yield service, operation
            case ast.Call(func=ast.Attribute(attr="call"), args=[ast.Name(id="service"), ast.Name(id="operation")]):
                continue  # the seam itself, handing on
            case ast.Call(func=ast.Attribute(attr="call")):
                raise AssertionError(f"a call whose operation is not written out: {ast.unparse(part)}")


def action_of(service: str, operation: str) -> str:
    return NAMES.get(operation) or f"{service}:" + "".join(word.capitalize() for word in operation.split("_"))
