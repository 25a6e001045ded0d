"""What a session sees, and in which order: Z2 to Z4, where a dialogue (dialogues/) cannot say it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from faaskeeper.blocks.aws import BotoAws, Response
from faaskeeper.blocks.errors import CancellationReason, TransactionCancelled, Unavailable
from faaskeeper.storage.keys import child_key
from tests.wire.raw import multi

from .ensemble import Ensemble, Served, ensemble, eventually, run, true
from .wire import (
    ALL_CHILDREN_NUMBER,
    CHANGED,
    CREATE,
    DELETE,
    EXISTS,
    GET,
    LIST,
    MULTI,
    NO_NODE,
    NODE_EXISTS,
    OK,
    SET,
    SYNC,
    SYSTEM_ERROR,
    Reply,
    Zk,
    creation,
    int32,
    patiently,
    reading,
    setting,
    string,
)


def mute(served: Served) -> None:
    """No reply and no hint reaches the gateway from now on."""

    async def silence(operation: str, parameters: dict[str, Any]) -> None:
        if operation == "receive_message":
            await asyncio.Event().wait()

    served.tap.after = silence


class TestEvents:
    def test_a_hint_that_overtakes_the_gateway_s_own_look(self, aws: BotoAws) -> None:
        """What it set out to look for has been told meanwhile: nothing is left to be asked for."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                watcher, writer = await one.connect(), await two.connect()
                await writer.create("/x")
                await watcher.add_watch("/x", recursive=False)
                looking = asyncio.Event()

                async def before(operation: str, parameters: dict[str, Any]) -> None:
                    if operation == "transact_get_items":
                        looking.set()

                async def after(operation: str, parameters: dict[str, Any]) -> None:
                    if operation == "receive_message":
                        await looking.wait()
                    elif operation == "transact_get_items":
                        await eventually(lambda: true(one.gateway.life.observer.complete >= changed.zxid), "the hint")

                one.tap.before, one.tap.after = before, after
                changed = await writer.set("/x", b"x")
                assert (await watcher.sync()).error == OK
                await watcher.event(CHANGED, "/x")
                assert len(watcher.events) == 1

        run(scenario())

    def test_a_stream_of_events_does_not_keep_a_read_from_its_end(self, aws: BotoAws) -> None:
        """Each event raises what the session has seen while its read, which is slow, goes on."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(cache_bytes=0), await whole.gateway()
                watcher, writer = await one.connect(), await two.connect()
                await writer.create("/busy")
                await writer.create("/slow")
                await watcher.add_watch("/busy", recursive=False)

                async def slow(operation: str, parameters: dict[str, Any]) -> None:
                    if operation in ("get_item", "query") and parameters["TableName"] == whole.stage.service.znodes:
                        # until the gateway knows of one change more
                        before = one.gateway.life.observer.complete
                        await eventually(lambda: true(one.gateway.life.observer.complete > before), "another change")

                one.tap.after = slow
                stop = False

                async def write() -> None:
                    while not stop:
                        await writer.set("/busy", b"x")

                writing = asyncio.create_task(write())
                for _ in range(5):
                    assert (await watcher.get("/slow")).error == OK
                stop = True
                await writing
                zxids = [entry.zxid for entry in watcher.log]
                assert zxids == sorted(zxids)
                assert len(watcher.events) >= 5

        run(scenario())


class TestReads:
    def test_a_read_sees_the_writes_before_it(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                zk = await (await whole.gateway()).connect()
                await zk.create("/x")
                futures: list[asyncio.Future[Reply]] = []
                for number in range(50):
                    futures.append(zk.send(SET, setting("/x", str(number).encode())))
                    futures.append(zk.send(GET, reading("/x")))
                replies = [await patiently(future) for future in futures]
                assert [reply.data for reply in replies[1::2]] == [str(number).encode() for number in range(50)]
                assert [reply.stat.version for reply in replies] == [1 + index // 2 for index in range(100)]

        run(scenario())

    def test_replies_come_in_the_order_of_the_requests(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                served = await whole.gateway()
                zk, other = await served.connect(), await served.connect()
                await zk.create("/x")
                chance = random.Random(5)

                async def uneven(operation: str, parameters: dict[str, Any]) -> None:
                    if operation in ("get_item", "query", "update_item"):
                        await asyncio.sleep(chance.choice((0, 0, 0.02)))

                served.tap.after = uneven
                requests = [
                    (GET, reading("/x", watch=True)),
                    (EXISTS, reading("/none", watch=True)),
                    (LIST, reading("/", watch=True)),
                    (SYNC, string("/")),
                    (SET, setting("/x", b"1")),
                    (CREATE, creation("/x")),
                    (GET, reading("/none")),
                ]
                sent = [zk.send(*chance.choice(requests)) for _ in range(300)]
                theirs = [other.send(*chance.choice(requests)) for _ in range(100)]
                for future in (*sent, *theirs):
                    assert (await patiently(future)).error in (OK, NO_NODE, NODE_EXISTS)
                for each in (zk, other):
                    replies = [entry.xid for entry in each.log if isinstance(entry, Reply)]
                    assert replies == sorted(replies)
                    zxids = [entry.zxid for entry in each.log]
                    assert zxids == sorted(zxids)

        run(scenario())

    def test_a_write_of_another_session_that_was_answered_is_seen(self, aws: BotoAws) -> None:
        """At once through the gateway that wrote it, after a sync through every other."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                gateways = [await whole.gateway() for _ in range(3)]
                clients = [await served.connect() for served in gateways]
                await clients[0].create("/x", b"")
                for number in range(15):
                    data = str(number).encode()
                    writer = clients[number % 3]
                    assert (await writer.set("/x", data)).error == OK
                    assert (await writer.get("/x")).data == data
                    await asyncio.gather(*(client.sync("/x") for client in clients))
                    replies = await asyncio.gather(*(client.get("/x") for client in clients))
                    assert {reply.data for reply in replies} == {data}

        run(scenario())

    def test_nothing_is_shown_of_a_transaction_that_is_becoming_visible(self, aws: BotoAws) -> None:
        """While one is, TransactGetItems is refused, and the head may still be the old one."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                reader, writer = await one.connect(), await two.connect()
                await writer.create("/x")
                await reader.get("/x")
                mute(one)
                await writer.set("/x", b"1")
                refused = 0

                async def conflict(operation: str, parameters: dict[str, Any]) -> None:
                    nonlocal refused
                    if operation == "transact_get_items" and refused < 4:
                        refused += 1
                        if refused == 3:
                            raise Unavailable("dynamodb", operation, "InternalServerError")
                        raise TransactionCancelled(operation, (CancellationReason("TransactionConflict"),))

                one.tap.before = conflict
                assert (await reader.get("/x")).data == b"1"
                assert refused == 4

        run(scenario())


class TestMessages:
    def test_a_subtree_is_counted_in_one_state(self, aws: BotoAws) -> None:
        """A child moves from what was counted to what was not, or the other way, while it is counted."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(cache_bytes=0), await whole.gateway()
                reader, writer = await one.connect(), await two.connect()
                for path in ("/t", "/t/a", "/t/b", "/t/a/x"):
                    await writer.create(path)
                listed = {"/t/a": asyncio.Event(), "/t/b": asyncio.Event()}
                places = ["/t/a", "/t/b"]
                moved = False

                async def before(operation: str, parameters: dict[str, Any]) -> None:
                    nonlocal moved
                    if path_of(operation, parameters) == places[1] and not moved:
                        await listed[places[0]].wait()
                        moved = True
                        gone, made = string(f"{places[0]}/x") + int32(-1), creation(f"{places[1]}/x")
                        move = multi((DELETE, gone), (CREATE, made))
                        assert (await writer.call(MULTI, move)).error == OK

                async def after(operation: str, parameters: dict[str, Any]) -> None:
                    if path := path_of(operation, parameters):
                        listed[path].set()

                def path_of(operation: str, parameters: dict[str, Any]) -> str:
                    values = parameters["ExpressionAttributeValues"] if operation == "query" else {}
                    path = values.get(":path", {}).get("S", "")
                    return path if path in listed else ""

                one.tap.before, one.tap.after = before, after
                for _ in range(2):
                    assert (await reader.call(ALL_CHILDREN_NUMBER, string("/t"))).values.int32() == 3
                    assert moved
                    places.reverse()
                    moved = False
                    for event in listed.values():
                        event.clear()

        run(scenario())

    def test_a_count_that_cannot_be_made(self, aws: BotoAws) -> None:
        """An edge was lost behind everybody's back: rather an error than a number that is too low."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                zk = await (await whole.gateway()).connect()
                for path in ("/t", "/t/a", "/t/a/b"):
                    await zk.create(path)
                znodes, edge = whole.stage.service.znodes, child_key("/t/a/b")
                await aws.call("dynamodb", "delete_item", TableName=znodes, Key=edge.attributes)
                assert (await zk.call(ALL_CHILDREN_NUMBER, string("/t"))).error == SYSTEM_ERROR
                assert (await zk.call(LIST, reading("/t/a"))).error == SYSTEM_ERROR
                assert (await zk.create("/goes-on")).error == OK

        run(scenario())

    def test_replies_twice_and_in_any_order(self, aws: BotoAws) -> None:
        """As a standard queue may deliver them."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                chance = random.Random(3)
                late: list[dict[str, Any]] = []

                def shuffle(operation: str, response: Response) -> Response:
                    if operation != "receive_message":
                        return response
                    messages = [*response.get("Messages", []), *late]
                    late[:] = chance.sample(messages, len(messages) // 2)
                    chance.shuffle(messages)
                    return {**response, "Messages": messages}

                one.tap.answer = shuffle
                zk, other = await one.connect(), await two.connect()
                await zk.create("/x")
                for _ in range(20):
                    await zk.exists("/x", watch=True)
                    futures = [zk.send(SET, setting("/x", b"mine")), zk.send(GET, reading("/x"))]
                    await other.set("/x", b"theirs")
                    for future in futures:
                        assert (await patiently(future)).error == OK
                stat = (await zk.exists("/x")).stat
                assert stat.version == 40
                zxids = [entry.zxid for entry in zk.log]
                assert zxids == sorted(zxids)
                assert len(zk.events) == 20

        run(scenario())


async def all_of(whole: Ensemble, count: int) -> list[Zk]:
    return [await (await whole.gateway()).connect() for _ in range(count)]


def test_two_counters_lose_no_step(aws: BotoAws) -> None:
    """Compare-and-set through three gateways at once, a thousand of whose tries collide."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            clients = await all_of(whole, 3)
            await clients[0].create("/n", b"0")

            async def count(zk: Zk) -> None:
                done = 0
                while done < 15:
                    got = await zk.get("/n")
                    assert got.data is not None
                    reply = await zk.set("/n", str(int(got.data) + 1).encode(), got.stat.version)
                    done += reply.error == OK

            await asyncio.gather(*(count(zk) for zk in clients))
            reply = await clients[0].get("/n")
            assert (reply.data, reply.stat.version) == (b"45", 45)

    run(scenario())
