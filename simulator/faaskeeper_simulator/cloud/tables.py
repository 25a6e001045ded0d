"""Items with their recent versions: a read is at an instant, and every item may be read at an instant of its own.

From that alone follow the anomalies DynamoDB permits: an item written by a committing transaction becomes visible at
its own moment, a Query or BatchGetItem sees each item as of a different moment, an eventually consistent read is one
of a past moment.
"""

from __future__ import annotations

import bisect
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

from .values import Item, comparable, kind, stored

Key: TypeAlias = tuple[Any, Any]
"""Partition and sort key as comparable values; the sort key is "" where the table has none."""

HORIZON: Final = 10.0
"""Seconds for which overwritten versions stay readable."""


class InvalidKey(ValueError):
    """A key that does not fit the table; the message is close to DynamoDB's."""


class Version(NamedTuple):
    """``item`` is None after a deletion; ``size`` is in bytes."""

    since: float
    item: Item | None
    size: int


_NEVER_WRITTEN: Final = Version(float("-inf"), None, 0)


class Cell:
    """One key's versions, oldest first. ``busy_until``: a transaction holds the item until then."""

    __slots__ = ("busy_until", "versions")

    def __init__(self) -> None:
        self.versions: list[Version] = [_NEVER_WRITTEN]
        self.busy_until = float("-inf")

    def at(self, instant: float) -> Version:
        versions = self.versions
        index = len(versions) - 1
        while index and versions[index].since > instant:
            index -= 1
        return versions[index]

    @property
    def newest(self) -> Version:
        return self.versions[-1]

    def write(self, since: float, item: Item | None, size: int) -> Version:
        """``since`` must not be earlier than the newest version's, ``size`` is in bytes."""
        versions = self.versions
        assert since >= versions[-1].since, "a transaction's write was overtaken"
        version = Version(since, item, size)
        versions.append(version)
        while len(versions) > 1 and versions[1].since < since - HORIZON:
            del versions[0]
        return version


class Partition:
    """Cells of one partition key, in order of the sort key."""

    __slots__ = ("cells", "order")

    def __init__(self) -> None:
        self.cells: dict[Any, Cell] = {}
        self.order: list[Any] = []

    def cell(self, sort: Any) -> Cell:
        cell = self.cells.get(sort)
        if cell is None:
            cell = self.cells[sort] = Cell()
            bisect.insort(self.order, sort)
        return cell


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    name: str
    type: str
    limit: int


_NO_CELL: Final = Cell()


class Table:
    """``partition_key`` and ``sort_key`` are (name, type), e.g. ``("path", "S")``."""

    def __init__(
        self, name: str, partition_key: tuple[str, str], sort_key: tuple[str, str] | None, ttl: str | None
    ) -> None:
        self.name = name
        self.ttl = ttl
        self.partition_key = KeyAttribute(*partition_key, limit=2048)
        self.sort_key = KeyAttribute(*sort_key, limit=1024) if sort_key else None
        self.key_names = frozenset({partition_key[0]} | ({sort_key[0]} if sort_key else set()))
        self.partitions: dict[Any, Partition] = {}
        self.max_write_units = inf
        self.max_read_units = inf
        self.hosts: int | None = None
        self._order: list[tuple[int, Any]] = []

    def key_of(self, attributes: dict[str, Any], *, whole: bool = False) -> Key:
        """The key in ``attributes``; with ``whole`` they are an item, else exactly a key. Raises InvalidKey."""
        if not whole and attributes.keys() != self.key_names:
            raise InvalidKey("The provided key element does not match the schema")
        return (
            _key_part(self.partition_key, attributes),
            _key_part(self.sort_key, attributes) if self.sort_key else "",
        )

    def host(self, partition: Any) -> Any:
        """The partition that holds the items of this partition key, as far as throughput goes."""
        return partition if self.hosts is None else zlib.crc32(repr(partition).encode()) % self.hosts

    def key_attributes(self, item: Item) -> Item:
        return {name: item[name] for name in self.key_names}

    def find(self, key: Key) -> Cell:
        """For reading only: a key that was never written yields an empty cell."""
        partition = self.partitions.get(key[0])
        return partition.cells.get(key[1], _NO_CELL) if partition is not None else _NO_CELL

    def cell(self, key: Key) -> Cell:
        partition = self.partitions.get(key[0])
        if partition is None:
            partition = self.partitions[key[0]] = Partition()
            bisect.insort(self._order, (zlib.crc32(repr(key[0]).encode()), key[0]))
        return partition.cell(key[1])

    def scan_from(self, start: Key | None) -> Iterator[tuple[Key, Cell]]:
        """Cells in the order of a Scan (partitions by hash), after ``start``."""
        position = 0
        if start is not None:
            position = bisect.bisect_left(self._order, (zlib.crc32(repr(start[0]).encode()), start[0]))
        for _, partition_key in self._order[position:]:
            partition = self.partitions[partition_key]
            first = bisect.bisect_right(partition.order, start[1]) if start and start[0] == partition_key else 0
            for sort in partition.order[first:]:
                yield (partition_key, sort), partition.cells[sort]

    def items(self) -> Iterator[Item]:
        """Every item as last committed, for assertions."""
        for _, cell in self.scan_from(None):
            if cell.newest.item is not None:
                yield cell.newest.item


def _key_part(attribute: KeyAttribute, attributes: dict[str, Any]) -> Any:
    """Raises InvalidKey."""
    given = attributes.get(attribute.name)
    if given is not None and attribute.type == "S" and len(given) == 1:  # nearly every key
        text = given.get("S")
        if isinstance(text, str) and text.isascii() and 0 < len(text) <= attribute.limit:
            return text
    try:
        value = attributes[attribute.name]
    except KeyError:
        raise InvalidKey(
            f"One or more parameter values were invalid: Missing the key {attribute.name} in the item"
        ) from None
    value = stored(value)
    if kind(value) != attribute.type:
        raise InvalidKey(
            f"One or more parameter values were invalid: Type mismatch for key {attribute.name} "
            f"expected: {attribute.type} actual: {kind(value)}"
        )
    content = value[attribute.type]
    if attribute.type != "N":
        length = len(content.encode() if attribute.type == "S" else content)
        if not 0 < length <= attribute.limit:
            raise InvalidKey(
                f"One or more parameter values were invalid: size of {attribute.name} is {length} bytes, "
                f"allowed are 1 to {attribute.limit}"
            )
    return comparable(value)
