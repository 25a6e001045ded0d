"""What AWS would bill: calls by operation, and units by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeVar

K = TypeVar("K")


@dataclass(slots=True)
class Usage:
    """``calls`` by "service.operation", as they reached the service.

    ``units`` by kind: "dynamodb.read" and "dynamodb.write" (capacity units), "sqs.fifo" and "sqs.standard" (requests
    of 64 KB), "s3.read" and "s3.write" (requests), "lambda.request", "lambda.gb_s", "ssm.request".
    ``tables`` holds the units of each table, by (table, "read" or "write").
    """

    calls: Counter[str] = field(default_factory=Counter[str])
    units: dict[str, float] = field(default_factory=dict[str, float])
    tables: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def add(self, kind: str, amount: float = 1.0) -> None:
        self.units[kind] = self.units.get(kind, 0.0) + amount

    def add_capacity(self, table: str, kind: str, amount: float) -> None:
        self.add(f"dynamodb.{kind}", amount)
        self.tables[table, kind] = self.tables.get((table, kind), 0.0) + amount

    def copy(self) -> Usage:
        return Usage(Counter(self.calls), dict(self.units), dict(self.tables))

    def since(self, before: Usage) -> Usage:
        """What was used after ``before``, a copy taken earlier."""
        return Usage(
            self.calls - before.calls,
            _difference(self.units, before.units),
            _difference(self.tables, before.tables),
        )


def _difference(now: dict[K, float], before: dict[K, float]) -> dict[K, float]:
    return {key: amount - before.get(key, 0.0) for key, amount in now.items() if amount != before.get(key, 0.0)}
