"""GetItem, BatchGetItem, Query and Scan.

A consistent read sees every item as of some instant between its request and its answer, which for one item is
linearizable and for several is not a snapshot. Without ConsistentRead the instants can lie further back.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError, Throttled

from . import expressions
from .evaluate import InvalidExpression, project
from .expressions import KeyPart, ParsedCondition, ParsedProjection
from .faults import FaultKind
from .store import Store, check_placeholders, placeholders, refuse_unknown, validating
from .tables import Cell, InvalidKey, Key, KeyAttribute, Table, Version
from .values import Item, Value, comparable, copy_item, kind

PAGE_BYTES: Final = 1024 * 1024
_BATCH_LIMIT: Final = 100
_BATCH_BYTES: Final = 16 * 1024 * 1024
_LOOKUP: Final = frozenset(
    {
        "TableName",
        "Key",
        "ConsistentRead",
        "ProjectionExpression",
        "ExpressionAttributeNames",
        "ReturnConsumedCapacity",
    }
)
_PAGED: Final = _LOOKUP - {"Key"} | {
    "ExpressionAttributeValues",
    "FilterExpression",
    "Limit",
    "ExclusiveStartKey",
    "Select",
}
_QUERY: Final = _PAGED | {"KeyConditionExpression", "ScanIndexForward"}

View: TypeAlias = Callable[[Cell], Version]


class Lookup:
    """A key to read, and the attributes wanted of its item. Raises AwsError (validation)."""

    def __init__(self, store: Store, operation: str, parameters: Mapping[str, Any]) -> None:
        refuse_unknown(operation, parameters, _LOOKUP)
        self.table = store.table(operation, parameters)
        with validating(operation):
            self.key: Key = self.table.key_of(parameters["Key"])
            self._projection = _projection(parameters)

    @property
    def cell(self) -> Cell:
        return self.table.find(self.key)

    @property
    def identity(self) -> tuple[str, Key]:
        return self.table.name, self.key

    def projected(self, item: Item | None) -> Item | None:
        return None if item is None else _projected(item, self._projection)


def _projection(parameters: Mapping[str, Any]) -> ParsedProjection | None:
    names, _ = placeholders(parameters)
    text = parameters.get("ProjectionExpression")
    parsed = expressions.projection(text, names) if text is not None else None
    check_placeholders(names, {}, parsed and parsed.used)
    return parsed


def _projected(item: Item, projection: ParsedProjection | None) -> Item:
    return copy_item(item if projection is None else project(item, projection.paths))


def _view(store: Store, operation: str, sent: float, *, consistent: bool) -> View:
    """How a read sees cells: each at one instant, or at instants of their own."""
    now = store.now
    earliest = now
    if not consistent:
        stale = store.faults.strike(FaultKind.STALE, operation)
        earliest = now - stale.seconds if stale is not None else now
    elif store.faults.happens(FaultKind.TORN, operation):
        earliest = sent
    if earliest == now:
        return lambda cell: cell.at(now)
    share = store.faults.share

    def view(cell: Cell) -> Version:
        if cell.newest.since <= earliest:
            return cell.newest
        return cell.at(now - (now - earliest) * share())

    return view


def get(store: Store, operation: str, parameters: Mapping[str, Any], sent: float) -> Response:
    """GetItem. Raises AwsError (validation)."""
    lookup = Lookup(store, operation, parameters)
    consistent = bool(parameters.get("ConsistentRead", False))
    version = _view(store, operation, sent, consistent=consistent)(lookup.cell)
    _admit(store, operation, lookup.table, lookup.key[0], version.size)
    units = store.bill_read(lookup.table, version.size, consistent=consistent)
    item = lookup.projected(version.item)
    response: Response = {} if item is None else {"Item": item}
    return _with_capacity(response, parameters, lookup.table, units)


def batch_get(store: Store, operation: str, parameters: Mapping[str, Any], sent: float) -> Response:
    """BatchGetItem: items in any order, some keys perhaps unprocessed. Raises Throttled, AwsError (validation)."""
    refuse_unknown(operation, parameters, frozenset({"RequestItems", "ReturnConsumedCapacity"}))
    wanted: list[tuple[str, dict[str, Any], dict[str, Any], Lookup]] = []
    for name, request in parameters["RequestItems"].items():
        shared = {key: value for key, value in request.items() if key != "Keys"}
        for key in request["Keys"]:
            wanted.append((name, shared, key, Lookup(store, operation, {"TableName": name, "Key": key, **shared})))
    if not 1 <= len(wanted) <= _BATCH_LIMIT:
        raise AwsError(
            "dynamodb", operation, "ValidationException", f"{len(wanted)} keys; 1 to {_BATCH_LIMIT} are allowed"
        )
    if len({lookup.identity for _, _, _, lookup in wanted}) < len(wanted):
        raise AwsError("dynamodb", operation, "ValidationException", "Provided list of item keys contains duplicates")
    views = {
        consistent: _view(store, operation, sent, consistent=consistent)
        for consistent in dict.fromkeys(bool(shared.get("ConsistentRead", False)) for _, shared, _, _ in wanted)
    }
    responses: dict[str, list[Item]] = {name: [] for name in parameters["RequestItems"]}
    unprocessed: dict[str, dict[str, Any]] = {}
    order = list(wanted)
    store.random.shuffle(order)
    read = 0
    for name, shared, key, lookup in order:
        consistent = bool(shared.get("ConsistentRead", False))
        version = views[consistent](lookup.cell)
        if (
            read + version.size > _BATCH_BYTES
            or not store.admits_read(lookup.table, lookup.key[0], version.size)
            or store.faults.happens(FaultKind.PARTIAL_BATCH, lambda lookup=lookup: f"{operation} {lookup.key}")
        ):
            unprocessed.setdefault(name, {**shared, "Keys": []})["Keys"].append(key)
            continue
        read += version.size
        store.bill_read(lookup.table, version.size, consistent=consistent)
        item = lookup.projected(version.item)
        if item is not None:
            responses[name].append(item)
    if sum(len(request["Keys"]) for request in unprocessed.values()) == len(wanted):
        raise Throttled("dynamodb", operation, "ProvisionedThroughputExceededException", "no key could be processed")
    return {"Responses": responses, "UnprocessedKeys": unprocessed}


def query(store: Store, operation: str, parameters: Mapping[str, Any], sent: float) -> Response:
    """Query of a table. Raises AwsError (validation)."""
    refuse_unknown(operation, parameters, _QUERY)
    table = store.table(operation, parameters)
    with validating(operation):
        names, values = placeholders(parameters)
        text = parameters.get("KeyConditionExpression")
        if text is None:
            raise InvalidExpression("Either the KeyConditions or KeyConditionExpression parameter must be specified")
        key_condition = expressions.condition(text, names, "KeyConditionExpression")
        paging = _Paging(table, parameters, names, values, key_condition)
        span = _span(table, key_condition, values)
        forbidden = paging.filter.used.attributes & table.key_names if paging.filter is not None else frozenset[str]()
        if forbidden:
            raise InvalidExpression(
                f"Filter Expression can only contain non-primary key attributes: {sorted(forbidden)}"
            )
        cells = _in_span(table, span, paging.start, forward=bool(parameters.get("ScanIndexForward", True)))
    response, size = _page(store, operation, paging, cells, sent)
    _admit(store, operation, table, span.partition, size)
    return response


def scan(store: Store, operation: str, parameters: Mapping[str, Any], sent: float) -> Response:
    """Scan of a table. Raises AwsError (validation)."""
    refuse_unknown(operation, parameters, _PAGED)
    table = store.table(operation, parameters)
    with validating(operation):
        names, values = placeholders(parameters)
        paging = _Paging(table, parameters, names, values, None)
    return _page(store, operation, paging, table.scan_from(paging.start), sent)[0]


class _Paging:
    """What Query and Scan share. Raises InvalidExpression, InvalidKey."""

    def __init__(
        self,
        table: Table,
        parameters: Mapping[str, Any],
        names: dict[str, str],
        values: dict[str, Value],
        key_condition: ParsedCondition | None,
    ) -> None:
        self.table = table
        self.parameters = parameters
        self.values = values
        text = parameters.get("FilterExpression")
        self.filter = expressions.condition(text, names, "FilterExpression") if text is not None else None
        text = parameters.get("ProjectionExpression")
        self.projection = expressions.projection(text, names) if text is not None else None
        check_placeholders(
            names,
            values,
            key_condition and key_condition.used,
            self.filter and self.filter.used,
            self.projection and self.projection.used,
        )
        start = parameters.get("ExclusiveStartKey")
        self.start = table.key_of(start) if start is not None else None
        self.limit = parameters.get("Limit")
        if self.limit is not None and self.limit < 1:
            raise InvalidExpression(f"Limit {self.limit} is less than 1")
        self.consistent = bool(parameters.get("ConsistentRead", False))
        self.count_only = parameters.get("Select") == "COUNT"


def _page(
    store: Store, operation: str, paging: _Paging, cells: Iterable[tuple[Key, Cell]], sent: float
) -> tuple[Response, int]:
    """The answer, and the bytes it took to read."""
    view = _view(store, operation, sent, consistent=paging.consistent)
    limit = paging.limit
    if store.faults.happens(FaultKind.SHORT_PAGE, operation):
        limit = min(limit or 100, 1 + int(8 * store.faults.share()))
    items: list[Item] = []
    scanned = matched = size = 0
    last: Item | None = None
    more = False
    for _, cell in cells:
        version = view(cell)
        if version.item is None:
            continue
        if scanned == limit or size >= PAGE_BYTES:
            more = True
            break
        scanned += 1
        size += version.size
        last = paging.table.key_attributes(version.item)
        if paging.filter is None or paging.filter.holds(version.item, paging.values):
            matched += 1
            if not paging.count_only:
                items.append(_projected(version.item, paging.projection))
    units = store.bill_read(paging.table, size, consistent=paging.consistent)
    response: Response = {"Count": matched, "ScannedCount": scanned}
    if not paging.count_only:
        response["Items"] = items
    if last is not None and (more or scanned == limit):  # at the limit there may be nothing after it, as on AWS
        response["LastEvaluatedKey"] = copy_item(last)
    return _with_capacity(response, paging.parameters, paging.table, units), size


@dataclass(frozen=True, slots=True)
class _Span:
    """Which sort keys of one partition a Query wants: a range, and a prefix."""

    partition: Any
    low: Any = None
    low_open: bool = False
    high: Any = None
    high_open: bool = False
    prefix: Any = None

    def holds(self, sort: Any) -> bool:
        if self.low is not None and (sort < self.low or (self.low_open and sort == self.low)):
            return False
        if self.high is not None and (sort > self.high or (self.high_open and sort == self.high)):
            return False
        return self.prefix is None or sort.startswith(self.prefix)


def _span(table: Table, condition: ParsedCondition, values: Mapping[str, Value]) -> _Span:
    parts = {part.attribute: part for part in condition.key_parts or ()}
    if condition.key_parts is None or len(parts) != len(condition.key_parts):
        raise InvalidExpression("Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression")
    first = parts.pop(table.partition_key.name, None)
    if first is None or first.operator != "=":
        raise InvalidExpression(f"Query condition missed key schema element: {table.partition_key.name}")
    partition = _bound(table.partition_key, first, values)[0]
    second = parts.pop(table.sort_key.name, None) if table.sort_key is not None else None
    if parts:
        raise InvalidExpression(f"Query key condition not supported: {sorted(parts)}")
    if second is None or table.sort_key is None:
        return _Span(partition)
    bounds = _bound(table.sort_key, second, values)
    match second.operator:
        case "=":
            return _Span(partition, low=bounds[0], high=bounds[0])
        case "<" | "<=":
            return _Span(partition, high=bounds[0], high_open=second.operator == "<")
        case ">" | ">=":
            return _Span(partition, low=bounds[0], low_open=second.operator == ">")
        case "BETWEEN":
            return _Span(partition, low=bounds[0], high=bounds[1])
        case "begins_with" if table.sort_key.type != "N":
            return _Span(partition, low=bounds[0], prefix=bounds[0])
        case _:
            raise InvalidExpression(f"Unsupported operator on KeyCondition: operator: {second.operator}")


def _bound(attribute: KeyAttribute, part: KeyPart, values: Mapping[str, Value]) -> list[Any]:
    found: list[Any] = []
    for name in part.values:
        if name not in values:
            raise InvalidExpression(f"An expression attribute value used in expression is not defined: {name}")
        if kind(values[name]) != attribute.type:
            raise InvalidKey(
                "One or more parameter values were invalid: Condition parameter type does not match schema type: "
                f"{attribute.name} is {attribute.type}, not {kind(values[name])}"
            )
        found.append(comparable(values[name]))
    return found


def _in_span(table: Table, span: _Span, start: Key | None, *, forward: bool) -> Iterator[tuple[Key, Cell]]:
    if start is not None and (start[0] != span.partition or not span.holds(start[1])):
        raise InvalidKey("The provided starting key is outside query boundaries based on provided conditions")
    partition = table.partitions.get(span.partition)
    if partition is None:
        return iter(())
    order = partition.order
    first, end = 0, len(order)
    if span.low is not None:
        first = (bisect.bisect_right if span.low_open else bisect.bisect_left)(order, span.low)
    if span.high is not None:
        end = (bisect.bisect_left if span.high_open else bisect.bisect_right)(order, span.high)
    if start is not None:
        if forward:
            first = max(first, bisect.bisect_right(order, start[1]))
        else:
            end = min(end, bisect.bisect_left(order, start[1]))
    chosen = order[first:end] if forward else order[first:end][::-1]
    if span.prefix is not None:
        chosen = [sort for sort in chosen if sort.startswith(span.prefix)]
    return iter([((span.partition, sort), partition.cells[sort]) for sort in chosen])


def _admit(store: Store, operation: str, table: Table, partition: Any, size: int) -> None:
    """Raises Throttled."""
    if not store.admits_read(table, partition, size):
        raise Throttled(
            "dynamodb", operation, "ProvisionedThroughputExceededException", f"over the limit of {partition!r}"
        )


def _with_capacity(response: Response, parameters: Mapping[str, Any], table: Table, units: float) -> Response:
    if parameters.get("ReturnConsumedCapacity", "NONE") != "NONE":
        response["ConsumedCapacity"] = {"TableName": table.name, "CapacityUnits": units}
    return response
