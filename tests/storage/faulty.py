"""The seam with faults: answers that get lost, copies that arrive late, and a meter."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from faaskeeper.blocks.aws import Aws, Response
from faaskeeper.blocks.errors import Unavailable

WRITES = frozenset({"update_item", "transact_write_items"})


class LosingAnswers:
    """Every call takes effect, but the answers of some writes never come: the next ``losses`` of them, or one in two
    by ``chance``."""

    def __init__(self, aws: Aws, losses: int = 0, chance: random.Random | None = None) -> None:
        self.losses = losses
        self.lost = 0
        self._aws = aws
        self._chance = chance

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        response = await self._aws.call(service, operation, **parameters)
        if operation in WRITES and (self.losses > 0 or (self._chance is not None and self._chance.random() < 0.5)):
            self.losses -= 1
            self.lost += 1
            raise Unavailable(service, operation, "ReadTimeout", "the answer is lost")
        return response


class Preceded:
    """Something happens just before the ``preceded``-th write (from 1)."""

    def __init__(self, aws: Aws, happens: Callable[[], Awaitable[object]], preceded: int) -> None:
        self.writes = 0
        self._aws = aws
        self._happens = happens
        self._preceded = preceded

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if operation in WRITES:
            self.writes += 1
            if self.writes == self._preceded:
                await self._happens()
        return await self._aws.call(service, operation, **parameters)


class Recording:
    """Remembers the calls, and what they consumed in capacity units."""

    def __init__(self, aws: Aws) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.units = 0.0
        self._aws = aws

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        self.calls.append((service, operation, parameters))
        response = await self._aws.call(service, operation, ReturnConsumedCapacity="TOTAL", **parameters)
        consumed = response["ConsumedCapacity"]
        parts: list[dict[str, float]] = consumed if operation == "transact_write_items" else [consumed]
        self.units += sum(part["CapacityUnits"] for part in parts)
        return response
