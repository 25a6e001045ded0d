"""Quotas: where they are set, and what is counted for them (DataTree.updateQuotaStat, Quotas, StatsTrack).

They are counted always and enforced never, as by a ZooKeeper without ``enforceQuota``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from faaskeeper.znode import paths
from faaskeeper.znode.model import Data

_QUOTA = "/zookeeper/quota"
_LIMITS = "zookeeper_limits"
_STATS = "zookeeper_stats"


class Usage(NamedTuple):
    """Of a subtree, its top included: znodes, and bytes of data."""

    znodes: int
    size: int


def limits_path(top: str) -> str:
    """The node that gives ``top`` a quota as long as it exists."""
    return f"{_QUOTA}{top}/{_LIMITS}"


def stats_path(top: str) -> str:
    """The node that the usage of ``top`` is kept in."""
    return f"{_QUOTA}{top}/{_STATS}"


def limited(path: str) -> str | None:
    """The path that the node at ``path`` gives a quota, None if it is no such node."""
    return _top(path, _LIMITS)


def counted(path: str) -> str | None:
    """The path whose usage is kept in the node at ``path``, None if it is no such node."""
    return _top(path, _STATS)


def stats_text(usage: Usage) -> bytes:
    """As a new ``zookeeper_stats`` has it."""
    return _text({"count": usage.znodes, "bytes": usage.size})


def add(stats: Data, znodes: int, size: int) -> Data:
    """The data of a ``zookeeper_stats``, with so much more in it. What a user wrote there and is none stays as it is
    (a ZooKeeper server ends when it meets that)."""
    try:
        values = _parse(stats)
    except ValueError:
        return stats
    values["count"] = values.get("count", -1) + znodes
    values["bytes"] = values.get("bytes", -1) + size
    return _text(values)


def _top(path: str, name: str) -> str | None:
    parent = paths.parent(path)
    top = parent.removeprefix(_QUOTA)
    return top if paths.name(path) == name and top != parent and top.startswith("/") else None


def _parse(stats: Data) -> dict[str, int]:
    if stats is not None and not isinstance(stats, bytes):
        raise ValueError("too long to be counts")
    text = (stats or b"").decode().rstrip(",;")
    pairs = (pair.split("=") for pair in re.split("[,;]", text) if text)
    return {name: int(value) for name, value, *_ in pairs}


def _text(values: dict[str, int]) -> bytes:
    more = "".join(f";{name}={value}" for name, value in sorted(values.items()) if name not in ("count", "bytes"))
    return f"count={values['count']},bytes={values['bytes']}{'=' if more else ''}{more}".encode()
