"""TransactWriteItems and TransactGetItems.

A write transaction takes its items at once or is cancelled, holds them while it prepares, and then commits. From the
commit on each item becomes visible at its own moment, and is free for others from that moment; the answer is sent
when all are visible. Until then a reader can see some items new and others old, which AWS permits for every read but
TransactGetItems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError, CancellationReason, TransactionCancelled, Unavailable

from .evaluate import InvalidExpression
from .faults import FaultKind
from .reads import Lookup
from .service import At, Committed
from .store import Store, refuse_unknown
from .values import InvalidValue, copy_item, item_size, size
from .writes import Action, apply

MAX_ACTIONS: Final = 100
MAX_BYTES: Final = 4 * 1024 * 1024
IDEMPOTENCY_WINDOW: Final = 600.0
PREPARE_SECONDS: Final = (0.0005, 0.003)
_FINE: Final = CancellationReason("None")


@dataclass(frozen=True, slots=True)
class _Done:
    """A transaction that was given a ClientRequestToken."""

    actions: Any
    complete: float


@dataclass(slots=True)
class Transactions:
    store: Store
    _by_token: dict[str, _Done] = field(default_factory=dict[str, _Done])

    def write(self, operation: str, parameters: Mapping[str, Any]) -> At:
        """Raises AwsError (validation); the answer is a response or TransactionCancelled."""
        store = self.store
        refuse_unknown(
            operation,
            parameters,
            frozenset({"TransactItems", "ClientRequestToken", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"}),
        )
        actions = self._actions(operation, parameters["TransactItems"])
        token = parameters.get("ClientRequestToken")
        if token is not None:
            repeated = self._repeated(operation, token, parameters["TransactItems"])
            if repeated is not None:
                return repeated
        prepared = store.now + store.random.uniform(*PREPARE_SECONDS)
        reasons = self._prepare(actions)
        total = sum(max(action.cell.newest.size, _size(action)) for action in actions)
        if total > MAX_BYTES:
            raise AwsError("dynamodb", operation, "ValidationException", f"{total} bytes; {MAX_BYTES} are allowed")
        if any(reason is not _FINE for reason in reasons):
            return At(prepared, self._cancel(operation, actions, reasons, prepared))
        complete, visible = self._commit(actions, prepared)
        if token is not None:
            self._by_token[token] = _Done(parameters["TransactItems"], complete)
        return Committed(complete, self._response(parameters, actions), visible)

    def get(self, operation: str, parameters: Mapping[str, Any], sent: float) -> Response:
        """An atomic read, or TransactionCancelled if a write met it. Raises AwsError (validation)."""
        store = self.store
        refuse_unknown(operation, parameters, frozenset({"TransactItems", "ReturnConsumedCapacity"}))
        lookups = [Lookup(store, operation, entry["Get"]) for entry in parameters["TransactItems"]]
        _check_count(operation, len(lookups))
        if len({lookup.identity for lookup in lookups}) < len(lookups):
            raise AwsError(
                "dynamodb", operation, "ValidationException", "Transaction request cannot include multiple operations"
            )
        # it reads twice and wants to find the same, with no transaction on the item either time
        first_read = max(sent, store.now - store.random.uniform(*PREPARE_SECONDS))
        conflict = CancellationReason("TransactionConflict")
        reasons = [
            conflict
            if lookup.cell.busy_until > first_read
            or lookup.cell.newest.since > first_read
            or store.faults.happens(FaultKind.CONFLICT, lambda lookup=lookup: f"{operation} {lookup.key}")
            else _FINE
            for lookup in lookups
        ]
        if conflict in reasons:
            raise TransactionCancelled(operation, tuple(reasons))
        responses: list[Response] = []
        for lookup in lookups:
            version = lookup.cell.newest
            store.bill_read(lookup.table, version.size, consistent=True, transactional=True)
            item = lookup.projected(version.item)
            responses.append({} if item is None else {"Item": item})
        return {"Responses": responses}

    def _actions(self, operation: str, entries: list[dict[str, Any]]) -> list[Action]:
        _check_count(operation, len(entries))
        actions: list[Action] = []
        for entry in entries:
            ((kind, content),) = entry.items()
            actions.append(Action(self.store, operation, kind, content))
        if len({(action.table.name, action.key) for action in actions}) < len(actions):
            raise AwsError(
                "dynamodb",
                operation,
                "ValidationException",
                "Transaction request cannot include multiple operations on one item",
            )
        return actions

    def _repeated(self, operation: str, token: str, entries: Any) -> At | None:
        done = self._by_token.get(token)
        if done is None or done.complete + IDEMPOTENCY_WINDOW < self.store.now:
            return None
        if done.actions != entries:
            raise AwsError("dynamodb", operation, "IdempotentParameterMismatchException", token)
        if done.complete > self.store.now:
            raise Unavailable("dynamodb", operation, "TransactionInProgressException", token)
        return At(self.store.now, {})

    def _prepare(self, actions: list[Action]) -> list[CancellationReason]:
        store = self.store
        reasons = [self._vote(action) for action in actions]
        if all(reason is _FINE for reason in reasons) and not self._admitted(actions):
            reasons = [CancellationReason("ThrottlingError"), *reasons[1:]]
        failed = [index for index, reason in enumerate(reasons) if reason is not _FINE]
        if len(failed) > 1 and store.faults.happens(FaultKind.FEW_REASONS, "transact_write_items"):
            named = store.random.choice(failed)
            reasons = [reason if index == named else _FINE for index, reason in enumerate(reasons)]
        return reasons

    def _vote(self, action: Action) -> CancellationReason:
        store = self.store
        if action.cell.busy_until > store.now or store.faults.happens(
            FaultKind.CONFLICT, lambda: f"transact_write_items {action.table.name} {action.key}"
        ):
            return CancellationReason("TransactionConflict")
        old = action.cell.newest.item
        try:
            if not action.allowed(old):
                shown = action.parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
                return CancellationReason("ConditionalCheckFailed", copy_item(old) if shown and old else {})
            action.result(old)
        except (InvalidExpression, InvalidValue):
            return CancellationReason("ValidationError")
        return _FINE

    def _admitted(self, actions: list[Action]) -> bool:
        """By partitions and tables, the transaction as a whole."""
        larger = (
            (action, max(action.cell.newest.size, action.result(action.cell.newest.item)[1])) for action in actions
        )
        return self.store.admits_writes(
            ((action.table, action.key, size) for action, size in larger), transactional=True
        )

    def _cancel(
        self, operation: str, actions: list[Action], reasons: list[CancellationReason], until: float
    ) -> TransactionCancelled:
        for action in actions:
            self.store.bill_write(action.table, action.cell.newest.size, transactional=True)
            # an item that had been taken stays taken until the cancellation reaches it
            action.cell.busy_until = max(action.cell.busy_until, until)
        return TransactionCancelled(operation, tuple(reasons))

    def _commit(self, actions: list[Action], commit: float) -> tuple[float, float]:
        """When the last item is free, and when the last write is visible."""
        store = self.store
        slow = store.faults.strike(FaultKind.SLOW_COMMIT, "transact_write_items") or store.faults.strike(
            FaultKind.TORN, "transact_write_items"
        )
        spread = slow.seconds if slow is not None else 0.0
        complete = all_visible = commit
        for action in actions:
            old = action.cell.newest
            visible = commit + spread * store.random.random()
            action.cell.busy_until = visible
            complete = max(complete, visible)
            if action.kind == "ConditionCheck":
                store.bill_write(action.table, old.size, transactional=True)
            else:
                all_visible = max(all_visible, visible)
                new = apply(store, action, visible, *action.result(old.item))
                store.bill_write(action.table, max(old.size, new.size), transactional=True)
        return complete, all_visible

    def _response(self, parameters: Mapping[str, Any], actions: list[Action]) -> Response:
        if parameters.get("ReturnConsumedCapacity", "NONE") == "NONE":
            return {}
        units: dict[str, float] = {}
        for action in actions:
            larger = max(version.size for version in action.cell.versions[-2:])
            units[action.table.name] = units.get(action.table.name, 0.0) + 2.0 * max(1, -(-larger // 1024))
        return {"ConsumedCapacity": [{"TableName": name, "CapacityUnits": amount} for name, amount in units.items()]}


def _check_count(operation: str, count: int) -> None:
    if not 1 <= count <= MAX_ACTIONS:
        raise AwsError("dynamodb", operation, "ValidationException", f"{count} actions; 1 to {MAX_ACTIONS} are allowed")


def _size(action: Action) -> int:
    """Bytes an action counts for against the limit of a transaction."""
    if action.put is not None:
        return action.put_size
    return item_size(action.key_attributes) + sum(map(size, action.values.values()))
