"""Paths of znodes: what is legal, and what is above what (org.apache.zookeeper.common.PathUtils)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from faaskeeper.znode.errors import Code, ZnodeError

ROOT = "/"
SPECIAL_PATHS = frozenset({"/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"})
"""Cannot be deleted (DataTree.isSpecialPath)."""
MAX_PATH_CHARACTERS = 400_000
"""Characters. The path of a znode is in its item, which takes 400 kB (DynamoDB limit)."""

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
    return len(path) <= MAX_PATH_CHARACTERS and not _reason_against(path)


def parent(path: str) -> str:
    """The path before the last slash; ``/`` is its own parent. The path need not be valid, but has a slash."""
    return path[: path.rindex("/")] or ROOT


def name(path: str) -> str:
    """What follows the last slash."""
    return path[path.rindex("/") + 1 :]


def child(path: str, name: str) -> str:
    """The path of the child ``name`` of ``path``."""
    return f"{path}/{name}" if path != ROOT else f"/{name}"


class Tops:
    """Paths as the tops of subtrees. Which of them are above a path is found in a time that goes with its length:
    neither with its square, as the length of all the paths above it does, nor with the number of tops."""

    def __init__(self, tops: Iterable[str] = ()) -> None:
        self._by_number: dict[int, set[str]] = defaultdict(set)
        self._longest = 0
        for top in tops:
            self.add(top)

    def add(self, top: str) -> None:
        self._by_number[_number(top)].add(top)
        self._longest = max(self._longest, len(top))

    def discard(self, top: str) -> None:
        number = _number(top)
        self._by_number[number].discard(top)
        if not self._by_number[number]:
            del self._by_number[number]

    def over(self, path: str) -> Iterator[str]:
        """The tops that ``path`` is at or below, from the root down."""
        for number in _numbers(path[: self._longest]):
            for top in self._by_number.get(number, ()):
                if is_within(path, top):
                    yield top


def is_within(path: str, top: str) -> bool:
    """Whether ``path`` is at or below ``top``."""
    return path.startswith(top) and (top == ROOT or path[len(top) : len(top) + 1] in ("", "/"))


def _numbers(path: str) -> Iterator[int]:
    """Hashes of the root, of the path below it, and so on down to ``path``: each is made of the one before."""
    number = 0
    for name in path.rstrip("/").split("/"):
        number = hash((number, name))
        yield number


def _number(path: str) -> int:
    *_, number = _numbers(path)
    return number


def _reason_against(path: str) -> str:
    if not path.startswith("/"):
        return "it must start with /"
    if path == ROOT:
        return ""
    if not _ILLEGAL_NAMES.isdisjoint(path[1:].split("/")):
        return "empty, . and .. are no names, nor may it end with /"
    illegal = _ILLEGAL_CHARACTER.search(path)
    return f"character U+{ord(illegal[0]):04X} at {illegal.start()} is not allowed" if illegal else ""
