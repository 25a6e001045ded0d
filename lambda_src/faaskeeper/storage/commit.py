"""Turns what a batch of operations changed into one TransactWriteItems.

The only condition that orders transactions is ``zxid = :expected`` on the head: whoever loaded from another state
is cancelled. Nodes need no conditions of their own, for nobody else writes them; watch sets do, for gateways
register at any time (see ``_Writer.node``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from faaskeeper.blocks.attributes import Attribute, binary, item_size, number, string, string_set
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.protocol.service import Service
from faaskeeper.storage.candidates import candidate_of
from faaskeeper.storage.keys import (
    NODE,
    Key,
    child_key,
    ephemeral_key,
    event_key,
    gateway_key,
    gateway_session_key,
    head_key,
    node_key,
    quota_key,
    recursive_key,
    reference_key,
    session_key,
    value_key,
)
from faaskeeper.storage.ledger import EVENT_SECONDS, Head, Subtrees, event_records
from faaskeeper.storage.loading import Snapshot
from faaskeeper.storage.sessions import session_attributes
from faaskeeper.storage.znodes import (
    FIRED,
    WATCH_CHILD,
    WATCH_DATA,
    WATCH_SETS,
    WATCH_STAY,
    NodeItem,
    attributes_of,
    plain_attributes,
    tombstone_attributes,
)
from faaskeeper.znode import quotas
from faaskeeper.znode.model import Blob, Event, EventKind, Session, Stored, Znode, data_length
from faaskeeper.znode.state import State

MAX_TRANSACTION_ITEMS = 100
"""Of one transaction, the head included (DynamoDB limit)."""
MAX_TRANSACTION_BYTES = 3_500_000
"""Of one transaction; DynamoDB's limit is 4 MB, counted its own way."""
MAX_TRANSACTION_UNITS = 450
"""Write units of one transaction, two for each KB of an item as it was or will be, whichever is larger. DynamoDB admits
a transaction whole or not at all, so one above what a table may take in a second can never happen: 1,000 in a partition
(Developer Guide, "Burst and adaptive capacity"), 500 in the table where ``Tier.max_write_units`` is lowest."""
_UNITS_BESIDE = 50
"""What belongs to one item that is itself above the limit goes with it: no split would make it smaller."""
MAX_TRANSACTION_KEY_BYTES = 200_000
"""Of the keys that the head lists; an item ends at 400 KB."""
MAX_ITEM_BYTES = 400_000
"""Of one item; DynamoDB's limit is 409,600, and watches may be registered until the commit."""

_FIRES: Mapping[EventKind, tuple[str, ...]] = {
    EventKind.CREATED: (WATCH_DATA,),
    EventKind.DELETED: (WATCH_DATA, WATCH_CHILD),
    EventKind.DATA: (WATCH_DATA,),
    EventKind.CHILDREN: (WATCH_CHILD,),
}


@dataclass(frozen=True, slots=True)
class Watched:
    """Events that some gateway watches; the sets (path, attribute) that name the gateways after the commit, and the
    gateways that watch whole subtrees."""

    events: tuple[Event, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    gateways: frozenset[str] = frozenset()


@dataclass(slots=True)
class Plan:
    """The writes of one transaction without the head: ``keys`` and ``actions`` in step with ``sizes``, the bytes of
    each item as it will be: what is not written anew counts too, for the item and for whoever reads them all at once;
    and with ``units``, what each write costs.
    """

    keys: list[Key] = field(default_factory=list[Key])
    actions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    checks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sizes: list[int] = field(default_factory=list[int])
    units: list[int] = field(default_factory=list[int])
    watched: Watched = field(default_factory=Watched)

    @property
    def fits(self) -> bool:
        """Whether one transaction can hold it, head included."""
        return (
            len(self.actions) + len(self.checks) < MAX_TRANSACTION_ITEMS
            and sum(self.sizes) < MAX_TRANSACTION_BYTES
            and sum(self.units) <= max(MAX_TRANSACTION_UNITS, max(self.units, default=0) + _UNITS_BESIDE)
            and sum(key.size for key in self.keys) < MAX_TRANSACTION_KEY_BYTES
        )

    @property
    def storable(self) -> bool:
        """Whether each of its items is one that DynamoDB takes, and written once."""
        return max(self.sizes, default=0) < MAX_ITEM_BYTES and len(set(self.keys)) == len(self.keys)


def plan(
    service: Service,
    state: State,
    snapshot: Snapshot,
    events: Iterable[Event],
    subtrees: Subtrees,
    zxid: int,
    time: int,
    *,
    conditional: bool = True,
) -> Plan:
    """The writes that bring storage from ``snapshot`` to ``state``, in a transaction that ends at ``zxid``.

    What happens in ``subtrees`` concerns those who watch them too.
    ``time`` is in ms. Without ``conditional`` no watch set may stop it: all are moved as they are.
    """
    writer = _Writer(service, snapshot, conditional)
    by_path: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_path[event.path].append(event)
    added: dict[str, frozenset[str]] = {}
    for path, gateway, present in state.changed_subtree_watches():
        if present:
            # its watch counts from the zxid of its registration, so it may fire in this very transaction
            added[path] = added.get(path, frozenset()) | {gateway}
            attributes = {"path": string(path), "gateway": string(gateway)}
            writer.put(recursive_key(path, gateway), attributes)
        else:
            writer.delete(recursive_key(path, gateway))
    more = Subtrees(added)
    gateways: set[str] = set()
    fired: list[Event] = []
    sets: list[tuple[str, str]] = []
    assumed = state.assumed_missing
    for path, before, after in state.changed_nodes():
        happened = by_path.pop(path, [])
        item = snapshot.items.get(path) or NodeItem(path, {})
        watched = writer.node(path, item, before, after, happened, zxid, assumed_missing=path in assumed)
        sets.extend((path, FIRED.get(name, name)) for name in watched)
        concerned = subtrees.watching_above(path) | more.watching_above(path) if happened else frozenset[str]()
        gateways |= concerned
        if watched or concerned:
            fired.extend(happened)
        writer.edge(path, before, after)
        writer.ephemeral(path, before, after)
        writer.reference(before, after)
        writer.quota(path, before, after)
        if candidate := candidate_of(path, before, after, time):
            writer.put(*candidate)
    if by_path:
        raise AssertionError(f"events on paths that did not change: {sorted(by_path)}")
    for session, before, after in state.changed_sessions():
        writer.session(session, before, after)
    result = writer.plan
    if fired:
        order = {id(event): index for index, event in enumerate(events)}
        fired.sort(key=lambda event: order[id(event)])
        expires = number(time // 1000 + EVENT_SECONDS)
        for part, record in enumerate(event_records(fired)):
            writer.put(event_key(zxid, part), {"events": string(record), "expires": expires})
        result.watched = Watched(tuple(fired), tuple(sets), frozenset(gateways))
    return result


def transaction(service: Service, plan: Plan, previous: Head | None, head: Head) -> list[dict[str, Any]]:
    """TransactItems: the head first, then the plan's writes. ``head.keys`` must be the plan's."""
    return [head_update(service, head.attributes(), previous), *plan.actions, *plan.checks]


def head_update(
    service: Service,
    attributes: Mapping[str, Attribute],
    expected: Head | tuple[str, int] | None,
    removed: Iterable[str] = (),
) -> dict[str, Any]:
    """The write of the head that orders a transaction. ``expected`` is the head it follows; None for the first;
    (journal, step) inside a journal."""
    names: dict[str, str] = {}
    values: dict[str, Attribute] = {}
    update = _set_expression(attributes, names, values)
    if removed:
        update += f" REMOVE {', '.join(_name(name, names) for name in removed)}"
    if expected is None:
        condition = "attribute_not_exists(pk)"
    elif isinstance(expected, Head):
        condition = "#zxid = :expected AND attribute_not_exists(#journal)"
        names |= {"#zxid": "zxid", "#journal": "journal"}
        values[":expected"] = number(expected.zxid)
    else:
        condition = "#journal = :expected AND #journal_step = :expected_step"
        names |= {"#journal": "journal", "#journal_step": "journal_step"}
        values |= {":expected": string(expected[0]), ":expected_step": number(expected[1])}
    key = head_key()
    return {
        "Update": {
            "TableName": key.table_name(service),
            "Key": key.attributes,
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
    }


class _Writer:
    def __init__(self, service: Service, snapshot: Snapshot, conditional: bool) -> None:
        self._conditional = conditional
        self._service = service
        self._snapshot = snapshot
        self.plan = Plan()

    def put(self, key: Key, attributes: Mapping[str, Attribute], before: int = 0) -> None:
        """``before``: bytes of the item that it replaces."""
        item = {**key.attributes, **attributes}
        if key.full is not None:
            item["full"] = string(key.full)
        self._add(key, "Put", {"Item": item}, item_size(item), before)

    def delete(self, key: Key, before: int = 0) -> None:
        self._add(key, "Delete", {"Key": key.attributes}, 0, before)

    def node(
        self,
        path: str,
        item: NodeItem,
        before: Znode | None,
        after: Znode | None,
        happened: list[Event],
        zxid: int,
        *,
        assumed_missing: bool,
    ) -> list[str]:
        """Writes the znode or its tombstone and moves the watch sets that fire; returns the sets found in use.

        What is in place of a set and none (``NodeItem.is_forged``) becomes EVERYBODY.

        A gateway may register between load and commit. A set loaded empty must still be empty, else the
        transaction is cancelled and the batch loaded again; a set loaded in use is moved as it is then, without a
        condition. So registrations cost one retry a node at most and can never stall the writes.
        """
        self._value(path, item, before, after)
        new = tombstone_attributes(zxid) if after is None else attributes_of(after, self._service.inline_limit)
        names: dict[str, str] = {}
        values: dict[str, Attribute] = {}
        old = plain_attributes(item.attributes)
        key = node_key(path)
        if key.full is not None:
            new["full"] = string(key.full)
        changed = {name: value for name, value in new.items() if old.get(name) != value}
        removed = [name for name in old if name not in new]
        conditions: list[str] = []
        if assumed_missing:
            conditions.append("attribute_not_exists(part)")
        moves: list[tuple[str, str]] = []
        watched: list[str] = []
        sets = dict.fromkeys(name for event in happened for name in _FIRES[event.kind])
        forged = [name for name in WATCH_SETS if item.is_forged(name)]
        for name in (*sets, *((WATCH_STAY,) if happened else ())):
            if name in forged:
                watched.append(name)
            elif item.watchers(name) or not self._conditional:
                watched.append(name)
                if name in FIRED:
                    moves.append((name, FIRED[name]))
            elif not assumed_missing:
                conditions.append(f"attribute_not_exists({name})")
        # neither may it stop the transaction, nor is anybody missed who is in it
        for name in forged:
            fired = name in sets
            changed[FIRED[name] if fired else name] = string_set((EVERYBODY,))
            if fired:
                removed.append(name)
        expression = _set_expression(changed, names, values, moves)
        removals = [*(_name(name, names) for name in removed), *(name for name, _ in moves)]
        if removals:
            expression += f" REMOVE {', '.join(removals)}"
        update: dict[str, Any] = {"Key": key.attributes, "UpdateExpression": expression}
        if conditions:
            update["ConditionExpression"] = " AND ".join(conditions)
        if names:
            update["ExpressionAttributeNames"] = names
        if values:
            update["ExpressionAttributeValues"] = values
        kept = {name: value for name, value in item.attributes.items() if name not in removed}
        # its events are JSON, and must fit into an item too, or it could never go
        escapes = path.count('"') + path.count("\\")
        self._add(key, "Update", update, item_size({**kept, **new}) + escapes, item_size(item.attributes))
        return watched

    def edge(self, path: str, before: Znode | None, after: Znode | None) -> None:
        if path == "/" or (before and before.czxid) == (after and after.czxid):
            return
        if after is None:
            self.delete(child_key(path))
        else:
            self.put(child_key(path), {"czxid": number(after.czxid)})

    def ephemeral(self, path: str, before: Znode | None, after: Znode | None) -> None:
        old, new = before.owner if before else 0, after.owner if after else 0
        if old == new:
            return
        if old:
            self.delete(ephemeral_key(old, path))
        if new:
            self.put(ephemeral_key(new, path), {})

    def reference(self, before: Znode | None, after: Znode | None) -> None:
        old, new = blob_of(before), blob_of(after)
        if old == new:
            return
        if old:
            self.delete(reference_key(old))
        if new:
            self.put(reference_key(new), {})

    def quota(self, path: str, before: Znode | None, after: Znode | None) -> None:
        top = quotas.limited(path)
        if top is None or (before is None) == (after is None):
            return
        if after is None:
            self.delete(quota_key(top))
        else:
            self.put(quota_key(top), {"path": string(top)})

    def session(self, session: int, before: Session | None, after: Session | None) -> None:
        old, new = before.gateway if before else None, after.gateway if after else None
        if after is None:
            self.delete(session_key(session))
        else:
            self.put(session_key(session), session_attributes(after))
        if old is not None and old != new:
            self.delete(gateway_session_key(old, session))
        if new is not None and old != new:
            self.put(gateway_session_key(new, session), {})
        if new is not None:
            self._must_live(new)

    def _must_live(self, gateway: str) -> None:
        """A session must not attach to a gateway that is being declared dead: nobody would expire it."""
        key = gateway_key(gateway)
        check = {
            "ConditionCheck": {
                "TableName": key.table_name(self._service),
                "Key": key.attributes,
                "ConditionExpression": "attribute_exists(beat) AND attribute_not_exists(#state)",
                "ExpressionAttributeNames": {"#state": "state"},
            }
        }
        if check not in self.plan.checks:
            self.plan.checks.append(check)

    def _value(self, path: str, item: NodeItem, before: Znode | None, after: Znode | None) -> None:
        """The value item beside the node: written with the data it belongs to, removed with it."""
        data = after.data if after else None
        old = data_length(before.data) if before and item.has_value else 0
        if after and isinstance(data, bytes) and len(data) > self._service.inline_limit:
            self.put(value_key(path), {"data": binary(data), "mzxid": number(after.mzxid)}, old)
        elif item.has_value and not isinstance(data, Stored):
            self.delete(value_key(path), old)

    def _add(self, key: Key, action: str, parameters: dict[str, Any], size: int, before: int) -> None:
        self.plan.keys.append(key)
        self.plan.actions.append({action: {"TableName": key.table_name(self._service), **parameters}})
        self.plan.sizes.append(size + key.size + 100)
        self.plan.units.append(2 * -(-(max(size, before) + key.size + 100) // 1024))


def changed_paths(keys: Iterable[Key]) -> Iterator[str]:
    """Of the znodes that a transaction which writes ``keys`` creates, changes or deletes. All of a znode that reads
    show changes together with its item: data and ACL, and children with the parent's count."""
    return (key.full or key.partition for key in keys if (key.table, key.sort) == ("znodes", NODE))


def blob_of(node: Znode | None) -> str:
    """The key of the blob that holds the node's data, if one does."""
    return node.data.key if node and isinstance(node.data, Blob) else ""


def _name(attribute: str, names: dict[str, str]) -> str:
    """A placeholder for ``attribute``: many of our names are reserved words of DynamoDB."""
    placeholder = f"#{attribute}"
    names[placeholder] = attribute
    return placeholder


def _set_expression(
    attributes: Mapping[str, Attribute],
    names: dict[str, str],
    values: dict[str, Attribute],
    moves: Iterable[tuple[str, str]] = (),
) -> str:
    parts: list[str] = []
    for attribute, value in attributes.items():
        parts.append(f"{_name(attribute, names)} = :{attribute}")
        values[f":{attribute}"] = value
    # the set was seen in use, so it is there, unless its last gateway took itself out meanwhile
    for source, target in moves:
        parts.append(f"{target} = if_not_exists({source}, :none)")
        values[":none"] = {"NULL": True}
    return f"SET {', '.join(parts)}"
