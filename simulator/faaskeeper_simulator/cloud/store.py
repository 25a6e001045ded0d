"""What the operations of the simulated DynamoDB share: tables, clock, randomness, faults, the bill."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faaskeeper.blocks.errors import AwsError, NotFound

from .evaluate import InvalidExpression
from .expressions import Used, check_all_used, checked_values
from .faults import Faults
from .limits import READ_UNITS, WRITE_UNITS, Limits
from .loop import SimulationLoop
from .service import EPOCH, invalid
from .tables import InvalidKey, Key, Table
from .usage import Usage
from .values import InvalidValue, Value

READ_UNIT = 4096
WRITE_UNIT = 1024


@dataclass(slots=True)
class Store:
    loop: SimulationLoop
    faults: Faults
    usage: Usage
    random: random.Random
    limits: Limits
    tables: dict[str, Table] = field(default_factory=dict[str, Table])

    @property
    def now(self) -> float:
        return self.loop.time()

    def table(self, operation: str, parameters: Mapping[str, Any]) -> Table:
        """Raises NotFound."""
        name = parameters["TableName"]
        table = self.tables.get(name) or self.tables.get(str(name).rpartition("/")[2])
        if table is None:
            raise NotFound("dynamodb", operation, "ResourceNotFoundException", f"Requested resource not found: {name}")
        return table

    def bill_read(self, table: Table, size: int, *, consistent: bool, transactional: bool = False) -> float:
        units = max(1, math.ceil(size / READ_UNIT)) * (2.0 if transactional else 1.0 if consistent else 0.5)
        self.usage.add_capacity(table.name, "read", units)
        return units

    def bill_write(self, table: Table, size: int, *, transactional: bool = False) -> float:
        units = max(1, math.ceil(size / WRITE_UNIT)) * (2.0 if transactional else 1.0)
        self.usage.add_capacity(table.name, "write", units)
        return units

    def admits_writes(self, writes: Iterable[tuple[Table, Key, int]], *, transactional: bool = False) -> bool:
        """Whether writes of so many bytes are within the limits of their partitions and tables, all together."""
        wanted: dict[Hashable, tuple[float, float]] = {}
        for table, key, size in writes:
            units = max(1, math.ceil(size / WRITE_UNIT)) * (2.0 if transactional else 1.0)
            _want(wanted, ("write", table.name, table.host(key[0])), WRITE_UNITS, units)
            _want(wanted, ("write", table.name), table.max_write_units, units)
        return self.limits.admit_all(self.now, wanted)

    def admits_read(self, table: Table, partition: Any, size: int) -> bool:
        """Whether a read of ``size`` bytes is within the limits of its partition and table."""
        units = max(1, math.ceil(size / READ_UNIT))
        wanted: dict[Hashable, tuple[float, float]] = {}
        _want(wanted, ("read", table.name, table.host(partition)), READ_UNITS, units)
        _want(wanted, ("read", table.name), table.max_read_units, units)
        return self.limits.admit_all(self.now, wanted)

    def expire_later(self, table: Table, key: Key) -> None:
        """Time to live: some time after the moment the item names, it goes, as a write like any other."""
        item = table.cell(key).newest.item
        moment = item.get(table.ttl, {}).get("N") if item is not None and table.ttl else None
        if moment is None:
            return
        due = max(self.now, float(moment) - EPOCH) + 10 ** self.random.uniform(0.0, 5.2)
        self.loop.call_at(due, self._expire, table, key, moment)

    def _expire(self, table: Table, key: Key, moment: str) -> None:
        cell = table.cell(key)
        item = cell.newest.item
        if item is not None and item.get(table.ttl or "") == {"N": moment} and cell.busy_until <= self.now:
            cell.write(self.now, None, 0)


def _want(wanted: dict[Hashable, tuple[float, float]], what: Hashable, rate: float, units: float) -> None:
    wanted[what] = rate, wanted.get(what, (rate, 0.0))[1] + units


class validating:
    """A context that turns what expressions, values and keys refuse into ValidationException."""

    __slots__ = ("_operation",)

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidExpression | InvalidValue | InvalidKey):
            raise invalid("dynamodb", self._operation, str(error)) from error


def placeholders(parameters: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Value]]:
    """The names and values of a request. Raises InvalidExpression, InvalidValue."""
    names = parameters.get("ExpressionAttributeNames")
    values = parameters.get("ExpressionAttributeValues")
    if names is None and values is None:
        return {}, {}
    for given, what in ((names, "Names"), (values, "Values")):
        if given is not None and not given:
            raise InvalidExpression(f"ExpressionAttribute{what} must not be empty")
    for name in names or ():
        if not name.startswith("#"):
            raise InvalidExpression(f'ExpressionAttributeNames contains invalid key: Syntax error; key: "{name}"')
    return names or {}, checked_values(values) if values else {}


def check_placeholders(names: Mapping[str, str], values: Mapping[str, Value], *used: Used | None) -> None:
    """Raises InvalidExpression."""
    expressions = [each for each in used if each is not None]
    if not expressions and not names and not values:
        return
    if not expressions:
        raise InvalidExpression("ExpressionAttributeNames and Values can only be specified when using expressions")
    check_all_used(names, values, expressions)
    for each in expressions:
        each.check_literals(values)


def refuse_unknown(operation: str, parameters: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises AwsError for a parameter that this simulation does not implement, so that none is ignored silently."""
    if not known.issuperset(parameters):
        unknown = parameters.keys() - known
        raise AwsError("dynamodb", operation, "NotSimulated", f"parameters {sorted(unknown)}")
