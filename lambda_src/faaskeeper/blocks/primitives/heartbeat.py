"""Whether somebody still lives, found out without comparing clocks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from faaskeeper.blocks.attributes import Attribute, Item, get_number, get_string, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed
from faaskeeper.blocks.retry import repeat

DEAD = "dead"
"""The one value of ``state``, which only ``declare_dead`` writes."""

NO_BEAT = -1
MAX_TIMEOUT_MS = 3_600_000
TIMER_SLACK_MS = 50
"""A message that the queue held for less than the timeout by no more than this counts as held for all of it: SQS
counts delays in whole seconds and receptions "approximately" (ReceiveMessage, ApproximateFirstReceiveTimestamp). Who
beats must stop that much before its timeout."""

Arm = Callable[[int, int, float], Awaitable[None]]
"""Sends a delayed message with a beat and a timer number, to come due after seconds."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """``beat`` only ever grows; ``timeout`` in ms is how long it may stand still; ``timer`` numbers the one chain of
    timers that watches it. Once not ``alive``, it never is again. Who beats may write the first two of others, so they
    may be anything: what is no beat is NO_BEAT, and there is a longest timeout."""

    beat: int
    alive: bool
    timeout: int
    timer: int


class Heartbeat:
    """One that lives as long as its beat moves; in an item of its own.

    It beats by a conditional update. A delayed message carries the beat that was seen when it was sent; ``check`` looks
    whether the beat has moved since, and sends the next. The number of the last message is in the item, or about to
    come there. For how long a message was held is the queue's own account, so no two machines' clocks are compared: who
    beats counts from before it sent its last beat, and so is the first to know that its time is over.
    """

    def __init__(self, aws: Aws, table: str, key: Item) -> None:
        self._aws = aws
        self._item = {"TableName": table, "Key": dict(key)}

    async def read(self) -> Pulse | None:
        """None before the first beat, and when it is forgotten. One read unit."""
        response = await repeat(lambda: self._aws.call("dynamodb", "get_item", ConsistentRead=True, **self._item))
        return pulse_of(response.get("Item", {}))

    async def beat(self, number_: int, stand_still: int) -> Pulse | None:
        """Writes beat ``number_``, the first of which (1) makes it known, and ``stand_still``, the timeout in ms that
        then holds; None if it was declared dead. Repeating the same beat is harmless. One write unit.

        Touches no attribute but these two, so that IAM can keep who beats from all others: that it is dead shows in
        what the write returns, or, when the item is gone already, in the missing beat before.
        """
        try:
            response = await repeat(
                lambda: self._aws.call(
                    "dynamodb",
                    "update_item",
                    **self._item,
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
        pulse = pulse_of(response["Attributes"])
        return pulse if pulse is not None and pulse.alive else None

    async def check(self, beat: int, timer: int, waited: int, arm: Arm) -> Pulse | None:
        """A message came due that was sent with ``beat`` and ``timer`` and that the queue held for ``waited`` ms,
        perhaps doubled, perhaps late. If it lives, the next message is armed, else it is dead from now on, and the
        answer as ``declare_dead``'s. A read unit and a write unit.
        """
        pulse = await self.read()
        if pulse is None or not pulse.alive:
            return pulse
        if timer == pulse.timer + 1:
            # whoever armed it has not come to move the number, and may never
            await self._advance_timer(replace(pulse, timeout=0))
        elif timer != pulse.timer:
            return None  # a doubled message: the chain goes on elsewhere
        # nobody can make a timer come due before its time by sending it without a delay
        moved = pulse.beat != beat or waited + TIMER_SLACK_MS < pulse.timeout
        before = None if moved else await self.declare_dead(beat)
        if before is None:
            await self._arm_next(replace(pulse, timer=timer), arm)
        return before

    async def declare_dead(self, seen_beat: int) -> Pulse | None:
        """Marks it dead if its beat is still ``seen_beat``: its next beat tells it so. One write unit.

        The pulse as it was before, so that whoever repeats this after a crash goes on with what follows from it, and
        who was first finds it alive; None if it has beaten since, or is forgotten.
        """
        # there is no beat to wait for where there is no number
        same, seen = "attribute_exists(beat)", dict[str, Attribute]()
        if seen_beat != NO_BEAT:
            same, seen = "beat = :beat", {":beat": number(seen_beat)}
        try:
            response = await repeat(
                lambda: self._aws.call(
                    "dynamodb",
                    "update_item",
                    **self._item,
                    UpdateExpression="SET #state = :dead",
                    ConditionExpression=f"#state = :dead OR {same}",
                    ExpressionAttributeNames={"#state": "state"},
                    ExpressionAttributeValues={":dead": string(DEAD)} | seen,
                    ReturnValues="ALL_OLD",
                )
            )
        except ConditionFailed:
            return None
        return pulse_of(response["Attributes"])

    async def forget_dead(self) -> None:
        """Removes the item of one that is dead. One write unit."""
        with suppress(ConditionFailed):
            await repeat(
                lambda: self._aws.call(
                    "dynamodb",
                    "delete_item",
                    **self._item,
                    ConditionExpression="#state = :dead",
                    ExpressionAttributeNames={"#state": "state"},
                    ExpressionAttributeValues={":dead": string(DEAD)},
                )
            )

    async def _arm_next(self, pulse: Pulse, arm: Arm) -> None:
        """The next message is sent before the number moves: a crash between doubles the timer, and never loses it."""
        await arm(pulse.beat, pulse.timer + 1, pulse.timeout / 1000)
        if await self._advance_timer(pulse):
            return
        now = await self.read()
        if now is not None and now.alive and now.timer == pulse.timer and now.timeout < pulse.timeout:
            # it beats for a shorter timeout since then; the message that it sent itself may be the doubled one
            await self._arm_next(now, arm)

    async def _advance_timer(self, pulse: Pulse) -> bool:
        """Compare-and-set of the timer number to the next, if the timeout is no shorter than ``pulse``'s. False if it
        is, or a doubled message has done the same, which is as good."""
        conditions = ["attribute_exists(beat)"]
        names, values = {"#timer": "timer"}, {":next": number(pulse.timer + 1)}
        if pulse.timer:
            conditions.append("#timer = :expected")
            values[":expected"] = number(pulse.timer)
        else:
            conditions.append("attribute_not_exists(#timer)")
        if pulse.timeout:  # what is no number counts as 0
            conditions.append("NOT #timeout < :timeout")
            names["#timeout"], values[":timeout"] = "timeout", number(pulse.timeout)
        try:
            await repeat(
                lambda: self._aws.call(
                    "dynamodb",
                    "update_item",
                    **self._item,
                    UpdateExpression="SET #timer = :next",
                    ConditionExpression=" AND ".join(conditions),
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                )
            )
        except ConditionFailed:
            return False
        return True


def pulse_of(item: Item) -> Pulse | None:
    if "beat" not in item:
        return None
    return Pulse(
        _written_by_anybody(item["beat"], NO_BEAT),
        get_string(item, "state") != DEAD,
        min(MAX_TIMEOUT_MS, _written_by_anybody(item.get("timeout", {}), 0)),
        get_number(item, "timer"),
    )


def _written_by_anybody(value: Attribute, otherwise: int) -> int:
    try:
        found = int(value["N"])
    except (KeyError, ValueError):
        return otherwise
    return found if 0 <= found < 1 << 62 else otherwise
