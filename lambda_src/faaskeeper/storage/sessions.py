"""The items of the sessions table: sessions, their ephemerals, and the gateways with their liveness."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faaskeeper.blocks.attributes import Attribute, Item, binary, get_number, get_string, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.primitives.heartbeat import Heartbeat, Pulse, pulse_of
from faaskeeper.blocks.query import query_all
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import (
    EPHEMERAL_PREFIX,
    GATEWAY_SESSION_PREFIX,
    gateway_key,
    gateway_partition,
    session_key,
    session_partition,
    unhex64,
)
from faaskeeper.znode.model import Session

ENDED = 0
"""The timeout of a gateway that has ended by itself, in ms: no beat follows the one that says it."""


@dataclass(frozen=True, slots=True)
class GatewayItem:
    """A gateway and its pulse; see there."""

    gateway: str
    beat: int
    alive: bool
    timeout: int
    timer: int

    @property
    def state(self) -> str:
        """``alive``, ``ended`` by itself until the reaper has seen that, or ``dead``."""
        if not self.alive:
            return "dead"
        return "ended" if self.timeout == ENDED else "alive"


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
    return _living(gateway, pulse_of(item))


def gateway_heartbeat(aws: Aws, service: Service, gateway: str) -> Heartbeat:
    """To be forgotten when no session is attached to the gateway any more."""
    return Heartbeat(aws, service.sessions, gateway_key(gateway).attributes)


async def read_gateway(aws: Aws, service: Service, gateway: str) -> GatewayItem | None:
    return _living(gateway, await gateway_heartbeat(aws, service, gateway).read())


async def beat(aws: Aws, service: Service, gateway: str, number_: int, stand_still: int) -> GatewayItem | None:
    """Beat ``number_`` of the gateway, which may stand still for that many ms; None if it was declared dead."""
    return _living(gateway, await gateway_heartbeat(aws, service, gateway).beat(number_, stand_still))


def _living(gateway: str, pulse: Pulse | None) -> GatewayItem | None:
    return pulse and GatewayItem(gateway, pulse.beat, pulse.alive, pulse.timeout, pulse.timer)


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
    found = [get_string(item, "part").removeprefix(GATEWAY_SESSION_PREFIX) for item in items]
    # whoever may write a gateway's liveness may make items of other names
    return [unhex64(part) for part in found if re.fullmatch("[0-9a-f]{16}", part)]


async def _query_prefix(aws: Aws, service: Service, partition: str, prefix: str) -> list[Item]:
    return await query_all(
        aws,
        TableName=service.sessions,
        KeyConditionExpression="id = :id AND begins_with(part, :prefix)",
        ExpressionAttributeValues={":id": string(partition), ":prefix": string(prefix)},
    )
