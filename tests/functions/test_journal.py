"""Transactions above what one TransactWriteItems holds: all of it or nothing, whoever dies in between."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import pytest

import faaskeeper.functions.sequencer.batch as batching
import faaskeeper.storage.journal as journals
import faaskeeper.znode.apply as applying
from faaskeeper.blocks.attributes import item_size
from faaskeeper.blocks.aws import BotoAws
from faaskeeper.blocks.errors import CancellationReason, TransactionCancelled
from faaskeeper.storage.znode_blobs import data_key
from faaskeeper.storage.znodes import WATCH_DATA, register_watch
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL, Acl, Blob, EventKind, Permission
from faaskeeper.znode.operations import CloseSession, Create, Delete, ListChildren, Multi, SetData

from .stage import COMMIT, Client, Counting, Dying, Failing, Killed, Stage, Stalling, calls, create, run

EPHEMERAL = 1
SEQUENTIAL = 2
EPHEMERALS = 150


async def with_ephemerals(stage: Stage, count: int = EPHEMERALS) -> Client:
    client = await stage.client()
    await stage.do(client, create("/locks"))
    await stage.do(client, *(create(f"/locks/{number:04}", flags=EPHEMERAL) for number in range(count)))
    assert len(await stage.ephemerals(client)) == count
    return client


def test_closing_deletes_more_ephemerals_than_a_transaction_holds(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await with_ephemerals(stage)
        before = await stage.head()
        (outcome,) = await stage.do(client, CloseSession())
        assert outcome.code is Code.OK
        head = await stage.head()
        assert (head.zxid, head.journal) == (before.zxid + 1, "")
        assert await stage.children("/locks") == []
        assert await stage.ephemerals(client) == []
        assert await stage.session(client) is None

    run(scenario())


def test_a_session_with_more_than_an_invocation_gets_through(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ephemerals go part by part, whoever dies in between, and the session with the last of them."""

    async def scenario() -> None:
        for module in (applying, batching):
            monkeypatch.setattr(module, "MAX_CLOSED_ZNODES", 70)
        stage = await Stage.create(aws)
        client, other = await with_ephemerals(stage), await stage.client()
        before = await stage.head()
        first = await stage.send(other.gateway, (other, create("/first")))
        closing = await stage.send(client.gateway, (client, CloseSession()))
        last = await stage.send(other.gateway, (other, create("/last")))
        records = await stage.receive()
        # the other's create, then the journal of the first part, in three steps, then that of the second
        with pytest.raises(Killed):
            await stage.sequencer(Dying(aws, calls(COMMIT, nth=7), after=True)).invoke(records)
        assert await stage.session(client) is not None
        await stage.bring_back(records)
        await stage.drain()
        outcomes = await stage.outcomes(other.gateway, [*first, *last])
        outcomes |= await stage.outcomes(client.gateway, closing)
        assert [outcomes[number].zxid - before.zxid for number in (*first, *closing, *last)] == [1, 4, 5]
        assert await stage.children("/locks") == []
        assert await stage.ephemerals(client) == []
        assert await stage.session(client) is None

    run(scenario())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, 7))
def test_death_at_any_step(aws: BotoAws, step: int, after: bool) -> None:
    """Commit 1 opens the journal, the others are its steps; the session's 452 items are 5 of them."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await with_ephemerals(stage)
        before = await stage.head()
        (number,) = await stage.send(client.gateway, (client, CloseSession()))
        dying = Dying(aws, calls(COMMIT, nth=step), after=after)
        records = await stage.receive()
        with pytest.raises(Killed):
            await stage.sequencer(dying).invoke(records)
        assert (await stage.head()).zxid == before.zxid + (step == 6 and after)
        await stage.bring_back(records)
        await stage.drain()
        outcome = (await stage.outcomes(client.gateway, [number]))[number]
        assert (outcome.code, outcome.zxid) == (Code.OK, before.zxid + 1)
        assert (await stage.head()).zxid == before.zxid + 1
        assert await stage.children("/locks") == []
        assert await stage.ephemerals(client) == []

    run(scenario())


def test_lost_answers_of_all_steps(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await with_ephemerals(stage)
        before = await stage.head()
        (number,) = await stage.send(client.gateway, (client, CloseSession()))
        losing = Failing(aws, lambda service, operation, parameters: operation == COMMIT, after=True)
        await stage.drain(stage.sequencer(losing))
        assert losing.failed == 6
        assert (await stage.outcomes(client.gateway, [number]))[number].zxid == before.zxid + 1
        assert await stage.children("/locks") == []

    run(scenario())


def test_a_step_that_meets_a_registration(aws: BotoAws) -> None:
    """The outcome is larger than the head takes, so nobody else could answer."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        many = Multi(tuple(create(f"/n{number}") for number in range(300)))
        (number,) = await stage.send(client.gateway, (client, many))
        conflict = TransactionCancelled(COMMIT, (CancellationReason("None"), CancellationReason("TransactionConflict")))
        failing = Failing(aws, calls(COMMIT, nth=4), conflict)
        await stage.drain(stage.sequencer(failing))
        assert failing.failed == 1
        outcome = (await stage.outcomes(client.gateway, [number]))[number]
        assert outcome.results is not None
        assert {result.code for result in outcome.results} == {Code.OK}
        assert len(await stage.children("/")) == 301

    run(scenario())


def test_names_that_a_large_transaction_took_for_free(aws: BotoAws) -> None:
    """The counter of sequence names starts again with the parent, so its first names have tombstones."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/queue"))
        (first,) = await stage.do(client, create("/queue/n-", flags=SEQUENTIAL))
        assert first.path == "/queue/n-0000000000"
        await stage.do(client, Delete(first.path), Delete("/queue"), create("/queue"))
        many = Multi(tuple(create("/queue/n-", flags=SEQUENTIAL) for _ in range(80)))
        outcome, after = await stage.do(client, many, create("/after"))
        assert outcome.results is not None
        assert {result.code for result in outcome.results} == {Code.OK}
        assert after.code is Code.OK
        assert await stage.children("/queue") == [f"n-{number:010}" for number in range(80)]

    run(scenario())


def test_what_dynamodb_would_refuse_is_refused_whole(aws: BotoAws) -> None:
    """A path of three bytes a character makes an item that looks a third of its size."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        too_long = f"/{'長' * 150_000}"
        many = Multi((*(create(f"/n{number}") for number in range(80)), create(too_long)))
        outcome, after = await stage.do(client, many, create("/after"))
        assert outcome.code is Code.SYSTEM_ERROR
        assert after.code is Code.OK
        assert await stage.children("/") == ["after", "zookeeper"]

    run(scenario())


def test_what_would_make_an_item_too_large_together_with_what_it_holds(aws: BotoAws) -> None:
    """Else no step of the journal could be carried out any more, and nothing behind it."""

    async def scenario() -> None:
        stage = await Stage.create(aws, inline_limit=350_000, blob_limit=350_000)
        client = await stage.client()
        acl = tuple(Acl(Permission.ALL, "digest", f"{number}:{'x' * 1000}") for number in range(200))
        await stage.do(client, Create("/big", b"", (*OPEN_ACL, *acl)))
        many = Multi((*(create(f"/n{number}") for number in range(60)), SetData("/big", b"x" * 220_000)))
        outcome, after = await stage.do(client, many, create("/after"))
        assert outcome.code is Code.SYSTEM_ERROR
        assert after.code is Code.OK
        assert await stage.children("/") == ["after", "big", "zookeeper"]

    run(scenario())


def test_a_name_that_looks_like_the_digest_of_a_longer_one(aws: BotoAws) -> None:
    """Else the two would be one item: twice in a transaction, or the second child in place of the first."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        long = "n" * 1100
        digest = sha256(long.encode()).hexdigest()
        names = [long, f"%{digest}%", f"%{digest}", digest]
        many = Multi((create("/p"), *(create(f"/p/{name}") for name in names), *(create(f"/{n}") for n in range(60))))
        outcome, listing = await stage.do(client, many, ListChildren("/p"))
        assert outcome.code is Code.OK
        assert sorted(listing.names or ()) == sorted(names)

    run(scenario())


@pytest.mark.parametrize("carried_on", [False, True])
def test_a_journal_that_cannot_be_begun_is_abandoned(aws: BotoAws, carried_on: bool) -> None:
    """Whatever DynamoDB has against it, and whoever finds that out: it must not stop what is behind it."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        many = Multi(tuple(create(f"/n{number}") for number in range(150)))
        invalid = TransactionCancelled(COMMIT, (CancellationReason("None"), CancellationReason("ValidationError")))

        def first_step(service: str, operation: str, parameters: dict[str, Any]) -> bool:
            return operation == COMMIT and len(parameters["TransactItems"]) > 50

        (number,) = await stage.send(client.gateway, (client, many))
        if carried_on:
            records = await stage.receive()
            with pytest.raises(Killed):
                await stage.sequencer(Dying(aws, calls(COMMIT, nth=2), after=False)).invoke(records)
            await stage.bring_back(records)
        failing = Failing(aws, first_step, invalid)
        await stage.drain(stage.sequencer(failing))
        assert failing.failed == 1 + carried_on
        assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.SYSTEM_ERROR
        (after,) = await stage.do(client, create("/after"))
        assert after.code is Code.OK
        assert await stage.children("/") == ["after", "zookeeper"]

    run(scenario())


def test_a_journal_that_nobody_could_read_is_not_begun(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        monkeypatch.setattr(journals, "MAX_OBJECT_BYTES", 30_000)
        many = Multi(tuple(create(f"/n{number}") for number in range(150)))
        outcome, after = await stage.do(client, many, create("/after"))
        assert (outcome.code, after.code) == (Code.SYSTEM_ERROR, Code.OK)

    run(scenario())


def test_a_session_whose_ephemerals_are_many_bytes(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go part by part: the journal of all would be too large."""

    async def scenario() -> None:
        monkeypatch.setattr(applying, "_MAX_CLOSED_CHARACTERS", 500)
        monkeypatch.setattr(batching, "_MAX_LOADED_ZNODES", 40)
        stage = await Stage.create(aws)
        client, other = await with_ephemerals(stage), await stage.client()
        before = await stage.head()
        await stage.send(other.gateway, (other, create("/first")))
        (number,) = await stage.send(client.gateway, (client, CloseSession()))
        await stage.drain()
        assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.OK
        assert (await stage.head()).zxid > before.zxid + 2
        assert await stage.children("/locks") == []
        assert await stage.session(client) is None

    run(scenario())


@pytest.mark.parametrize("path", ["/" + "é" * 70_000, "/" + "名" * 90_000])
def test_an_ephemeral_with_a_long_path_goes_with_its_session(aws: BotoAws, path: str) -> None:
    """Its event is one item, as the znode is."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, watcher = await stage.client(), await stage.gateway()
        (created,) = await stage.do(client, create(path, flags=EPHEMERAL))
        assert created.code is Code.OK
        await register_watch(aws, stage.service, path, WATCH_DATA, watcher.id)
        (closed,) = await stage.do(client, CloseSession())
        assert closed.code is Code.OK
        assert [event.path for event in await stage.events() if event.kind is EventKind.DELETED] == [path]

    run(scenario())


def test_a_znode_whose_events_would_fit_nowhere_is_refused(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        (outcome,) = await stage.do(client, create("/" + '"' * 250_000, flags=EPHEMERAL))
        assert outcome.code is Code.SYSTEM_ERROR

    run(scenario())


def test_two_znodes_with_the_same_data_in_the_bucket(aws: BotoAws) -> None:
    """DynamoDB takes no two writes of one item, here the data's reference."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        blob = Blob(data_key(stage.service, client.gateway.id, 0), 50_000)
        many = Multi(tuple(create(f"/n{number}", blob) for number in range(60)))
        outcome, after = await stage.do(client, many, create("/after"))
        assert outcome.code is Code.SYSTEM_ERROR
        assert after.code is Code.OK

    run(scenario())


def test_what_is_too_large_to_be_read_at_once_is_not_written_at_once(aws: BotoAws) -> None:
    """DynamoDB reads at most 4 MB in a transaction (TransactGetItems), whatever part of it was written, and so the head
    and its keys are read by whoever has to know whether they are complete."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        acl = tuple(Acl(Permission.ALL, "digest", f"{number}:{'x' * 1000}") for number in range(250))
        for name in "abcdefghijklmnopqr":
            await stage.do(client, Create(f"/{name}", b"", (*OPEN_ACL, *acl)))
        counting = Counting(aws)
        await stage.send(client.gateway, *((client, SetData(f"/{name}", b"new")) for name in "abcdefghijklmnopqr"))
        await stage.drain(stage.sequencer(counting))
        assert counting.count("put_object") == 0  # what can be split needs no journal
        assert {(await stage.item(f"/{name}")).attributes["version"]["N"] for name in "abcdefghijklmnopqr"} == {"1"}
        head = await stage.head()
        read = await asyncio.gather(*(stage.item(key.partition) for key in head.keys if key.table == "znodes"))
        assert sum(item_size(item.attributes) for item in read) < 4_000_000

    run(scenario())


@pytest.mark.parametrize("count", [40, 60, 147])
def test_long_names_of_a_large_transaction(aws: BotoAws, count: int) -> None:
    """What the head lists of it is escaped, and so six times as long as it looks."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        name = "名" * 300
        await stage.do(client, create(f"/{name}"))
        many = Multi(tuple(create(f"/{name}/{name}{number}") for number in range(count)))
        outcome, after = await stage.do(client, many, create("/after"))
        assert outcome.results is not None
        assert outcome.code is Code.OK
        assert {result.code for result in outcome.results} == {Code.OK}
        assert after.code is Code.OK
        assert len(await stage.children(f"/{name}")) == count

    run(scenario())


def test_nobody_answers_from_the_middle(aws: BotoAws) -> None:
    """An instance that wakes up in the middle of another's journal must not judge by what is there so far."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        gateway = await stage.gateway()
        await stage.do(client, create("/many"))
        many = Multi(tuple(create(f"/many/{number}") for number in range(100)))
        (number,) = await stage.send(client.gateway, (client, many))
        records = await stage.receive()
        # the first instance has taken its message and remembers the head; before it loads, it stalls
        slow = Stalling(aws, calls("batch_get_item"))
        first = asyncio.create_task(stage.sequencer(slow).invoke(records))
        await slow.reached.wait()
        # the message comes again, to an instance that dies in the middle
        await stage.bring_back(records)
        again = await stage.receive()
        with pytest.raises(Killed):
            await stage.sequencer(Dying(aws, calls(COMMIT, nth=3), after=False)).invoke(again)
        assert (await stage.head()).journal
        slow.go_on.set()
        await first
        outcome = (await stage.outcomes(client.gateway, [number]))[number]
        assert outcome.results is not None
        assert {result.code for result in outcome.results} == {Code.OK}
        await stage.bring_back(again)
        await stage.drain()
        assert await stage.outcomes_now(client.gateway) <= {(number, outcome)}
        assert len(await stage.children("/many")) == 100
        assert gateway

    run(scenario())


def test_every_watcher_of_a_large_transaction_is_told(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await with_ephemerals(stage)
        watcher = await stage.gateway()
        await register_watch(aws, stage.service, "/locks/0042", WATCH_DATA, watcher.id)
        await stage.do(client, CloseSession())
        (hint,) = await stage.replies(watcher, 1)
        assert hint.zxid == (await stage.head()).zxid
        events = hint.events if hint.events is not None else tuple(await stage.events())
        assert "/locks/0042" in {event.path for event in events}

    run(scenario())


def test_writes_go_on_after_a_large_one(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/a"))
        many = Multi(tuple(Create(f"/a/{number}", b"x" * 2000, OPEN_ACL) for number in range(120)))
        outcomes = await stage.do(client, SetData("/a", b"1"), many, SetData("/a", b"2"))
        assert [outcome.zxid for outcome in outcomes] == sorted(outcome.zxid for outcome in outcomes)
        node = await stage.node("/a")
        assert node is not None
        assert (node.version, node.data, node.children) == (2, b"2", 120)

    run(scenario())
