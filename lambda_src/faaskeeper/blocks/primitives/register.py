"""A value that changes only from what its writer has seen."""

from __future__ import annotations

from dataclasses import dataclass

from faaskeeper.blocks.attributes import Attribute, Item, get_number, number
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.primitives.item import StoredItem


@dataclass(frozen=True, slots=True)
class Versioned:
    """A register's state: how often it was written, and what with (None if never)."""

    version: int = 0
    value: Attribute | None = None


class VersionMismatch(Exception):
    """Others have written meanwhile: nothing was changed. ``current`` is the register as it is."""

    def __init__(self, expected: int, current: Versioned) -> None:
        super().__init__(f"expected version {expected}, found {current.version}")
        self.current = current


class Register:
    """Any DynamoDB value in ``attribute``, changed by compare-and-set on its version.

    Each version is written once, by one writer, who knows that it was: a write whose answer is lost is settled by
    its token, not by looking, for by then others may have gone on from it.
    """

    def __init__(self, aws: Aws, table: str, key: Item, attribute: str = "value") -> None:
        self._item = StoredItem(aws, table, key)
        self._attribute = attribute
        self._names = {"#value": attribute, "#version": f"{attribute}_version"}

    async def read(self) -> Versioned:
        """One read unit."""
        return self._of(await self._item.read())

    async def write(self, value: Attribute, expected: int) -> Versioned:
        """Replaces version ``expected`` (0: never written) by ``value``. Two write units. Raises VersionMismatch."""
        try:
            await self._item.update_once(
                "SET #value = :value, #version = :version",
                self._names,
                {":value": value, ":version": number(expected + 1)}
                | ({":expected": number(expected)} if expected else {}),
                "#version = :expected" if expected else "attribute_not_exists(#version)",
            )
        except ConditionFailed as error:
            raise VersionMismatch(expected, self._of(error.item)) from error
        return Versioned(expected + 1, value)

    def _of(self, item: Item) -> Versioned:
        return Versioned(get_number(item, self._names["#version"]), item.get(self._attribute))
