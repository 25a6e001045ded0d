"""DynamoDB's single-item writes, and the one action that transactions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError, ConditionFailed, Conflict, Throttled

from . import expressions
from .evaluate import InvalidExpression, project
from .faults import FaultKind
from .store import Store, check_placeholders, placeholders, refuse_unknown, validating
from .tables import Cell, Table, Version
from .values import MAX_ITEM_SIZE, InvalidValue, Item, copy_item, item_size, stored_item

_ACTIONS: Final = {"put_item": "Put", "update_item": "Update", "delete_item": "Delete"}
_COMMON: Final = frozenset(
    {
        "TableName",
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ReturnValues",
        "ReturnConsumedCapacity",
        "ReturnItemCollectionMetrics",
        "ReturnValuesOnConditionCheckFailure",
    }
)
_KNOWN: Final = {
    "Put": _COMMON | {"Item"},
    "Update": _COMMON | {"Key", "UpdateExpression"},
    "Delete": _COMMON | {"Key"},
    "ConditionCheck": _COMMON | {"Key"},
}
_RETURN_VALUES: Final = {
    "Put": frozenset({"NONE", "ALL_OLD"}),
    "Delete": frozenset({"NONE", "ALL_OLD"}),
    "Update": frozenset({"NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"}),
}
_BATCH_LIMIT: Final = 25


class Action:
    """A Put, Update, Delete or ConditionCheck, checked and bound to its item. Raises AwsError (validation)."""

    def __init__(self, store: Store, operation: str, kind: str, parameters: Mapping[str, Any]) -> None:
        refuse_unknown(operation, parameters, _KNOWN[kind])
        self.kind = kind
        self.parameters = parameters
        self.table: Table = store.table(operation, parameters)
        self.put: Item | None = None
        self.put_size = 0
        self._judged: tuple[Item | None, Item | None, int] | None = None
        with validating(operation):
            names, self.values = placeholders(parameters)
            if kind == "Put":
                self.put = stored_item(parameters["Item"])
                self.key = self.table.key_of(self.put, whole=True)
                self.put_size = item_size(self.put)
                if self.put_size > MAX_ITEM_SIZE:
                    raise InvalidValue("Item size has exceeded the maximum allowed size")
                self.key_attributes = self.table.key_attributes(self.put)
            else:
                self.key = self.table.key_of(parameters["Key"])
                self.key_attributes = stored_item(parameters["Key"])
            text = parameters.get("ConditionExpression")
            self.condition = expressions.condition(text, names) if text is not None else None
            text = parameters.get("UpdateExpression")
            self.update = expressions.update(text, names) if text is not None else None
            if self.update is not None:
                for path in self.update.paths:
                    if path[0] in self.table.key_names:
                        raise InvalidExpression(
                            f"One or more parameter values were invalid: Cannot update attribute {path[0]}. "
                            "This attribute is part of the key"
                        )
            self.cell: Cell = self.table.cell(self.key)
            if kind == "ConditionCheck" and self.condition is None:
                raise InvalidExpression("ConditionCheck needs a ConditionExpression")
            check_placeholders(
                names, self.values, self.condition and self.condition.used, self.update and self.update.used
            )

    def allowed(self, old: Item | None) -> bool:
        """Whether the condition holds. Raises InvalidExpression."""
        return self.condition is None or self.condition.holds(old or {}, self.values)

    def result(self, old: Item | None) -> tuple[Item | None, int]:
        """The item afterwards, and its size in bytes. Raises InvalidExpression or InvalidValue where it cannot be."""
        if self._judged is None or self._judged[0] is not old:
            new = self._result(old)
            size = self.put_size if new is self.put else item_size(new) if new is not None else 0
            if size > MAX_ITEM_SIZE:
                raise InvalidValue("Item size to update has exceeded the maximum allowed size")
            self._judged = old, new, size
        return self._judged[1:]

    def _result(self, old: Item | None) -> Item | None:
        if self.kind == "Put":
            return self.put
        if self.kind == "Delete":
            return None
        if self.kind == "ConditionCheck":
            return old
        new = old if old is not None else dict(self.key_attributes)
        return new if self.update is None else self.update.apply(new, self.values)


def write(store: Store, operation: str, parameters: Mapping[str, Any]) -> Response:
    """PutItem, UpdateItem, DeleteItem. Raises ConditionFailed, Conflict, AwsError (validation)."""
    kind = _ACTIONS[operation]
    returned = parameters.get("ReturnValues", "NONE")
    if returned not in _RETURN_VALUES[kind]:
        raise AwsError("dynamodb", operation, "ValidationException", f"Return values set to invalid value: {returned}")
    action = Action(store, operation, kind, parameters)
    cell = action.cell
    if cell.busy_until > store.now or store.faults.happens(FaultKind.CONFLICT, lambda: f"{operation} {action.key}"):
        raise Conflict("dynamodb", operation, "TransactionConflictException", "Transaction is ongoing for the item")
    old = cell.newest
    with validating(operation):
        if not action.allowed(old.item):
            store.bill_write(action.table, old.size)
            shown = parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            raise ConditionFailed(
                "dynamodb",
                operation,
                "ConditionalCheckFailedException",
                "The conditional request failed",
                item=copy_item(old.item) if shown and old.item else None,
            )
        item, size = action.result(old.item)
    if not store.admits_writes([(action.table, action.key, max(old.size, size))]):
        raise Throttled(
            "dynamodb", operation, "ProvisionedThroughputExceededException", f"over the limit of {action.key[0]!r}"
        )
    new = apply(store, action, store.now, item, size)
    units = store.bill_write(action.table, max(old.size, new.size))
    response = _returned_attributes(action, returned, old.item, item)
    if parameters.get("ReturnConsumedCapacity", "NONE") != "NONE":
        response["ConsumedCapacity"] = {"TableName": action.table.name, "CapacityUnits": units}
    return response


def apply(store: Store, action: Action, since: float, item: Item | None, size: int) -> Version:
    """Makes ``item``, of so many bytes, visible from ``since`` on."""
    version = action.cell.write(since, item, size)
    if action.table.ttl is not None:
        store.expire_later(action.table, action.key)
    return version


def _returned_attributes(action: Action, returned: str, old: Item | None, new: Item | None) -> Response:
    chosen = old if returned.endswith("_OLD") else new
    if returned == "NONE" or chosen is None:
        return {}
    if returned.startswith("UPDATED_"):
        paths = list(action.update.paths) if action.update is not None else []
        chosen = project(chosen, paths)
        if not chosen:
            return {}
    return {"Attributes": copy_item(chosen)}


def batch_write(store: Store, operation: str, parameters: Mapping[str, Any]) -> Response:
    """BatchWriteItem: each entry for itself, some perhaps left unprocessed. Raises AwsError (validation)."""
    refuse_unknown(operation, parameters, frozenset({"RequestItems", "ReturnConsumedCapacity"}))
    requests: list[tuple[str, dict[str, Any], Action]] = []
    for table, entries in parameters["RequestItems"].items():
        for entry in entries:
            ((name, content),) = entry.items()
            kind = {"PutRequest": "Put", "DeleteRequest": "Delete"}[name]
            requests.append((table, entry, Action(store, operation, kind, {"TableName": table, **content})))
    if not 1 <= len(requests) <= _BATCH_LIMIT:
        raise AwsError(
            "dynamodb", operation, "ValidationException", f"{len(requests)} requests; 1 to {_BATCH_LIMIT} are allowed"
        )
    if len({(action.table.name, action.key) for _, _, action in requests}) < len(requests):
        raise AwsError("dynamodb", operation, "ValidationException", "Provided list of item keys contains duplicates")
    unprocessed: dict[str, list[dict[str, Any]]] = {}
    for table, entry, action in requests:
        if action.cell.busy_until > store.now or store.faults.happens(
            FaultKind.PARTIAL_BATCH, lambda action=action: f"{operation} {action.key}"
        ):
            unprocessed.setdefault(table, []).append(entry)
            continue
        old = action.cell.newest
        new = apply(store, action, store.now, *action.result(old.item))
        store.bill_write(action.table, max(old.size, new.size))
    if sum(map(len, unprocessed.values())) == len(requests):
        raise Throttled("dynamodb", operation, "ProvisionedThroughputExceededException", "no entry could be processed")
    return {"UnprocessedItems": unprocessed}
