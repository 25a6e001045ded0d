"""Paths of znodes: what is legal, and what is above what (org.apache.zookeeper.common.PathUtils)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faaskeeper.znode.errors import Code, ZnodeError

ROOT = "/"
SPECIAL_PATHS = frozenset({"/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"})
"""Cannot be deleted (DataTree.isSpecialPath)."""

# Java sees a character above U+FFFF as two surrogates, which lie in the refused D800-F8FF.
_ILLEGAL_CHARACTER = re.compile("[\0-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]")
_ILLEGAL_NAMES = frozenset({"", ".", ".."})


def validate(path: str) -> None:
    """Raises ZnodeError(BAD_ARGUMENTS) unless ``path`` could be that of a znode (PathUtils.validatePath)."""
    reason = _reason_against(path)
    if reason:
        raise ZnodeError(Code.BAD_ARGUMENTS, f"invalid path {path!r}: {reason}")


def is_valid(path: str) -> bool:
    """Whether a znode could be at ``path``; where none could, there is no need to look."""
    return not _reason_against(path)


def parent(path: str) -> str:
    """The path before the last slash; ``/`` is its own parent. The path need not be valid, but has a slash."""
    return path[: path.rindex("/")] or ROOT


def ancestors(path: str) -> Iterator[str]:
    """``path`` itself, its parent, and so on to the root."""
    while path != ROOT:
        yield path
        path = parent(path)
    yield ROOT


def name(path: str) -> str:
    """What follows the last slash."""
    return path[path.rindex("/") + 1 :]


def child(path: str, name: str) -> str:
    """The path of the child ``name`` of ``path``."""
    return f"{path}/{name}" if path != ROOT else f"/{name}"


def _reason_against(path: str) -> str:
    if not path.startswith("/"):
        return "it must start with /"
    if path == ROOT:
        return ""
    if not _ILLEGAL_NAMES.isdisjoint(path[1:].split("/")):
        return "empty, . and .. are no names, nor may it end with /"
    illegal = _ILLEGAL_CHARACTER.search(path)
    return f"character U+{ord(illegal[0]):04X} at {illegal.start()} is not allowed" if illegal else ""
