"""The ledger's head, by which all transactions are ordered, and the records of what fired.

Only the sequencer writes the head, always with ``zxid = :expected``; a gateway reads it to learn which zxids are
complete, that is, fully visible.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from faaskeeper.blocks.attributes import Attribute, Item, binary, get_number, get_string, item_size, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AccessDenied, ConditionFailed
from faaskeeper.blocks.query import query_all
from faaskeeper.blocks.retry import repeat
from faaskeeper.blocks.transactions import Position, read_together
from faaskeeper.protocol.changes import Changes, unpack_changes
from faaskeeper.protocol.messages import pack_event, pack_outcome, unpack_event, unpack_outcome
from faaskeeper.protocol.service import DATA_VERSION, Service, check_version
from faaskeeper.storage.keys import EVENT, SUBTREE, Key, event_sort, head_key, pack_key, unpack_key
from faaskeeper.storage.lanes import Lanes, unpack_lanes
from faaskeeper.znode.model import Event
from faaskeeper.znode.operations import Outcome
from faaskeeper.znode.paths import Tops

EVENT_SECONDS = 86_400
"""For which an event record is kept at least. The janitor's floor passes it hours before."""
_EVENT_RECORD_BYTES = 300_000
_WRITE_UNIT = 1024
_BESIDE_CHANGES = 100
"""Bytes of the head's key, of ``floor``, and of the name of ``changes``, with some to spare."""


@dataclass(frozen=True, slots=True)
class Head:
    """The state of the ledger after its last transaction.

    ``zxid`` is the last one, ``base`` the one before that transaction, ``keys`` the items it wrote besides the head.
    ``applied`` is the watermark: nothing at or below is ever applied again. ``outcomes`` are those of the operations of
    the queue's last transaction, by (gateway, request number); ``call_outcomes`` those of the last direct call.
    ``floor``: event records up to it may be gone. ``subtrees_epoch`` changes with the ``Subtrees``. ``detached`` are
    the (gateway, session, epoch) whose connections that transaction cut off, ``detached_at`` is the last that cut off
    any: a gateway that has not heard of it must not show it before it knows which sessions it has left. Where it is not
    said, ``zxid`` may be. ``sessions`` is how many there are. ``queue`` names the requests queue that ``applied``
    counts in: in a service restored from a backup it is another one, and its positions start anew. ``lanes`` are the
    watermarks of direct calls. ``changes`` are those up to ``zxid``, as many as there is room for. ``journal`` and
    ``journal_step`` are there while a transaction is carried out in steps (see ``journal``).
    """

    zxid: int
    base: int
    keys: tuple[Key, ...]
    applied: Position
    outcomes: tuple[tuple[str, int, Outcome], ...] = ()
    floor: int = 0
    subtrees_epoch: int = 0
    detached: tuple[tuple[str, int, int], ...] = ()
    detached_at: int = 0
    sessions: int = 0
    queue: str = ""
    lanes: Lanes = field(default_factory=Lanes)
    call_outcomes: tuple[tuple[str, int, Outcome], ...] = ()
    changes: Changes = field(default_factory=lambda: Changes.unknown(0))
    journal: str = ""
    journal_step: int = 0

    def attributes(self) -> dict[str, Attribute]:
        """What a transaction sets: neither ``floor``, which is the janitor's, nor the journal."""
        attributes = {
            "version": number(DATA_VERSION),
            "zxid": number(self.zxid),
            "base": number(self.base),
            "keys": string(_dump([pack_key(key) for key in self.keys])),
            "applied": number(self.applied.sequence_number),
            "applied_index": number(self.applied.index),
            "outcomes": _pack_outcomes(self.outcomes),
            "call_outcomes": _pack_outcomes(self.call_outcomes),
            "subtrees_epoch": number(self.subtrees_epoch),
            "detached": string(_dump(self.detached)),
            "detached_at": number(self.detached_at),
            "sessions": number(self.sessions),
            "queue": string(self.queue),
            "lanes": binary(self.lanes.pack()),
        }
        room = -(item_size(attributes) + _BESIDE_CHANGES) % _WRITE_UNIT
        return {**attributes, "changes": binary(self.changes.at(self.zxid).pack(room))}


@dataclass(frozen=True)
class Subtrees:
    """What is said of whole subtrees: by their path, the ids of the gateways with persistent-recursive watches; and
    the paths that have a quota."""

    watching: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    quotas: Tops = field(default_factory=Tops)

    def watching_above(self, path: str) -> frozenset[str]:
        """The gateways that watch the subtree of ``path`` or of one above it."""
        return frozenset[str]().union(*(self.watching[top] for top in self._watched.over(path)))

    @cached_property
    def _watched(self) -> Tops:
        return Tops(self.watching)


def head_of(item: Item) -> Head:
    """Raises IncompatibleVersion: of the tables of another version nothing is known."""
    check_version("the ledger", "data", get_number(item, "version"), DATA_VERSION)
    zxid = get_number(item, "zxid")
    return Head(
        zxid=zxid,
        base=get_number(item, "base"),
        keys=tuple(unpack_key(packed) for packed in json.loads(get_string(item, "keys", "[]"))),
        applied=Position(get_number(item, "applied"), get_number(item, "applied_index")),
        outcomes=_outcomes_of(item, "outcomes"),
        call_outcomes=_outcomes_of(item, "call_outcomes"),
        floor=get_number(item, "floor"),
        subtrees_epoch=get_number(item, "subtrees_epoch"),
        detached=tuple((str(g), int(s), int(e)) for g, s, e in json.loads(get_string(item, "detached", "[]"))),
        detached_at=get_number(item, "detached_at", zxid),
        sessions=get_number(item, "sessions"),
        queue=get_string(item, "queue"),
        # of what a function of the version before wrote down whole nothing is known of lanes
        lanes=unpack_lanes(bytes(item["lanes"]["B"])) if "lanes" in item else Lanes(zxid),
        changes=_changes_of(item).at(zxid),
        journal=get_string(item, "journal"),
        journal_step=get_number(item, "journal_step"),
    )


def _changes_of(item: Item) -> Changes:
    try:
        return unpack_changes(bytes(item["changes"]["B"])) or Changes.unknown(0)
    except (KeyError, ValueError):
        return Changes.unknown(0)


def _pack_outcomes(outcomes: Iterable[tuple[str, int, Outcome]]) -> Attribute:
    return string(_dump([[gateway, request, *pack_outcome(outcome)] for gateway, request, outcome in outcomes]))


def _outcomes_of(item: Item, attribute: str) -> tuple[tuple[str, int, Outcome], ...]:
    return tuple(
        (str(gateway), int(request), unpack_outcome(fields))
        for gateway, request, *fields in json.loads(get_string(item, attribute, "[]"))
    )


async def read_head(aws: Aws, service: Service) -> Head | None:
    """The head by one strongly consistent GetItem; None before the first transaction. Its transaction may still
    be becoming visible."""
    response = await repeat(
        lambda: aws.call(
            "dynamodb", "get_item", TableName=service.ledger, Key=head_key().attributes, ConsistentRead=True
        )
    )
    return head_of(response["Item"]) if "Item" in response else None


async def raise_floor(aws: Aws, service: Service, zxid: int) -> None:
    """From now on event records up to ``zxid`` may go. The floor never sinks."""
    try:
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "update_item",
                TableName=service.ledger,
                Key=head_key().attributes,
                UpdateExpression="SET #floor = :zxid",
                ConditionExpression="attribute_exists(zxid) AND (attribute_not_exists(#floor) OR #floor < :zxid)",
                ExpressionAttributeNames={"#floor": "floor"},
                ExpressionAttributeValues={":zxid": number(zxid)},
            )
        )
    except ConditionFailed:
        return


async def confirm_complete(aws: Aws, service: Service, head: Head, keys: Sequence[Key] | None = None) -> bool:
    """Whether ``head`` is still the head and all that its transaction wrote is visible. ``keys``, if given, stand for
    ``head.keys``.

    Both, because all of it was had of one moment (``read_together``).
    """
    keys_read = (head_key(), *(head.keys if keys is None else keys))
    together = await read_together(aws, [(key.table_name(service), key.attributes) for key in keys_read])
    if together is None:
        return False
    now = head_of(together[0])
    return (now.zxid, now.journal, now.journal_step) == (head.zxid, head.journal, head.journal_step)


async def may_read(aws: Aws, service: Service, key: Key) -> bool:
    """Whether IAM allows it: a client of a subtree may read only some partitions of the znodes table."""
    try:
        await repeat(lambda: aws.call("dynamodb", "get_item", TableName=key.table_name(service), Key=key.attributes))
    except AccessDenied:
        return False
    return True


async def read_events(aws: Aws, service: Service, after: int, upto: int) -> list[Event]:
    """What fired in the transactions above zxid ``after`` up to ``upto``, in order. Both must be complete."""
    items = await query_all(
        aws,
        TableName=service.ledger,
        KeyConditionExpression="pk = :event AND sk BETWEEN :first AND :last",
        ExpressionAttributeValues={
            ":event": string(EVENT),
            ":first": string(event_sort(after + 1)),
            ":last": string(f"{event_sort(upto)}~"),
        },
    )
    return [unpack_event(packed) for item in items for packed in json.loads(get_string(item, "events"))]


async def read_subtrees(aws: Aws, service: Service) -> Subtrees:
    items = await query_all(
        aws,
        TableName=service.ledger,
        KeyConditionExpression="pk = :subtree",
        ExpressionAttributeValues={":subtree": string(SUBTREE)},
    )
    gateways: dict[str, set[str]] = defaultdict(set)
    quotas = Tops()
    for item in items:
        path = get_string(item, "path")
        if "gateway" in item:
            gateways[path].add(get_string(item, "gateway"))
        else:
            quotas.add(path)
    return Subtrees({path: frozenset(ids) for path, ids in gateways.items()}, quotas)


def event_records(events: Iterable[Event]) -> list[str]:
    """The events as texts that each fit into an item."""
    records: list[list[str]] = []
    size = _EVENT_RECORD_BYTES
    for event in events:
        packed = _dump(pack_event(event))
        if size + len(packed.encode()) > _EVENT_RECORD_BYTES:
            records.append([])
            size = 0
        records[-1].append(packed)
        size += len(packed.encode())
    return [f"[{','.join(record)}]" for record in records]


def _dump(value: object) -> str:
    """Escapes would make a path three times as long, and an event of one that fits into an item might not fit."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # half of a surrogate pair, as only a forged ACL holds it
        return json.dumps(value, separators=(",", ":"))
    return text
