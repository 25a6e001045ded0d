"""Members that many add and remove at once: without an order, or in the order of their arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faaskeeper.blocks.attributes import Item, get_number, get_set, number, string, string_set
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.primitives.item import StoredItem

_MAX_REMOVED_ENTRIES = 100
"""Entries a request: an expression has at most 300 operators and 4 KB."""


class SetFull(Exception):
    """The set has as many members as it may have, and the new one is not among them."""


class AtomicSet:
    """The set of texts in ``attribute``; no attribute is the empty set, as DynamoDB has no other.

    Adding and removing are the same however often they happen, so a lost answer costs nothing but the repetition.
    The set and all else in its item cost a unit for each KB, together at most 400 KB (DynamoDB limit): whoever does
    not know how many will come sets a bound.
    """

    def __init__(self, aws: Aws, table: str, key: Item, attribute: str) -> None:
        self._item = StoredItem(aws, table, key)
        self._attribute = attribute

    async def add(self, member: str, *, most: int | None = None) -> Item:
        """Adds ``member`` and returns the whole item with it in: whoever registers for what the rest of the item
        tells misses no change, in one request. One write unit. Raises SetFull above ``most`` members."""
        values = {":member": string_set([member])}
        condition = None
        if most is not None:
            condition = "attribute_not_exists(#set) OR size(#set) < :most OR contains(#set, :text)"
            values |= {":most": number(most), ":text": string(member)}
        try:
            return await self._item.update("ADD #set :member", {"#set": self._attribute}, values, condition)
        except ConditionFailed as error:
            raise SetFull(f"{self._attribute} has {most} members") from error

    async def discard(self, member: str) -> None:
        """Removes ``member`` if it is there. One write unit."""
        await self._item.update("DELETE #set :member", {"#set": self._attribute}, {":member": string_set([member])})

    async def read(self) -> frozenset[str]:
        """One read unit."""
        return get_set(await self._item.read(), self._attribute)


@dataclass(frozen=True, slots=True)
class Entries:
    """What a list holds: the entry at ``first``, and those that follow it. Positions count from 0 and stay what they
    are when entries before them are removed."""

    first: int
    texts: tuple[str, ...]

    @property
    def end(self) -> int:
        """The position that the next entry will have."""
        return self.first + len(self.texts)


class AtomicList:
    """Texts in the order in which they arrived, in ``attribute``; appended at the end, removed from the front.

    An append happens once, a removal is by position, so neither doubles by a lost answer. Every operation costs a
    unit for each KB of the item, which ends at 400 KB (DynamoDB limit): this is for short lists.
    """

    def __init__(self, aws: Aws, table: str, key: Item, attribute: str = "entries") -> None:
        self._item = StoredItem(aws, table, key)
        self._attribute = attribute
        self._names = {"#entries": attribute, "#first": f"{attribute}_first"}

    async def append(self, texts: Sequence[str], *, token: str | None = None) -> None:
        """Appends ``texts``, together and once. Two write units. ``token`` as in ``AtomicCounter.add``."""
        await self._item.update_once(
            "SET #entries = list_append(if_not_exists(#entries, :none), :texts)",
            {"#entries": self._attribute},
            {":none": {"L": []}, ":texts": {"L": [string(text) for text in texts]}},
            token=token,
        )

    async def read(self) -> Entries:
        """One read unit."""
        return self._of(await self._item.read())

    async def trim(self, upto: int) -> None:
        """Removes the entries at positions below ``upto``, as far as there are such. One read unit, and one write
        unit for each hundred and for each other trim that came in between."""
        held = await self.read()
        while (count := min(upto, held.end) - held.first) > 0:
            count = min(count, _MAX_REMOVED_ENTRIES)
            removed = ", ".join(f"#entries[{index}]" for index in reversed(range(count)))
            try:
                item = await self._item.update(
                    f"REMOVE {removed} SET #first = :next",
                    self._names,
                    {":next": number(held.first + count), ":first": number(held.first)},
                    "#first = :first" if held.first else "attribute_not_exists(#first) OR #first = :first",
                )
            except ConditionFailed as error:
                item = error.item
            held = self._of(item)

    def _of(self, item: Item) -> Entries:
        texts = tuple(str(entry["S"]) for entry in item.get(self._attribute, {}).get("L", ()))
        return Entries(get_number(item, self._names["#first"]), texts)
