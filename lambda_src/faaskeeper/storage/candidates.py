"""Candidates: container and TTL znodes that will be deleted if nothing changes (ContainerManager.getCandidates). Each
has an item in the ledger, and these are in the order of the times from which the znodes may go.

A transaction after which such a znode waits only for time puts its candidate, one item more. Only the janitor takes it
out again, once it has seen at the znode itself that there is nothing to wait for. So where there are no such znodes,
there are no candidates and nothing is paid; and the janitor reads only those whose time has come.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from faaskeeper.blocks.attributes import Attribute, get_number, get_string, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import CANDIDATE, Key, candidate_key, candidate_sort
from faaskeeper.znode.containers import candidate_from, waits_only_for_time
from faaskeeper.znode.model import Znode

MAX_WAIT_MS = 86_400_000
"""After so long the janitor looks at a candidate in any case: one whose TTL znode was deleted early must not stay."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """``zxid`` is that of the transaction since which the znode has waited."""

    path: str
    key: Key
    zxid: int


def candidate_of(
    path: str, before: Znode | None, after: Znode | None, time: int
) -> tuple[Key, dict[str, Attribute]] | None:
    """The candidate (key, attributes) that a transaction at ``time`` (ms) puts, if the znode begins to wait with it."""
    if after is None or not waits_only_for_time(after):
        return None
    if before is not None and before.czxid == after.czxid and waits_only_for_time(before):
        return None
    return _key(after, path, time), {"zxid": number(after.zxid)}


async def read_candidates(
    aws: Aws, service: Service, now: int, most: int, after: Candidate | None = None
) -> list[Candidate]:
    """The first ``most`` candidates whose time is before ``now`` (ms), those after ``after``."""
    page = {} if after is None else {"ExclusiveStartKey": after.key.attributes}
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "query",
            TableName=service.ledger,
            KeyConditionExpression="pk = :candidate AND sk < :now",
            ExpressionAttributeValues={":candidate": string(CANDIDATE), ":now": string(candidate_sort(now))},
            Limit=most,
            **page,
        )
    )
    candidates: list[Candidate] = []
    for item in response["Items"]:
        sort = get_string(item, "sk")
        path = get_string(item, "full", sort.partition("#")[2])
        candidates.append(Candidate(path, Key("ledger", CANDIDATE, sort), get_number(item, "zxid")))
    return candidates


async def drop_candidate(aws: Aws, service: Service, candidate: Candidate) -> None:
    """Unless the znode has begun to wait anew."""
    try:
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "delete_item",
                TableName=service.ledger,
                Key=candidate.key.attributes,
                ConditionExpression="zxid = :zxid",
                ExpressionAttributeValues={":zxid": number(candidate.zxid)},
            )
        )
    except ConditionFailed:
        return


async def move_candidate(aws: Aws, service: Service, candidate: Candidate, node: Znode, now: int) -> None:
    """To the time when ``node``, which still waits, has to be looked at again."""
    key = _key(node, candidate.path, now)
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
    await drop_candidate(aws, service, candidate)


def _key(node: Znode, path: str, now: int) -> Key:
    return candidate_key(min(candidate_from(node), now + MAX_WAIT_MS), path)
