"""Whole subtrees, read with many requests at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from faaskeeper.znode import paths
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Stat
from faaskeeper_client.cli.zookeeper import Failed, ZooKeeper, get_children

T = TypeVar("T")

_AHEAD = 64
SYSTEM = "/zookeeper"
"""ZooKeeper's own; left out of subtrees that merely contain it."""


@dataclass(frozen=True, slots=True)
class Found:
    """``stat`` is None where the ACL does not allow reading, and then no child is known."""

    path: str
    children: list[str]
    stat: Stat | None


def walk(zookeeper: ZooKeeper, root: str, depth: int | None = None) -> Iterator[Found]:
    """``root`` and what is below it down to ``depth`` levels, parents first, siblings by name. What vanishes
    meanwhile is left out. Raises Failed, for the root also where its ACL does not allow reading."""
    stack = [(root, 0)]
    fetched: dict[str, tuple[list[str], Stat] | Failed] = {}
    while stack:
        path, level = stack.pop()
        if path not in fetched:
            following = (below for below, _ in reversed(stack) if below not in fetched)
            wanted = [path, *islice(following, _AHEAD)]
            fetched.update(zip(wanted, zookeeper.pipeline(map(get_children, wanted)), strict=True))
        found = fetched.pop(path)
        if isinstance(found, Failed):
            if path == root or found.code not in (Code.NO_NODE, Code.NO_AUTH):
                raise found
            if found.code == Code.NO_AUTH:
                yield Found(path, [], None)
            continue
        names, stat = found
        children = [name for name in names if paths.child(path, name) != SYSTEM]
        yield Found(path, children, stat)
        if depth is None or level < depth:
            stack.extend((paths.child(path, name), level + 1) for name in reversed(children))


def above(path: str) -> list[str]:
    """The paths above it but for the root, highest first."""
    found: list[str] = []
    while (path := paths.parent(path)) != paths.ROOT:
        found.append(path)
    return found[::-1]


def batches(values: Iterable[T], size: int = _AHEAD) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch
