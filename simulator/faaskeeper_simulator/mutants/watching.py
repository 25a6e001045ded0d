"""Breaks what makes watches sure: registration in the znode's item, events, and their order in the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from faaskeeper.functions.sequencer.announcer import Announcer
from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper.storage import commit
from faaskeeper.znode.model import Event
from faaskeeper_client.gateway import observer as observers
from faaskeeper_client.gateway.lasting_watches import LastingWatches
from faaskeeper_client.gateway.observer import Observer
from faaskeeper_client.gateway.pipeline import Pipeline
from faaskeeper_client.gateway.replies import Replies
from faaskeeper_client.gateway.storage_reads import StorageReads
from faaskeeper_client.gateway.watches import Registration, Watches, WatchKind
from faaskeeper_simulator.cloud import FaultKind
from faaskeeper_simulator.harness.chaos import Chaos
from faaskeeper_simulator.mutants.registry import mutant, schedules

_SLOW = (FaultKind.DELAY, FaultKind.LATE_MESSAGE, FaultKind.SLOW_COMMIT, FaultKind.TORN, FaultKind.REORDER)


@mutant(
    "A watch set loaded empty must still be empty",
    schedules("ready", "large", kinds=(FaultKind.DELAY,), rate=5, gateways=3, clients=6),
)
def registrations_do_not_stop_a_commit() -> Iterator[None]:
    real = commit._Writer.node

    def node(self: Any, *arguments: Any, **options: Any) -> list[str]:
        watched = real(self, *arguments, **options)
        update = self.plan.actions[-1]["Update"]
        conditions = [
            part for part in update.pop("ConditionExpression", "").split(" AND ") if part and "watch_" not in part
        ]
        if conditions:
            update["ConditionExpression"] = " AND ".join(conditions)
        return watched

    with patch.object(commit._Writer, "node", node):
        yield


@mutant("A hint goes to each gateway whose set fired", schedules(timeouts=(20_000,)))
def nobody_is_hinted() -> Iterator[None]:
    async def nobody(self: Announcer, sets: Any) -> frozenset[str]:
        return frozenset()

    with patch.object(Announcer, "_watching", nobody):
        yield


@mutant("An event record is part of the transaction that fired it", schedules(kinds=_SLOW, rate=4, gateways=3))
def event_records_are_not_written() -> Iterator[None]:
    with patch.object(commit, "event_records", lambda events: []):
        yield


@mutant("An event fires an entry if it is above the zxid that the entry's client saw", schedules(kinds=_SLOW, rate=4))
def watches_fire_for_what_was_seen() -> Iterator[None]:
    real = Watches.complete

    def complete(self: Watches, registration: Registration, zxid: int) -> None:
        real(self, registration, 0)

    with patch.object(Watches, "complete", complete):
        yield


@mutant("A watch counts from before storage is asked", schedules(kinds=_SLOW, rate=4, clients=6))
def registrations_begin_when_they_end() -> Iterator[None]:
    def begin(self: Watches, kind: WatchKind, path: str, watcher: Any) -> Registration:
        return Registration(kind, path, watcher)

    with patch.object(Watches, "begin", begin):
        yield


@mutant("Events above z queue behind the reply of the read that registered them", schedules(clients=6))
def events_do_not_wait_for_the_reply() -> Iterator[None]:
    real = Watches.begin

    def begin(self: Watches, kind: WatchKind, path: str, watcher: Any) -> Registration:
        registration = real(self, kind, path, watcher)
        if kind in (WatchKind.PERSISTENT, WatchKind.RECURSIVE):
            self._add(kind, path, watcher, 0)
        return registration

    with patch.object(Watches, "begin", begin):
        yield


@mutant("complete and cursor are published after delivery", schedules(kinds=_SLOW, rate=6, gateways=3, clients=6))
def complete_is_published_too_soon() -> Iterator[None]:
    async def advance(self: Observer, zxid: int, events: Sequence[Event] | None, changes: Any) -> None:
        before, self.complete = self.complete, zxid
        self._cache.follow(zxid, changes)
        if events is None:
            events = await observers.read_events(self._aws, self._service, before, zxid) if self._watches else ()
        for event in events:
            if event.zxid > before:
                self._watches.fire(event)

    with patch.object(Observer, "_advance", advance):
        yield


@mutant("A gateway shows a zxid once its transaction is complete", schedules(kinds=_SLOW, rate=6, gateways=3))
def observe_trusts_the_head() -> Iterator[None]:
    async def confirm(*arguments: Any) -> bool:
        return True

    with patch.object(observers, "confirm_complete", confirm):
        yield


@mutant("Before a gateway gives a session anything above complete, it observes it", schedules(kinds=_SLOW, rate=6))
def observe_is_skipped() -> Iterator[None]:
    async def observe(self: Observer, zxid: int, head: Any = None) -> None:
        return

    with patch.object(Observer, "observe", observe):
        yield


@mutant("News with a base above complete leaves a gap, which the ledger fills", schedules(kinds=_SLOW, rate=6))
def news_are_taken_for_all_there_is() -> Iterator[None]:
    real = Observer.learn

    async def learn(self: Observer, news: ReplyMessage) -> None:
        await real(self, replace(news, base=min(news.base, self.complete)))

    with patch.object(Observer, "learn", learn):
        yield


@mutant("Event records are read from above the cursor", schedules(kinds=_SLOW, rate=6, gateways=3))
def the_first_event_is_skipped() -> Iterator[None]:
    real = observers.read_events

    async def read(aws: Any, service: Any, after: int, upto: int) -> list[Event]:
        return await real(aws, service, after + 1, upto)

    with patch.object(observers, "read_events", read):
        yield


@mutant("Outcomes follow the events of their transaction", schedules(clients=6))
def replies_before_events() -> Iterator[None]:
    real = Replies.handle

    async def handle(self: Replies, message: ReplyMessage) -> None:
        for number, outcome in message.outcomes:
            self.outbox.resolve(number, outcome)
        await asyncio.sleep(0.001)
        await real(self, message)

    with patch.object(Replies, "handle", handle):
        yield


@mutant(
    "A gateway that thinks it is in the set looks whether it is",
    schedules("ready", "large", kinds=_SLOW, rate=6, gateways=3, clients=6),
)
def sets_are_taken_for_granted() -> Iterator[None]:
    with patch.object(StorageReads, "_armed", lambda self, node, watch: True):
        yield


@mutant(
    "A watch used up before the setWatches that set it is answered is told first",
    schedules(kinds=_SLOW, rate=4, chaos=(Chaos.CLIENT_MOVE, Chaos.CLIENT_CUT), clients=6, gateways=3, operations=60),
    found="seeds 368 and 480",
)
def set_watches_forgets_what_came_meanwhile() -> Iterator[None]:
    with patch.object(Registration, "is_used_up", lambda self, after, upto: False):
        yield


@mutant(
    "A recursive watch counts from when the gateway is told of the subtree",
    schedules("watchers", kinds=(FaultKind.LATE_MESSAGE,), gateways=1, clients=6, rate=4),
    found="seed 561",
)
def a_second_recursive_watch_counts_too_early() -> Iterator[None]:
    real = LastingWatches._watch

    async def watch(self: LastingWatches, kind: WatchKind, path: str) -> int:
        before = (kind, path) in self.watches.armed
        async with self._one_by_one(kind, path):
            after = (kind, path) in self.watches.armed
        if kind is WatchKind.RECURSIVE and after and not before:
            return 0
        return await real(self, kind, path)

    with patch.object(LastingWatches, "_watch", watch):
        yield


@mutant(
    "Two events of a transaction that look alike are two",
    schedules("watchers", kinds=_SLOW, clients=6),
    found="seed 581",
)
def events_that_look_alike_are_one() -> Iterator[None]:
    real = Pipeline._deliver_each

    def deliver(self: Pipeline, events: Any) -> None:
        real(self, dict.fromkeys(events))

    with patch.object(Pipeline, "_deliver_each", deliver):
        yield
