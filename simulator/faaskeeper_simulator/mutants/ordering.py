"""Breaks the sequencer: the order of writes, exactly once, all or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from faaskeeper.blocks.committer import Committer
from faaskeeper.blocks.errors import AwsError, Unavailable
from faaskeeper.blocks.invocation import Invocation
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.sequencer import batch, function, sequencer
from faaskeeper.functions.sequencer.sequencer import Sequencer
from faaskeeper.storage import commit
from faaskeeper.storage.ledger import Head
from faaskeeper.storage.znodes import NodeItem
from faaskeeper_client.gateway.missed_outcomes import MissedOutcomes
from faaskeeper_simulator.cloud import FaultKind
from faaskeeper_simulator.mutants.registry import mutant, schedules

_TWO_INSTANCES = (
    FaultKind.EARLY_REDELIVERY,
    FaultKind.STALL,
    FaultKind.LOST_POLL,
    FaultKind.DELAY,
    FaultKind.SMALL_RECEIVE,
)
_DEATHS = (FaultKind.KILL_BEFORE, FaultKind.KILL_AFTER)
_LOSSES = (FaultKind.LOST_ANSWER, FaultKind.LATE_EFFECT, FaultKind.UNAVAILABLE)
_VISIBILITY = (FaultKind.TORN, FaultKind.SLOW_COMMIT)


@mutant("Two sequencers can never both commit from one state", schedules(kinds=_TWO_INSTANCES, rate=4))
def the_head_has_no_condition() -> Iterator[None]:
    real = commit.head_update

    def update(*arguments: Any, **options: Any) -> dict[str, Any]:
        made = real(*arguments, **options)
        content = made["Update"]
        if "ConditionExpression" in content and ":expected" in content["ExpressionAttributeValues"]:
            del content["ConditionExpression"]
            for unused in (":expected", ":expected_step"):
                content["ExpressionAttributeValues"].pop(unused, None)
            used = content["UpdateExpression"]
            names = content["ExpressionAttributeNames"]
            content["ExpressionAttributeNames"] = {
                name: value for name, value in names.items() if name in used.replace(",", " ").split()
            }
        return made

    with patch.object(commit, "head_update", update):
        yield


@mutant("What is at or below applied is never applied again", schedules(kinds=(*_TWO_INSTANCES, *_DEATHS), rate=4))
def the_watermark_is_ignored() -> Iterator[None]:
    real = Committer._complete_head

    async def complete_head(self: Committer[Any, Any, Any], invocation: Invocation) -> Head:
        return replace(await real(self, invocation), applied=Position(0, 0))

    with patch.object(Committer, "_complete_head", complete_head):
        yield


@mutant("The watermark counts operations, not messages", schedules("moves", kinds=(FaultKind.SMALL_RECEIVE,)))
def the_watermark_has_no_index() -> Iterator[None]:
    with patch.object(function, "Position", lambda number, index: Position(number, 0)):
        yield


@mutant("Answers follow the commit", schedules(kinds=_VISIBILITY, rate=10))
def answers_before_the_commit() -> Iterator[None]:
    real = Sequencer.commit

    async def commit_late(self: Sequencer, invocation: Invocation, head: Head, made: batch.Batch) -> Head | None:
        if made.plan is not None:
            answers = [
                (entry.gateway, entry.request.number, outcome)
                for entry, outcome in zip(made.entries, made.outcomes, strict=True)
            ]
            await self._announcer.announce(replace(head, zxid=made.zxid), head.zxid, answers, commit.Watched())
        return await real(self, invocation, head, made)

    with patch.object(Sequencer, "commit", commit_late):
        yield


@mutant(
    "A batch that changes nothing rereads the head before it answers",
    schedules(kinds=_TWO_INSTANCES, rate=4, gateways=3, clients=6, direct=True),
)
def nothing_is_answered_without_a_look() -> Iterator[None]:
    real = sequencer.confirm_complete

    async def confirm(aws: Any, service: Any, head: Head, keys: Any = None) -> bool:
        return keys == () or await real(aws, service, head, keys)

    with patch.object(sequencer, "confirm_complete", confirm):
        yield


@mutant(
    "Nobody commits before it knows the previous transaction to be complete",
    schedules(
        "moves", "registers", kinds=(FaultKind.COLD_START, FaultKind.EARLY_REDELIVERY, FaultKind.SLOW_COMMIT), rate=10
    ),
)
def a_cold_start_trusts_the_head() -> Iterator[None]:
    real = sequencer.confirm_complete

    async def confirm(aws: Any, service: Any, head: Head, keys: Any = None) -> bool:
        return keys is None or await real(aws, service, head, keys)

    with patch.object(sequencer, "confirm_complete", confirm):
        yield


@mutant(
    "A commit whose answer is lost is settled by rereading the head",
    schedules(kinds=(FaultKind.UNAVAILABLE,), rate=20, timeouts=(40_000,)),
)
def a_lost_answer_means_success() -> Iterator[None]:
    real = Invocation.transact

    async def transact(self: Invocation, items: list[dict[str, Any]]) -> bool:
        try:
            await self._aws.call("dynamodb", "transact_write_items", TransactItems=items)
        except Unavailable:
            pass
        except AwsError:
            return await real(self, items)
        return True

    with patch.object(Invocation, "transact", transact):
        yield


@mutant(
    "A redelivery sends outcomes again, and what does not come all the same is looked for",
    schedules(kinds=(FaultKind.KILL_AFTER,), rate=8, timeouts=(40_000,)),
)
def covered_requests_are_not_answered() -> Iterator[None]:
    async def nothing(self: Sequencer, head: Head, covered: Any) -> None:
        return

    async def none(self: MissedOutcomes) -> frozenset[int]:
        return frozenset()

    # either alone ends the waiting: without the first, connections end for no reason, which is legal
    with patch.object(Sequencer, "answer_again", nothing), patch.object(MissedOutcomes, "_missed", none):
        yield


@mutant("A write happens completely or not at all (Z1)", schedules("transfers", kinds=_DEATHS, rate=4))
def a_transaction_in_two_halves() -> Iterator[None]:
    real = Invocation.transact

    async def transact(self: Invocation, items: list[dict[str, Any]]) -> bool:
        half = len(items) // 2
        if half < 2 or not await real(self, items[:half]):
            return await real(self, items) if half < 2 else False
        await self._aws.call("dynamodb", "transact_write_items", TransactItems=items[half:])
        return True

    with patch.object(Invocation, "transact", transact):
        yield


@mutant(
    "The commit verifies the absence of names that were not loaded",
    schedules("sequences", clients=5, operations=10, patience=30.0),
)
def assumed_names_are_not_verified() -> Iterator[None]:
    real = commit._Writer.node

    def node(self: Any, *arguments: Any, **options: Any) -> list[str]:
        watched = real(self, *arguments, **options)
        if options["assumed_missing"]:
            del self.plan.actions[-1]["Update"]["ConditionExpression"]
        return watched

    with patch.object(commit._Writer, "node", node):
        yield


@mutant(
    "A wrong attach epoch is SESSIONMOVED",
    schedules("moves", kinds=(FaultKind.DELAY,), rate=5, gateways=3, clients=5),
)
def the_epoch_is_ignored() -> Iterator[None]:
    real = batch.admit

    def admit(*arguments: Any, attaching: bool) -> Any:
        return real(*arguments, attaching=True)

    with patch.object(batch, "admit", admit):
        yield


@mutant("Every operation proves its session's password", schedules("moves"))
def the_password_is_ignored() -> Iterator[None]:
    real = batch.admit

    def admit(state: Any, session: int, password: bytes, epoch: int, *, attaching: bool) -> Any:
        known = state.session(session)
        return real(state, session, known.password_hash if known else password, epoch, attaching=attaching)

    with patch.object(batch, "admit", admit):
        yield


@mutant(
    "What is loaded is not newer than the head it is applied to",
    schedules(
        "watchers",
        "registers",
        kinds=(FaultKind.EARLY_REDELIVERY, FaultKind.DELAY, FaultKind.SMALL_RECEIVE),
        rate=10,
        clients=6,
        operations=20,
    ),
    found="seeds 156 and 160 of the first random schedules",
)
def newer_state_is_taken_for_poison() -> Iterator[None]:
    async def refuse(self: Sequencer, invocation: Invocation, head: Head, made: batch.Batch) -> Head | None:
        if made.plan is None and all(outcome.code.name == "SYSTEM_ERROR" for outcome in made.outcomes):
            answers = [(made.entries[0].gateway, made.entries[0].request.number, made.outcomes[0])]
            await self._announcer.announce(head, head.zxid, answers, commit.Watched())
            return head
        return await real(self, invocation, head, made)

    real = Sequencer.commit
    with patch.object(Sequencer, "commit", refuse), patch.object(batch, "Moved", _Never), _blind_to_zxids():
        yield


class _Never(Exception):
    pass


def _blind_to_zxids() -> Any:
    """``build_batch`` compares the zxids of what it loaded; nobody else there asks for them."""
    loaded = batch.load

    async def load(aws: Any, service: Any, wanted: Any, into: Any) -> None:
        await loaded(aws, service, wanted, into)
        for path, item in into.items.items():
            into.items[path] = _Old(path, item.attributes)

    return patch.object(batch, "load", load)


class _Old(NodeItem):
    @property
    def zxid(self) -> int:
        return 0


@mutant(
    "A session belongs to the gateway that attached it last",
    schedules("moves", gateways=3, clients=5),
    found="seed 28 of the first random schedules",
)
def callers_are_known_by_principal() -> Iterator[None]:
    real = batch.caller_of
    known: dict[Any, Any] = {}

    def caller_of(session: int, gateway: str, credentials: Any, digest: str) -> Any:
        key = asyncio.get_running_loop(), session, credentials
        return known.setdefault(key, real(session, gateway, credentials, digest))

    with patch.object(batch, "caller_of", caller_of):
        yield


@mutant(
    "Whoever finds a journal carries it on from the step that the head names", schedules("bulk", kinds=_DEATHS, rate=4)
)
def a_journal_is_carried_on_too_far() -> Iterator[None]:
    real = Sequencer._steps

    async def steps(self: Sequencer, invocation: Invocation, journal: Any, first: int) -> Head | None:
        if first == 0:
            return await real(self, invocation, journal, first)
        last = len(journal.steps) - 1
        broken = replace(journal, steps=(*journal.steps[:first], *((journal.steps[last][0], ()),) * (last + 1 - first)))
        return await real(self, invocation, broken, first)

    with patch.object(Sequencer, "_steps", steps):
        yield
