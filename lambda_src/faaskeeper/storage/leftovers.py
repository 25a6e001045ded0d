"""What the janitor removes from the znodes table: items that stand for nothing, and watches of gateways that are
gone. Each removal is conditional, so none is in the way of whoever creates, registers or deletes at the same time."""

from __future__ import annotations

from dataclasses import dataclass

from faaskeeper.blocks.attributes import Attribute, Item, get_number, get_set, number, string, string_set
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.messages import is_gateway
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import GATEWAY, KEY_NAMES, NODE, gateway_partition
from faaskeeper.storage.sessions import GatewayItem, gateway_of
from faaskeeper.storage.znodes import FIRED, WATCH_SETS

_SETS = (*WATCH_SETS, *FIRED.values())


@dataclass(frozen=True, slots=True)
class Leftover:
    """An item of the znodes table that is no znode, or names gateways. ``sets`` are the gateways by watch set."""

    key: dict[str, Attribute]
    zxid: int
    is_znode: bool
    sets: dict[str, frozenset[str]]

    def without(self, gateways: frozenset[str]) -> Leftover:
        sets = {name: members - gateways for name, members in self.sets.items()}
        return Leftover(self.key, self.zxid, self.is_znode, sets)

    def removable(self, floor: int) -> bool:
        """Whether nothing is lost with it: its tombstone is one that nobody can be behind any more."""
        watched = any(self.sets.get(name) for name in WATCH_SETS)
        return not self.is_znode and not watched and self.zxid <= floor


async def scan_leftovers(aws: Aws, service: Service, start: Item) -> tuple[list[Leftover], Item, float]:
    """The leftovers of one page (1 MB) of the table from key ``start`` on, empty for its beginning; where the next
    begins, empty at the end; and what this one cost in read units. Eventually consistent."""
    named = " OR ".join(f"attribute_exists({name})" for name in _SETS)
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "scan",
            TableName=service.znodes,
            FilterExpression=f"part = :node AND (attribute_not_exists(czxid) OR {named})",
            ExpressionAttributeValues={":node": string(NODE)},
            ReturnConsumedCapacity="TOTAL",
            **({"ExclusiveStartKey": start} if start else {}),
        )
    )
    found = [
        Leftover(
            {name: item[name] for name in KEY_NAMES["znodes"]},
            get_number(item, "zxid"),
            "czxid" in item,
            {name: members for name in _SETS if (members := get_set(item, name) - {EVERYBODY})},
        )
        for item in response["Items"]
    ]
    return found, response.get("LastEvaluatedKey", {}), response["ConsumedCapacity"]["CapacityUnits"]


async def forget_watchers(aws: Aws, service: Service, leftover: Leftover, gateways: frozenset[str]) -> None:
    """Takes ``gateways``, which are gone, out of the item's sets."""
    concerned = {name: gone for name, members in leftover.sets.items() if (gone := members & gateways)}
    try:
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "update_item",
                TableName=service.znodes,
                Key=leftover.key,
                UpdateExpression="DELETE " + ", ".join(f"{name} :{name}" for name in concerned),
                # else an item that is gone would be made anew, and a set that has become NULL be no set
                ConditionExpression=" AND ".join(f"attribute_type({name}, :set)" for name in concerned),
                ExpressionAttributeValues={f":{name}": string_set(gone) for name, gone in concerned.items()}
                | {":set": string("SS")},
            )
        )
    except ConditionFailed:
        return  # a set has moved since: the next pass looks again


async def remove_leftover(aws: Aws, service: Service, leftover: Leftover, floor: int) -> bool:
    """Deletes a tombstone up to zxid ``floor`` or a placeholder, if it is none else by now. Whether it did."""
    unwatched = " AND ".join(f"attribute_not_exists({name})" for name in WATCH_SETS)
    try:
        await repeat(
            lambda: aws.call(
                "dynamodb",
                "delete_item",
                TableName=service.znodes,
                Key=leftover.key,
                ConditionExpression="attribute_not_exists(czxid) AND (attribute_not_exists(zxid) OR zxid <= :floor)"
                f" AND {unwatched}",
                ExpressionAttributeValues={":floor": number(floor)},
            )
        )
    except ConditionFailed:
        return False
    return True


async def scan_gateways(aws: Aws, service: Service, start: Item) -> tuple[list[GatewayItem], Item]:
    """The gateways, dead or alive, of one page of the sessions table; see ``scan_leftovers``."""
    response = await repeat(
        lambda: aws.call(
            "dynamodb",
            "scan",
            TableName=service.sessions,
            FilterExpression="part = :gateway",
            ExpressionAttributeValues={":gateway": string(GATEWAY)},
            **({"ExclusiveStartKey": start} if start else {}),
        )
    )
    prefix = gateway_partition("")
    items = {item["id"]["S"].removeprefix(prefix): item for item in response["Items"]}
    found = [gateway_of(id, item) for id, item in items.items() if is_gateway(id)]
    return [gateway for gateway in found if gateway is not None], response.get("LastEvaluatedKey", {})
