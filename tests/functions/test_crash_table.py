"""The crash table of the design, row by row: whatever happens to an instance, nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from faaskeeper.blocks.aws import Aws, BotoAws
from faaskeeper.blocks.errors import CancellationReason, TransactionCancelled
from faaskeeper.blocks.queues import reply_queue_url
from faaskeeper.storage.znodes import WATCH_DATA, register_watch
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind
from faaskeeper.znode.operations import Delete, SetData

from .stage import (
    COMMIT,
    REPLY,
    Client,
    Dying,
    Failing,
    Gateway,
    Killed,
    Record,
    Stage,
    Stalling,
    calls,
    create,
    run,
)

SEQUENTIAL = 2
Death = Callable[["Work", Aws], Dying]


@dataclass(frozen=True, slots=True)
class Work:
    """Two messages of two gateways, and a third gateway that watches. Each request must happen once, and in order."""

    stage: Stage
    one: Client
    two: Client
    watcher: Gateway
    numbers: tuple[list[int], list[int]]
    before: int

    @classmethod
    async def prepare(cls, aws: BotoAws) -> Work:
        stage = await Stage.create(aws)
        one, two = await stage.client(), await stage.client()
        await stage.do(one, create("/a"), create("/b"), create("/c"))
        watcher = await stage.gateway()
        await register_watch(aws, stage.service, "/b", WATCH_DATA, watcher.id)
        before = (await stage.head()).zxid
        first = await stage.send(
            one.gateway,
            (one, create("/a/n-", flags=SEQUENTIAL)),
            (one, SetData("/a", b"new")),
            (one, create("/c")),
        )
        second = await stage.send(
            two.gateway,
            (two, SetData("/b", b"new")),
            (two, Delete("/c")),
            (two, create("/a/n-", flags=SEQUENTIAL)),
        )
        return cls(stage, one, two, watcher, (first, second), before)

    def reply_to(self, client: Client) -> str:
        return reply_queue_url(self.stage.service, client.gateway.id)

    async def check(self, more: int = 0) -> None:
        """``more`` transactions may have followed."""
        stage = self.stage
        first = await stage.outcomes(self.one.gateway, self.numbers[0])
        second = await stage.outcomes(self.two.gateway, self.numbers[1])
        codes = [outcome.code for outcome in (*first.values(), *second.values())]
        assert codes == [Code.OK, Code.OK, Code.NODE_EXISTS, Code.OK, Code.OK, Code.OK]
        zxids = [outcome.zxid - self.before for outcome in (*first.values(), *second.values())]
        assert zxids == [1, 2, 2, 3, 4, 5]
        paths = first[self.numbers[0][0]].path, second[self.numbers[1][2]].path
        assert paths == ("/a/n-0000000000", "/a/n-0000000001")
        assert await stage.children("/a") == ["n-0000000000", "n-0000000001"]
        a, b = await stage.node("/a"), await stage.node("/b")
        assert a is not None
        assert b is not None
        assert (a.version, a.data, a.creates) == (1, b"new", 2)
        assert (b.version, b.data) == (1, b"new")
        assert await stage.node("/c") is None
        assert (await stage.head()).zxid == self.before + 5 + more
        hint = (await stage.replies(self.watcher, 1))[0]
        assert hint.events is not None
        assert [(event.path, event.kind, event.zxid - self.before) for event in hint.events] == [
            ("/b", EventKind.DATA, 3)
        ]


def die(operation: str, *, nth: int = 1, after: bool = False) -> Death:
    return lambda work, aws: Dying(aws, calls(operation, nth=nth), after=after)


def die_at_reply_to(which: str, *, after: bool) -> Death:
    def death(work: Work, aws: Aws) -> Dying:
        gateway = work.watcher if which == "watcher" else getattr(work, which).gateway
        return Dying(aws, calls(REPLY, QueueUrl=reply_queue_url(work.stage.service, gateway.id)), after=after)

    return death


DEATHS: dict[str, Death] = {
    "before it loads": die("batch_get_item"),
    "before the commit": die(COMMIT),
    "after the commit": die(COMMIT, after=True),
    "before the first reply": die_at_reply_to("one", after=False),
    "after the first reply": die_at_reply_to("one", after=True),
    "before the second reply": die_at_reply_to("two", after=False),
    "after the second reply": die_at_reply_to("two", after=True),
    "before it reads who watches": die("batch_get_item", nth=2),
    "before the hint": die_at_reply_to("watcher", after=False),
    "after the hint": die_at_reply_to("watcher", after=True),
}


@pytest.mark.parametrize("most", [1, 10], ids=["one by one", "together"])
@pytest.mark.parametrize("death", DEATHS.values(), ids=list(DEATHS))
def test_the_sequencer_dies(aws: BotoAws, death: Death, most: int) -> None:
    """The messages come back, in whatever composition."""

    async def scenario() -> None:
        work = await Work.prepare(aws)
        records = await work.stage.receive()
        assert len(records) == 2
        with pytest.raises(Killed):
            await work.stage.sequencer(death(work, aws)).invoke(records)
        await work.stage.bring_back(records)
        await work.stage.drain(most=most)
        await work.check()

    run(scenario())


def test_it_dies_again_and_again(aws: BotoAws) -> None:
    async def scenario() -> None:
        work = await Work.prepare(aws)
        for death in DEATHS.values():
            records = await work.stage.receive()
            instance = work.stage.sequencer(death(work, aws))
            with suppress(Killed):
                await instance.invoke(records)
            await work.stage.bring_back(records)
        await work.stage.drain()
        await work.check()

    run(scenario())


def test_it_dies_when_all_is_said(aws: BotoAws) -> None:
    """And Lambda never hears of its success; other messages have come by then."""

    async def scenario() -> None:
        work = await Work.prepare(aws)
        records = await work.stage.receive()
        await work.stage.sequencer().invoke(records)
        await work.stage.bring_back(records)
        await work.stage.send(work.one.gateway, (work.one, create("/later")))
        await work.stage.drain()
        await work.check(more=1)

    run(scenario())


@pytest.mark.parametrize("took_effect", [False, True])
def test_nobody_knows_whether_the_commit_took(aws: BotoAws, took_effect: bool) -> None:
    async def scenario() -> None:
        work = await Work.prepare(aws)
        failing = Failing(aws, calls(COMMIT), after=took_effect)
        records = await work.stage.receive()
        await work.stage.sequencer(failing).invoke(records)
        assert failing.failed == 1
        await work.stage.delete(records)
        await work.check()

    run(scenario())


def test_no_answer_of_a_commit_ever_comes(aws: BotoAws) -> None:
    async def scenario() -> None:
        work = await Work.prepare(aws)
        failing = Failing(aws, lambda service, operation, parameters: operation == COMMIT, after=True)
        records = await work.stage.receive()
        await work.stage.sequencer(failing).invoke(records)
        await work.stage.delete(records)
        await work.check()

    run(scenario())


@pytest.mark.parametrize("where", ["batch_get_item", COMMIT, REPLY])
def test_a_stalled_instance_wakes_up_after_others_went_on(aws: BotoAws, where: str) -> None:
    async def scenario() -> None:
        work = await Work.prepare(aws)
        records = await work.stage.receive()
        stalling = Stalling(aws, calls(where))
        stalled = asyncio.create_task(work.stage.sequencer(stalling).invoke(records))
        await stalling.reached.wait()
        await work.stage.bring_back(records)
        await work.stage.send(work.two.gateway, (work.two, create("/later")))
        await work.stage.drain()
        await work.stage.send(work.two.gateway, (work.two, Delete("/later")))
        await work.stage.drain()
        stalling.go_on.set()
        await stalled
        await work.check(more=2)

    run(scenario())


@pytest.mark.parametrize("round", range(5))
def test_a_second_instance_runs_at_once(aws: BotoAws, round: int) -> None:
    """Both may commit; one does."""

    async def scenario() -> None:
        work = await Work.prepare(aws)
        records = await work.stage.receive()
        both = [Stalling(aws, calls(COMMIT)) for _ in range(2)]
        running = [asyncio.create_task(work.stage.sequencer(each).invoke(records)) for each in both]
        for each in both:
            await each.reached.wait()
        for each in both:
            each.go_on.set()
        await asyncio.gather(*running)
        await work.stage.delete(records)
        await work.check()

    run(scenario())


def test_an_instance_that_remembers_an_old_head(aws: BotoAws) -> None:
    """Requests that change nothing are not answered from it either."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        old = stage.sequencer()
        await stage.send(client.gateway, (client, create("/a")))
        await stage.drain(old)
        await stage.send(client.gateway, (client, create("/b")))
        await stage.drain(stage.sequencer())
        (number,) = await stage.send(client.gateway, (client, create("/b")))
        await stage.drain(old)
        outcome = (await stage.outcomes(client.gateway, [number]))[number]
        assert (outcome.code, outcome.zxid) == (Code.NODE_EXISTS, (await stage.head()).zxid - 1)
        (number,) = await stage.send(client.gateway, (client, create("/c")))
        await stage.drain(old)
        outcome = (await stage.outcomes(client.gateway, [number]))[number]
        assert (outcome.code, outcome.zxid) == (Code.OK, (await stage.head()).zxid)

    run(scenario())


COUNT = 120


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 3])
def test_death_between_the_transactions_of_one_message(aws: BotoAws, commit: int, after: bool) -> None:
    """A message of more requests than a transaction takes; the head has the outcomes of the last one only."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/q"))
        before = (await stage.head()).zxid
        numbers = await stage.send(client.gateway, *((client, create("/q/n-", flags=SEQUENTIAL)) for _ in range(COUNT)))
        records = await stage.receive()
        with pytest.raises(Killed):
            await stage.sequencer(Dying(aws, calls(COMMIT, nth=commit), after=after)).invoke(records)
        assert before < (await stage.head()).zxid < before + COUNT or (commit, after) in ((1, False), (3, True))
        await stage.bring_back(records)
        await stage.drain()
        outcomes = await stage.outcomes(client.gateway, numbers)
        assert [outcomes[number].path for number in numbers] == [f"/q/n-{index:010}" for index in range(COUNT)]
        assert [outcomes[number].zxid - before for number in numbers] == list(range(1, COUNT + 1))
        assert len(await stage.children("/q")) == COUNT

    run(scenario())


def test_an_answer_from_a_half_visible_commit(aws: BotoAws) -> None:
    """DynamoDB shows the items of a transaction one by one. An instance that wakes up in that moment sees the znode
    of its own request, which another instance is committing, and the head as it was."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        (number,) = await stage.send(client.gateway, (client, create("/a")))
        records = await stage.receive()
        stalling = Stalling(aws, calls("batch_get_item"))
        half = HalfVisible(stalling)
        woken = asyncio.create_task(stage.sequencer(half).invoke(records))
        await stalling.reached.wait()
        await half.remember(stage)
        with pytest.raises(Killed):
            await stage.sequencer(Dying(aws, calls(REPLY), after=False)).invoke(records)
        half.begin()
        stalling.go_on.set()
        await half.asked.wait()
        half.end()
        await woken
        outcome = (await stage.outcomes(client.gateway, [number]))[number]
        assert outcome.code is Code.OK
        assert await stage.outcomes_now(client.gateway) == set()

    run(scenario())


class HalfVisible:
    """The head as it was before a transaction, while all else is as after it: what DynamoDB may show until the
    transaction is complete. TransactGetItems is refused for that long."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._half = False
        self._before: dict[str, object] = {}
        self._ledger = ""
        self.asked = asyncio.Event()

    async def remember(self, stage: Stage) -> None:
        self._ledger = stage.service.ledger
        key = {"pk": {"S": "head"}, "sk": {"S": "head"}}
        self._before = await stage.aws.call("dynamodb", "get_item", TableName=self._ledger, Key=key)

    def begin(self) -> None:
        self._half = True

    def end(self) -> None:
        self._half = False

    async def call(self, service: str, operation: str, **parameters: object) -> Record:
        if self._half and operation == "get_item" and parameters["TableName"] == self._ledger:
            self.asked.set()
            return self._before
        if self._half and operation == "transact_get_items":
            self.asked.set()
            raise TransactionCancelled(operation, (CancellationReason("TransactionConflict"),))
        return await self._aws.call(service, operation, **parameters)


def test_messages_of_a_dead_instance_come_back_in_other_batches(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/n"))
        numbers: list[int] = []
        for index in range(9):
            numbers += await stage.send(client.gateway, (client, SetData("/n", str(index).encode(), index)))
        for most in (4, 2, 3, 1):
            records = await stage.receive(most)
            await stage.sequencer().invoke(records)
            await stage.bring_back(records)
        await stage.drain(most=5)
        outcomes = await stage.outcomes(client.gateway, numbers)
        assert [outcomes[number].code for number in numbers] == [Code.OK] * 9
        node = await stage.node("/n")
        assert node is not None
        assert (node.version, node.data) == (9, b"8")

    run(scenario())
