"""When the janitor has to look at which container and TTL znodes: markers in the ledger, in the order of their time.

A transaction after which such a znode waits only for time puts a marker, one item more. Nothing takes it out again
but the janitor, once it has seen at the znode itself that there is nothing to wait for. So there are no markers, and
nothing is paid, where there are no such znodes; and the janitor reads those only whose time has come.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from faaskeeper.blocks.attributes import Attribute, get_number, get_string, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import DUE, Key, due_key, due_sort
from faaskeeper.znode.containers import due, waits_only_for_time
from faaskeeper.znode.model import Znode

MAX_WAIT_MS = 86_400_000
"""ms after which a marker comes due at the latest: those of TTL znodes that were deleted early must not stay long."""


@dataclass(frozen=True, slots=True)
class Marker:
    """``zxid`` is that of the transaction since which the znode has waited."""

    path: str
    key: Key
    zxid: int


def marker_of(
    path: str, before: Znode | None, after: Znode | None, time: int
) -> tuple[Key, dict[str, Attribute]] | None:
    """The marker (key, attributes) that a transaction at ``time`` (ms) puts, if the znode begins to wait with it."""
    if after is None or not waits_only_for_time(after):
        return None
    if before is not None and before.czxid == after.czxid and waits_only_for_time(before):
        return None
    return _key(after, path, time), {"zxid": number(after.zxid)}


async def due_markers(aws: Aws, service: Service, now: int, most: int, after: Marker | None = None) -> list[Marker]:
    """The first ``most`` markers whose time is before ``now`` (ms), those after ``after``."""
    page = {} if after is None else {"ExclusiveStartKey": after.key.attributes}
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "query",
            TableName=service.ledger,
            KeyConditionExpression="pk = :due AND sk < :now",
            ExpressionAttributeValues={":due": string(DUE), ":now": string(due_sort(now))},
            Limit=most,
            **page,
        )
    )
    markers: list[Marker] = []
    for item in response["Items"]:
        sort = get_string(item, "sk")
        path = get_string(item, "full", sort.partition("#")[2])
        markers.append(Marker(path, Key("ledger", DUE, sort), get_number(item, "zxid")))
    return markers


async def drop_marker(aws: Aws, service: Service, marker: Marker) -> None:
    """Unless the znode has begun to wait anew."""
    try:
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "delete_item",
                TableName=service.ledger,
                Key=marker.key.attributes,
                ConditionExpression="zxid = :zxid",
                ExpressionAttributeValues={":zxid": number(marker.zxid)},
            )
        )
    except ConditionFailed:
        return


async def move_marker(aws: Aws, service: Service, marker: Marker, node: Znode, now: int) -> None:
    """To the time when ``node``, which still waits, has to be looked at again."""
    key = _key(node, marker.path, now)
    names: dict[str, dict[str, str]] = {}
    values = {":zxid": number(node.zxid)}
    update = "SET zxid = :zxid"
    if key.full is not None:
        names = {"ExpressionAttributeNames": {"#full": "full"}}
        values[":full"] = string(key.full)
        update += ", #full = :full"
    with suppress(ConditionFailed):
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "update_item",
                TableName=service.ledger,
                Key=key.attributes,
                UpdateExpression=update,
                # a transaction may have put a later one there
                ConditionExpression="attribute_not_exists(zxid) OR zxid < :zxid",
                ExpressionAttributeValues=values,
                **names,
            )
        )
    await drop_marker(aws, service, marker)


def _key(node: Znode, path: str, now: int) -> Key:
    return due_key(min(due(node), now + MAX_WAIT_MS), path)
