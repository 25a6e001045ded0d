"""The simulated DynamoDB: its tables, and which code answers which operation."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Final

from faaskeeper.blocks.errors import AwsError

from . import reads, writes
from .faults import Faults
from .limits import Limits
from .loop import SimulationLoop
from .service import Answer
from .store import Store
from .tables import Table
from .transactions import Transactions
from .usage import Usage
from .values import Item, copy_item

_READS: Final = {"get_item": reads.get, "batch_get_item": reads.batch_get, "query": reads.query, "scan": reads.scan}
_WRITES: Final = {
    "put_item": writes.write,
    "update_item": writes.write,
    "delete_item": writes.write,
    "batch_write_item": writes.batch_write,
}


class DynamoDb:
    """``create_table`` and ``items`` are for the harness; processes use the seam."""

    def __init__(self, loop: SimulationLoop, faults: Faults, usage: Usage, limits: Limits) -> None:
        self._store = Store(loop, faults, usage, loop.stream("dynamodb"), limits)
        self._transactions = Transactions(self._store)

    def create_table(
        self,
        name: str,
        partition_key: tuple[str, str],
        sort_key: tuple[str, str] | None = None,
        *,
        ttl: str | None = None,
    ) -> None:
        """Keys are (attribute, type), e.g. ``("path", "S")``; ``ttl`` names the attribute of time to live."""
        self._store.tables[name] = Table(name, partition_key, sort_key, ttl)

    def limit(
        self, table: str, *, max_write_units: float = inf, max_read_units: float = inf, hosts: int | None = None
    ) -> None:
        """What the table takes in a second (its ceiling on demand), where the cloud's limits hold. ``hosts`` is the
        number of partitions that its keys share: a new table on demand has four, by the 4,000 write units that it
        begins with (Developer Guide, "Understanding DynamoDB warm throughput"). None: each key has its own."""
        limited = self._store.tables[table]
        limited.max_write_units, limited.max_read_units, limited.hosts = max_write_units, max_read_units, hosts

    def items(self, table: str) -> list[Item]:
        """Every item as last committed, whether visible yet or not."""
        return [copy_item(item) for item in self._store.tables[table].items()]

    def call(self, operation: str, parameters: Mapping[str, Any], sent: float) -> Answer:
        """Raises AwsError."""
        if operation in _READS:
            return _READS[operation](self._store, operation, parameters, sent)
        if operation in _WRITES:
            return _WRITES[operation](self._store, operation, parameters)
        if operation == "transact_write_items":
            return self._transactions.write(operation, parameters)
        if operation == "transact_get_items":
            return self._transactions.get(operation, parameters, sent)
        raise AwsError("dynamodb", operation, "NotSimulated", "this operation is not simulated")
