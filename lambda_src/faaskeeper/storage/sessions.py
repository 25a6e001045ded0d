"""The items of the sessions table: sessions, their ephemerals, and the gateways with their liveness."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from faaskeeper.protocol.service import Service
from faaskeeper.storage.attributes import Attribute, Item, binary, get_number, get_string, number, string
from faaskeeper.storage.aws import Aws
from faaskeeper.storage.errors import ConditionFailed
from faaskeeper.storage.keys import (
    EPHEMERAL_PREFIX,
    GATEWAY_SESSION_PREFIX,
    gateway_key,
    gateway_partition,
    session_key,
    session_partition,
    unhex64,
)
from faaskeeper.storage.query import query_all
from faaskeeper.storage.retry import repeat
from faaskeeper.znode.model import Session

DEAD = "dead"
"""The one value of a gateway's ``state``, which only the reaper writes."""


@dataclass(frozen=True, slots=True)
class GatewayItem:
    """``beat`` only ever grows; ``timeout`` in ms is how long the gateway may stand still; ``timer`` numbers
    the one chain of timers that watches it. Once not ``alive``, it never is again."""

    gateway: str
    beat: int
    alive: bool
    timeout: int
    timer: int


def session_attributes(session: Session) -> dict[str, Attribute]:
    return {
        "password_hash": binary(session.password_hash),
        "timeout": number(session.timeout),
        "gateway": string(session.gateway),
        "epoch": number(session.epoch),
    }


def session_of(item: Item) -> Session | None:
    if "password_hash" not in item:
        return None
    return Session(
        bytes(item["password_hash"]["B"]),
        get_number(item, "timeout"),
        get_string(item, "gateway"),
        get_number(item, "epoch"),
    )


def gateway_of(gateway: str, item: Item) -> GatewayItem | None:
    if "beat" not in item:
        return None
    return GatewayItem(
        gateway,
        get_number(item, "beat"),
        get_string(item, "state") != DEAD,
        get_number(item, "timeout"),
        get_number(item, "timer"),
    )


async def read_gateway(aws: Aws, service: Service, gateway: str) -> GatewayItem | None:
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "get_item",
            TableName=service.sessions,
            Key=gateway_key(gateway).attributes,
            ConsistentRead=True,
        )
    )
    return gateway_of(gateway, response.get("Item", {}))


async def beat(aws: Aws, service: Service, gateway: str, number_: int, stand_still: int) -> GatewayItem | None:
    """Writes beat ``number_``, the first of which (1) makes the gateway known; None if it was declared dead.

    ``stand_still`` is the timeout in ms that the item then carries. Repeating the same beat is harmless. Touches no
    attribute that a gateway's permissions do not cover: that it is dead shows in what the write returns, or, when the
    item is gone already, in the missing beat before.
    """
    try:
        response = await repeat(
            lambda: aws.call(
                "dynamodb",
                "update_item",
                TableName=service.sessions,
                Key=gateway_key(gateway).attributes,
                UpdateExpression="SET beat = :beat, #timeout = :timeout",
                ConditionExpression="beat BETWEEN :before AND :beat"
                + (" OR attribute_not_exists(beat)" if number_ == 1 else ""),
                ExpressionAttributeNames={"#timeout": "timeout"},
                ExpressionAttributeValues={
                    ":beat": number(number_),
                    ":before": number(1),
                    ":timeout": number(stand_still),
                },
                ReturnValues="ALL_NEW",
            )
        )
    except ConditionFailed:
        return None
    item = gateway_of(gateway, response["Attributes"])
    return item if item is not None and item.alive else None


async def declare_dead(aws: Aws, service: Service, gateway: str, seen_beat: int) -> GatewayItem | None:
    """Marks the gateway dead if its beat is still ``seen_beat``: its next beat tells it so.

    The gateway as it was before, so that whoever repeats this after a crash goes on to expire its sessions, and who
    was first finds it alive; None if it has beaten since, or is forgotten.
    """
    try:
        response = await repeat(
            lambda: aws.call(
                "dynamodb",
                "update_item",
                TableName=service.sessions,
                Key=gateway_key(gateway).attributes,
                UpdateExpression="SET #state = :dead",
                ConditionExpression="#state = :dead OR beat = :beat",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":dead": string(DEAD), ":beat": number(seen_beat)},
                ReturnValues="ALL_OLD",
            )
        )
    except ConditionFailed:
        return None
    return gateway_of(gateway, response["Attributes"])


async def advance_timer(aws: Aws, service: Service, gateway: str, expected: int) -> None:
    """Compare-and-set of the timer number from ``expected`` to the next. Losing it means that a doubled message has
    done the same, which is as good."""
    with suppress(ConditionFailed):
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "update_item",
                TableName=service.sessions,
                Key=gateway_key(gateway).attributes,
                UpdateExpression="SET #timer = :next",
                ConditionExpression="attribute_exists(beat) AND "
                + ("attribute_not_exists(#timer)" if expected == 0 else "#timer = :expected"),
                ExpressionAttributeNames={"#timer": "timer"},
                ExpressionAttributeValues={":next": number(expected + 1)}
                | ({":expected": number(expected)} if expected else {}),
            )
        )


async def forget_gateway(aws: Aws, service: Service, gateway: str) -> None:
    """Removes a dead gateway's item; to be called when no session is attached to it any more."""
    with suppress(ConditionFailed):
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "delete_item",
                TableName=service.sessions,
                Key=gateway_key(gateway).attributes,
                ConditionExpression="#state = :dead",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":dead": string(DEAD)},
            )
        )


async def read_session(aws: Aws, service: Service, session: int) -> Session | None:
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "get_item",
            TableName=service.sessions,
            Key=session_key(session).attributes,
            ConsistentRead=True,
        )
    )
    return session_of(response.get("Item", {}))


async def list_ephemerals(aws: Aws, service: Service, session: int) -> list[str]:
    """Paths of the ephemerals that the session owns."""
    items = await _query_prefix(aws, service, session_partition(session), EPHEMERAL_PREFIX)
    return [get_string(item, "full", get_string(item, "part").removeprefix(EPHEMERAL_PREFIX)) for item in items]


async def list_gateway_sessions(aws: Aws, service: Service, gateway: str) -> list[int]:
    """Ids of the sessions attached to the gateway."""
    items = await _query_prefix(aws, service, gateway_partition(gateway), GATEWAY_SESSION_PREFIX)
    return [unhex64(get_string(item, "part").removeprefix(GATEWAY_SESSION_PREFIX)) for item in items]


async def _query_prefix(aws: Aws, service: Service, partition: str, prefix: str) -> list[Item]:
    return await query_all(
        aws,
        TableName=service.sessions,
        KeyConditionExpression="id = :id AND begins_with(part, :prefix)",
        ExpressionAttributeValues={":id": string(partition), ":prefix": string(prefix)},
    )
