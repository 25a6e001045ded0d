"""Fills a new service with what tables and a bucket of another hold, such as point-in-time recovery makes them.

DynamoDB recovers each table for itself, and may recover a part of a transaction that was being made; so the tables are
read and checked first, and only what fits together is taken unless ``repair`` is asked for. All that follows from
znodes and sessions is derived anew. The head is written last, above every zxid that was seen, and for no queue: the
positions of the old one mean nothing, and the sequencer begins at the start of its own.

Sessions come along, attached to gateways that are gone. They may come back through a gateway of the new service within
their timeout; else a timer for each gateway, sent here, lets them expire with their ephemerals.

Not taken: watches (gateways set theirs anew), event records, tombstones, outcomes, the janitor's progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from faaskeeper.blocks.attributes import number, string
from faaskeeper.blocks.aws import Aws, Bounded
from faaskeeper.blocks.blobs import PREFIX, blob_key
from faaskeeper.blocks.errors import ConditionFailed, NotFound
from faaskeeper.blocks.primitives.heartbeat import DEAD
from faaskeeper.blocks.queues import send_timer
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper.storage.commit import MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ITEMS, Plan
from faaskeeper.storage.keys import gateway_key, head_key
from faaskeeper.storage.lanes import Lanes
from faaskeeper.storage.ledger import Head, Position, read_head
from faaskeeper.storage.sessions import GatewayItem
from faaskeeper.znode.model import Blob, Znode
from faaskeeper_client.administration.contents import Contents, mended, plans, problems, read_contents
from faaskeeper_client.administration.progress import Progress, untold

T = TypeVar("T")

_AT_ONCE = 16
_SECONDS = 60.0
"""For which a write is repeated: a new table throttles while it grows."""
_STANDS_STILL = 40_000
"""ms; for a gateway of which nothing is known but that sessions were attached to it."""


class InUse(Exception):
    """The service has a head already: somebody uses it, and what it holds would be mixed up."""


class Torn(Exception):
    """What was recovered does not fit together; ``problems`` has a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            f"{len(problems)} things do not fit together: recover the tables to a second in which nothing was written, "
            "or use --repair"
        )
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Restored:
    """``lost`` are the paths of znodes whose blobs are gone: they are there, with empty data."""

    zxid: int
    znodes: int
    sessions: int
    blobs: int
    problems: list[str]
    lost: list[str]


async def restore(
    aws: Aws, source: Service, target: Service, time: int, *, repair: bool = False, tell: Progress = untold
) -> Restored:
    """``source`` names tables and bucket; they are only read. ``time`` is now, in ms. Until it is done no gateway of
    ``target`` may run. After a failure it may be repeated.

    Raises InUse, Torn, IncompatibleVersion, AwsError.
    """
    if await read_head(aws, target) is not None:
        raise InUse(f"service {target.name!r} is in use: restore into one that is newly deployed")
    contents = await read_contents(aws, source, tell)
    found = problems(contents, source)
    if found and not repair:
        raise Torn(found)
    bounded = Bounded(aws, _AT_ONCE)
    nodes, copied, lost = await _copy_blobs(bounded, source, target, mended(contents), tell)
    await asyncio.gather(*(_put_gateway(bounded, target, gateway) for gateway in _gateways(contents)))
    await _counted(
        "transactions written",
        [
            repeat(
                lambda actions=actions: bounded.call("dynamodb", "transact_write_items", TransactItems=actions),
                seconds=_SECONDS,
            )
            for actions in _transactions(plans(target, nodes, contents.sessions, time))
        ],
        tell,
    )
    zxid = max(contents.zxid, contents.head.zxid if contents.head else 0) + 1
    head = Head(zxid, zxid, (), Position(0, 0), subtrees_epoch=zxid, sessions=len(contents.sessions), lanes=Lanes(zxid))
    await _put_head(aws, target, head)
    for gateway in _gateways(contents):
        timer = encode_timer(GatewayTimer(gateway.gateway, gateway.beat, gateway.timer))
        await send_timer(aws, target, timer, gateway.timeout / 1000 if gateway.alive else 0.0)
    return Restored(zxid, len(nodes), len(contents.sessions), copied, found, lost)


async def _counted(what: str, work: Sequence[Awaitable[T]], tell: Progress) -> list[T]:
    """All of it at once, and told of as it is done."""
    done = 0

    async def each(one: Awaitable[T]) -> T:
        nonlocal done
        result = await one
        done += 1
        tell(what, done, len(work))
        return result

    return await asyncio.gather(*map(each, work))


def _gateways(contents: Contents) -> list[GatewayItem]:
    missing = {session.gateway for session in contents.sessions.values()} - contents.gateways.keys()
    made = [GatewayItem(id, 1, alive=True, timeout=_STANDS_STILL, timer=0) for id in sorted(missing)]
    return [*contents.gateways.values(), *made]


def _transactions(plans: Iterable[Plan]) -> Iterator[list[dict[str, Any]]]:
    """As few as hold all. Of what a plan checks nothing matters: nobody else writes, and every gateway is dead."""
    actions: list[dict[str, Any]] = []
    size = 0
    for each in plans:
        if actions and (
            len(actions) + len(each.actions) > MAX_TRANSACTION_ITEMS or size + sum(each.sizes) > MAX_TRANSACTION_BYTES
        ):
            yield actions
            actions, size = [], 0
        actions = [*actions, *each.actions]
        size += sum(each.sizes)
    if actions:
        yield actions


async def _copy_blobs(
    aws: Aws, source: Service, target: Service, nodes: dict[str, Znode], tell: Progress
) -> tuple[dict[str, Znode], int, list[str]]:
    """The nodes with the keys that their blobs have at ``target``; how many were copied; the paths of those lost."""
    held = {path: node.data for path, node in nodes.items() if isinstance(node.data, Blob)}
    copied = await _counted("blobs copied", [_copy(aws, source, target, blob.key) for blob in held.values()], tell)
    after = dict(nodes)
    lost: list[str] = []
    for (path, blob), key in zip(held.items(), copied, strict=True):
        if key is None:
            lost.append(path)
        after[path] = replace(nodes[path], data=b"" if key is None else Blob(key, blob.length))
    return after, len(held) - len(lost), lost


async def _copy(aws: Aws, source: Service, target: Service, key: str) -> str | None:
    """The blob's key at ``target``, None if it is gone. One that was deleted since may still have a version."""
    copy = blob_key(target, *key.removeprefix(PREFIX).split("/")[1:])
    try:
        await _copy_object(aws, target, copy, {"Bucket": source.blobs, "Key": key})
        return copy
    except NotFound:
        listed = await repeat(lambda: aws.call("s3", "list_object_versions", Bucket=source.blobs, Prefix=key))
    for version in listed.get("Versions", []):
        if version["Key"] == key:
            await _copy_object(
                aws, target, copy, {"Bucket": source.blobs, "Key": key, "VersionId": version["VersionId"]}
            )
            return copy
    return None


async def _copy_object(aws: Aws, target: Service, key: str, copy_source: dict[str, str]) -> None:
    await repeat(lambda: aws.call("s3", "copy_object", Bucket=target.blobs, Key=key, CopySource=copy_source))


async def _put_gateway(aws: Aws, target: Service, gateway: GatewayItem) -> None:
    attributes = {"beat": number(gateway.beat), "timeout": number(gateway.timeout), "timer": number(gateway.timer)}
    key = gateway_key(gateway.gateway)
    item = {**key.attributes, **{name: value for name, value in attributes.items() if value != number(0)}}
    if not gateway.alive:
        item["state"] = string(DEAD)
    await repeat(lambda: aws.call("dynamodb", "put_item", TableName=target.sessions, Item=item), seconds=_SECONDS)


async def _put_head(aws: Aws, target: Service, head: Head) -> None:
    # event records of the time before are not there: the floor says so
    item = {**head_key().attributes, **head.attributes(), "floor": number(head.zxid)}
    try:
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "put_item",
                TableName=target.ledger,
                Item=item,
                ConditionExpression="attribute_not_exists(pk)",
            )
        )
    except ConditionFailed as error:
        if await read_head(aws, target) == replace(head, floor=head.zxid):
            return  # it was our own, and its answer lost
        raise InUse(f"service {target.name!r} was used while it was restored: destroy it and begin anew") from error
