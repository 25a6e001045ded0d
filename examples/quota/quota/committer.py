"""Lambda handler that applies commands: one transaction for each batch that the ordered queue hands over."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any
from uuid import uuid4

from faaskeeper.blocks.attributes import Item, get_number, get_string, number, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import blob_key, write_blob
from faaskeeper.blocks.committer import Committer
from faaskeeper.blocks.delivery import deliver
from faaskeeper.blocks.errors import InvalidMessage
from faaskeeper.blocks.fan_out import notify
from faaskeeper.blocks.invocation import Invocation
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.primitives.heartbeat import pulse_of
from faaskeeper.blocks.retry import repeat
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, aws, milliseconds, run
from faaskeeper.blocks.transactions import Moved, Position, read_together
from quota.parts import Quota, key, lease_key, quota, tenant_key
from quota.rules import Command, Tenant, apply

HEAD = key("head", "head")
_NOBODY = json.dumps(asdict(Tenant()))
_NOTHING = Position(0, 0)
Answer = tuple[str, int, dict[str, Any]]
"""A client, the number of its command, the outcome."""


@dataclass(frozen=True, slots=True)
class Head:
    """``answers`` are those of the last transaction, ``changed`` the tenants whose limit it changed: a redelivery sends
    both again."""

    version: int = 0
    applied: Position = _NOTHING
    answers: tuple[Answer, ...] = ()
    changed: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Item) -> Head:
        return cls(
            get_number(item, "version"),
            Position(get_number(item, "applied"), 0),
            tuple(tuple(answer) for answer in json.loads(get_string(item, "answers", "[]"))),
            tuple(json.loads(get_string(item, "changed", "[]"))),
        )

    @property
    def item(self) -> Item:
        return HEAD | {
            "version": number(self.version),
            "applied": number(self.applied.sequence_number),
            "answers": string(json.dumps(self.answers)),
            "changed": string(json.dumps(self.changed)),
        }


@dataclass(slots=True)
class Batch:
    entries: list[Command]
    answers: list[Answer] = field(default_factory=list[Answer])
    changed: set[str] = field(default_factory=set[str])
    writes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class QuotaCommands:
    """What the commands mean and how it is written (``faaskeeper.blocks.committer.StateMachine``)."""

    def __init__(self, aws: Aws, quota: Quota, notifier: str | None, metrics: Metrics) -> None:
        self._aws = aws
        self._metrics = metrics
        self._quota = quota
        self._notifier = notifier

    async def find_head(self, invocation: Invocation) -> Head | None:
        together = await read_together(self._aws, [(self._quota.table, HEAD)])
        return Head.of(together[0]) if together else None

    async def build(self, head: Head, entries: Sequence[Command]) -> Batch:
        """All of them: ten messages touch 31 items at most."""
        names = sorted(set[str]().union(*(command.tenants for command in entries)))
        leases = sorted({command.lease for command in entries if command.do == "acquire"})
        keys = [HEAD, *map(tenant_key, names), *map(lease_key, leases)]
        together = await read_together(self._aws, [(self._quota.table, each) for each in keys])
        if together is None or Head.of(together[0]).version != head.version:
            raise Moved
        states = [get_string(item, "state", _NOBODY) for item in together[1 : len(names) + 1]]
        before = dict(zip(names, states, strict=True))
        tenants = {name: Tenant(**json.loads(state)) for name, state in before.items()}
        pulses = map(pulse_of, together[len(names) + 1 :])
        living = {lease for lease, pulse in zip(leases, pulses, strict=True) if pulse is not None and pulse.alive}
        batch = Batch(list(entries))
        for command in entries:
            outcome = apply(command, tenants, alive=command.lease in living)
            if "report" in outcome:
                # claim check: it would not fit into the head, and may not into a message
                report = blob_key(self._quota, "reports", uuid4().hex)
                await write_blob(self._aws, self._quota, report, json.dumps(outcome["report"]).encode())
                outcome["report"] = report
            batch.answers.append((command.client, command.number, outcome))
        for name, tenant in tenants.items():
            state = json.dumps(asdict(tenant))
            if state != before[name]:
                item = {"TableName": self._quota.table, "Item": tenant_key(name) | {"state": string(state)}}
                batch.writes.append({"Put": item})
            if tenant.limit != json.loads(before[name])["limit"]:
                batch.changed.add(name)
        held = {lease for tenant in tenants.values() for lease in tenant.leases}
        batch.writes += [self._must_live(lease) for lease in leases if lease in held]
        return batch

    def _must_live(self, lease: str) -> dict[str, Any]:
        """Who is declared dead before the commit gets no lease; who is after it loses it by a later command."""
        return {
            "ConditionCheck": {
                "TableName": self._quota.table,
                "Key": lease_key(lease),
                "ConditionExpression": "attribute_exists(beat) AND attribute_not_exists(#state)",
                "ExpressionAttributeNames": {"#state": "state"},
            }
        }

    def refuse(self, head: Head, entry: Command) -> Batch:
        return Batch([entry], [(entry.client, entry.number, {"result": "failed"})])

    async def commit(self, invocation: Invocation, head: Head, batch: Batch) -> Head | None:
        """Moves the watermark also where nothing else changes: so each command has one outcome, whoever answers it."""
        answers, changed = tuple(batch.answers), tuple(sorted(batch.changed))
        following = Head(head.version + 1, batch.entries[-1].position, answers, changed)
        put = {
            "TableName": self._quota.table,
            "Item": following.item,
            "ConditionExpression": "version = :expected OR (attribute_not_exists(pk) AND :expected = :zero)",
            "ExpressionAttributeValues": {":expected": number(head.version), ":zero": number(0)},
        }
        if not await invocation.transact([{"Put": put}, *batch.writes]):
            return None
        self._metrics.add("Operations", len(batch.entries))
        await self._tell(answers, changed)
        return following

    async def answer_again(self, head: Head, covered: Sequence[Command]) -> None:
        again = {(command.client, command.number) for command in covered}
        await self._tell([answer for answer in head.answers if answer[:2] in again], head.changed)

    async def _tell(self, answers: Sequence[Answer], changed: Sequence[str]) -> None:
        """Answers those who asked; and, by another function if there is one, those who watch a limit that changed."""
        replies: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for client, request, outcome in answers:
            replies[client].append((request, outcome))
        await asyncio.gather(
            *(
                notify(self._aws, self._quota, json.dumps({"answers": some}), [client])
                for client, some in replies.items()
                if client
            )
        )
        for tenant in changed:
            watching = sorted(await self._quota.watchers(self._aws, tenant).read())
            if not watching:
                continue
            payload = json.dumps({"message": json.dumps({"changed": tenant}), "gateways": watching}).encode()
            await repeat(
                lambda payload=payload: self._aws.call(
                    "lambda", "invoke", FunctionName=self._notifier, InvocationType="Event", Payload=payload
                )
            )


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    seconds = context.get_remaining_time_in_millis() / 1000 - 2
    run(deliver(aws(), quota(), _committer(), decode, event["Records"], seconds))


@cache
def _committer() -> Committer[Command, Head, Batch]:
    metrics = Metrics()
    commands = QuotaCommands(aws(), quota(), os.environ["NOTIFIER_FUNCTION"], metrics)
    return Committer(aws(), milliseconds, commands, metrics)


async def decode(record: LambdaEvent, body: str) -> list[Command]:
    try:
        command = Command(Position(int(record["attributes"]["SequenceNumber"]), 0), **json.loads(body))
    except (ValueError, TypeError) as error:
        raise InvalidMessage(str(error)) from error
    if type(command.units) is not int:
        raise InvalidMessage(f"units={command.units!r} is no number of units")
    return [command]
