"""Counts AWS calls and what they are charged for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from faaskeeper.blocks.aws import Aws, Response

_WRITE_UNIT = 1024
"""Bytes of an item that one write unit pays for; a transaction pays twice."""
_MESSAGE_UNIT = 65536
"""Bytes of a message that SQS charges as one request."""


@dataclass(slots=True)
class Count:
    """``calls`` by operation; ``items`` of transactions; units as AWS charges them, transactions twice."""

    calls: Counter[str] = field(default_factory=Counter[str])
    items: int = 0
    write_units: float = 0.0
    read_units: float = 0.0
    messages: int = 0
    requests: int = 0
    """Messages of ordered queues."""

    def __sub__(self, before: Count) -> Count:
        return Count(
            self.calls - before.calls,
            self.items - before.items,
            self.write_units - before.write_units,
            self.read_units - before.read_units,
            self.messages - before.messages,
            self.requests - before.requests,
        )

    def __add__(self, more: Count) -> Count:
        return Count(
            self.calls + more.calls,
            self.items + more.items,
            self.write_units + more.write_units,
            self.read_units + more.read_units,
            self.messages + more.messages,
            self.requests + more.requests,
        )

    def copy(self) -> Count:
        return Count(Counter(self.calls), self.items, self.write_units, self.read_units, self.messages, self.requests)


class Meter:
    """An Aws that passes calls on: DynamoDB's to ``tables``, all others to ``rest``.

    Calls that go on whether or not anybody asks for anything (polls, beats) are not counted: they are the price of
    being connected, not of an operation.
    """

    def __init__(self, tables: Aws, rest: Aws, idle: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.count = Count()
        self._tables = tables
        self._rest = rest
        self._idle = idle

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if service != "dynamodb":
            response = await self._rest.call(service, operation, **parameters)
            if operation not in ("receive_message", "delete_message_batch", "create_queue"):
                self.count.calls[operation] += 1
                if operation == "send_message":
                    pieces = -(-len(parameters["MessageBody"]) // _MESSAGE_UNIT)
                    if parameters["QueueUrl"].endswith(".fifo"):
                        self.count.requests += pieces
                    else:
                        self.count.messages += pieces
            return response
        response = await self._tables.call(service, operation, ReturnConsumedCapacity="TOTAL", **parameters)
        if (operation, parameters.get("TableName", "")) in self._idle:
            return response
        self.count.calls[operation] += 1
        if operation == "transact_write_items":
            self.count.items += len(parameters["TransactItems"])
            self.count.write_units += 2 * await self._units(parameters["TransactItems"])
            return response
        units = _reported(response.get("ConsumedCapacity", []))
        if operation in ("update_item", "put_item", "delete_item"):
            self.count.write_units += units
        else:
            self.count.read_units += units * (2 if operation == "transact_get_items" else 1)
        return response

    async def _units(self, parts: list[dict[str, Any]]) -> int:
        """Write units of a transaction, before doubling, by the items as they are after it.

        DynamoDB Local reports a transaction's units a table, not an item, so they are counted here. What is deleted
        are edges and values; one unit is right for those below 1 KB.
        """
        wanted: dict[str, dict[str, Any]] = {}
        for part in parts:
            ((_, action),) = part.items()
            if "Item" not in action:
                wanted.setdefault(action["TableName"], {"Keys": [], "ConsistentRead": True})["Keys"].append(
                    action["Key"]
                )
        found = await self._tables.call("dynamodb", "batch_get_item", RequestItems=wanted)
        written = [item for items in found["Responses"].values() for item in items]
        written += [part["Put"]["Item"] for part in parts if "Put" in part]
        return len(parts) - len(written) + sum(-(-item_size(item) // _WRITE_UNIT) for item in written)


def _reported(consumed: Any) -> float:
    """Operations on several tables report a list, others one."""
    if isinstance(consumed, dict):
        consumed = [consumed]
    return sum(float(part["CapacityUnits"]) for part in cast(list[Any], consumed))


def item_size(item: dict[str, dict[str, Any]]) -> int:
    """Bytes as DynamoDB counts them: names and values in UTF-8, about half a byte a digit and one more for numbers,
    3 for a set besides its elements."""
    total = 0
    for name, attribute in item.items():
        ((kind, value),) = attribute.items()
        total += len(name.encode())
        if kind == "N":
            total += (len(value) + 1) // 2 + 1
        elif kind == "S":
            total += len(value.encode())
        elif kind == "B":
            total += len(value)
        elif kind == "SS":
            total += 3 + sum(len(element.encode()) for element in value)
        else:
            total += 1
    return total
