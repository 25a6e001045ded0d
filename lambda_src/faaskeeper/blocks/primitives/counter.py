"""A number that many change at once."""

from __future__ import annotations

from faaskeeper.blocks.attributes import Item, get_number, number
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.primitives.item import StoredItem


class AtomicCounter:
    """The number in ``attribute``; 0 where there is none.

    ``take`` gives out numbers, as ids: nobody gets one twice, later calls get higher ones, and numbers whose answer
    was lost are skipped. ``add`` counts: exactly what was added, and nothing is known of the sum until it is read.
    """

    def __init__(self, aws: Aws, table: str, key: Item, attribute: str = "count") -> None:
        self._item = StoredItem(aws, table, key)
        self._attribute = attribute

    async def take(self, count: int = 1) -> range:
        """The next ``count`` numbers, the first of all being 1. One write unit, however many."""
        if count < 1:
            raise ValueError(f"count={count}: at least one number is taken")
        item = await self._item.update("ADD #count :count", {"#count": self._attribute}, {":count": number(count)})
        last = get_number(item, self._attribute)
        return range(last - count + 1, last + 1)

    async def add(self, amount: int, *, token: str | None = None) -> None:
        """Adds ``amount``, which may be negative, once. Two write units.

        ``token`` (up to 36 characters) names this addition: again within ten minutes, and by whomever, it adds
        nothing. DynamoDB refuses a token that comes with another amount.
        """
        await self._item.update_once(
            "ADD #count :amount", {"#count": self._attribute}, {":amount": number(amount)}, token=token
        )

    async def read(self) -> int:
        """One read unit."""
        return get_number(await self._item.read(), self._attribute)
