"""What a session sees, and in which order: Z2 to Z4 through the protocol."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws, Response
from faaskeeper.blocks.errors import CancellationReason, TransactionCancelled, Unavailable
from faaskeeper.storage.keys import child_key
from tests.wire.raw import multi

from .ensemble import Ensemble, Served, ensemble, eventually, run, true
from .wire import (
    ALL_CHILDREN_NUMBER,
    CHANGED,
    CHILDREN,
    CREATE,
    CREATED,
    DELETE,
    DELETED,
    EXISTS,
    GET,
    LIST,
    MULTI,
    NO_NODE,
    NODE_EXISTS,
    OK,
    PATIENCE,
    SET,
    SYNC,
    SYSTEM_ERROR,
    Event,
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
    def test_an_event_comes_before_what_happened_later(self, aws: BotoAws) -> None:
        """Also when nobody tells the gateway of it: it finds out by what it reads."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                watcher, writer = await one.connect(), await two.connect()
                await writer.create("/x")
                await writer.create("/p")
                assert (await watcher.get("/x", watch=True)).error == OK
                assert (await watcher.children("/p", watch=True)).names == []
                assert (await watcher.exists("/y", watch=True)).error == NO_NODE
                mute(one)
                await writer.set("/x", b"1")
                await writer.create("/y")
                await writer.create("/p/c")
                await writer.create("/last")
                assert (await watcher.exists("/last")).error == OK
                kinds = [(e.kind, e.path) if isinstance(e, Event) else e.error for e in watcher.log[-4:]]
                assert kinds == [(CHANGED, "/x"), (CREATED, "/y"), (CHILDREN, "/p"), OK]
                zxids = [entry.zxid for entry in watcher.log]
                assert zxids == sorted(zxids)

        run(scenario())

    def test_an_event_comes_before_the_reply_to_the_write_that_caused_it(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                zk = await (await whole.gateway()).connect()
                await zk.create("/x")
                for kind, op, body in (
                    (CHANGED, SET, setting("/x", b"1")),
                    (DELETED, DELETE, string("/x") + (-1).to_bytes(4, signed=True)),
                    (CREATED, CREATE, creation("/x")),
                ):
                    await zk.exists("/x", watch=True)
                    reply = await zk.call(op, body)
                    event = zk.log[-2]
                    assert isinstance(event, Event)
                    assert (event.kind, event.zxid) == (kind, reply.zxid)

        run(scenario())

    def test_a_hint_that_is_lost_only_delays(self, aws: BotoAws) -> None:
        """A third of the shortest session timeout."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                watcher, writer = await one.connect(lasts=4000), await two.connect()
                await writer.create("/x")
                await watcher.get("/x", watch=True)
                mute(one)
                await writer.set("/x", b"1")
                await watcher.event(CHANGED, "/x")

        run(scenario())

    def test_one_change_is_one_event(self, aws: BotoAws) -> None:
        """However often, and through whichever request, the client asked for it."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                watcher, writer = await one.connect(), await two.connect()
                await writer.create("/x")
                for _ in range(3):
                    await watcher.get("/x", watch=True)
                    await watcher.exists("/x", watch=True)
                await writer.set("/x", b"1")
                await watcher.event(CHANGED, "/x")
                await writer.set("/x", b"2")
                assert (await watcher.sync()).error == OK
                assert len(watcher.events) == 1
                await watcher.get("/x", watch=True)
                await watcher.children("/x", watch=True)
                await writer.delete("/x")
                await watcher.event(DELETED, "/x")
                await watcher.sync()
                assert len(watcher.events) == 2

        run(scenario())

    @pytest.mark.parametrize("held", ["update_item", "get_item", "query"])
    def test_a_change_while_a_watch_is_set(self, aws: BotoAws, held: str) -> None:
        """The client learns of every change behind the state that it is shown."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                watcher, writer = await one.connect(), await two.connect()
                # above the inline limit: the watch is set by one request, and the data read by another
                await writer.create("/x", b"0" * 2000)
                reading_, go_on = asyncio.Event(), asyncio.Event()

                async def hold(operation: str, parameters: dict[str, Any]) -> None:
                    if operation == held and parameters["TableName"] == whole.stage.service.znodes:
                        reading_.set()
                        await go_on.wait()

                one.tap.after = hold
                future = watcher.send(GET, reading("/x", watch=True))
                if held != "query":
                    await asyncio.wait_for(reading_.wait(), PATIENCE)
                await writer.set("/x", b"1" * 2000)
                go_on.set()
                reply = await patiently(future)
                assert reply.data in (b"0" * 2000, b"1" * 2000)
                assert reply.stat.length == 2000
                if reply.data == b"0" * 2000:
                    await watcher.event(CHANGED, "/x")
                await writer.set("/x", b"2" * 2000)
                await watcher.event(CHANGED, "/x")
                await watcher.sync()
                assert len(watcher.events) == 1

        run(scenario())

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
                one, two = await whole.gateway(), await whole.gateway()
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

    def test_news_of_several_watches_come_in_order(self, aws: BotoAws) -> None:
        """What happened while they were set again."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                writer = await two.connect()
                paths = [f"/n{index}" for index in range(6)]
                for path in paths:
                    await writer.create(path)
                watcher = await one.connect()
                registered, go_on = asyncio.Event(), asyncio.Event()
                left = len(paths)

                async def hold(operation: str, parameters: dict[str, Any]) -> None:
                    nonlocal left
                    if operation == "update_item" and parameters["TableName"] == whole.stage.service.znodes:
                        left -= 1
                        if left == 0:
                            registered.set()
                        await go_on.wait()

                one.tap.after = hold
                seen = (await watcher.sync()).zxid
                setting_ = asyncio.create_task(watcher.set_watches(seen, data=tuple(paths)))
                await asyncio.wait_for(registered.wait(), PATIENCE)
                for path in reversed(paths):
                    await writer.set(path, b"1")
                go_on.set()
                await setting_
                await watcher.until(lambda: len(watcher.events) == len(paths))
                assert [event.path for event in watcher.events] == paths[::-1]

        run(scenario())

    def test_subtrees_across_gateways(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                watcher, writer = await one.connect(), await two.connect()
                await writer.create("/a")
                await watcher.add_watch("/a", recursive=True)
                await watcher.add_watch("/a", recursive=False)
                await writer.create("/a/b")
                await writer.create("/a/b/c")
                await writer.set("/a/b/c", b"1")
                await writer.delete("/a/b/c")
                await writer.set("/a", b"1")
                await writer.create("/elsewhere")
                assert (await watcher.exists("/elsewhere")).error == OK
                assert [(event.kind, event.path) for event in watcher.events] == [
                    (CREATED, "/a/b"),
                    (CHILDREN, "/a"),
                    (CREATED, "/a/b/c"),
                    (CHANGED, "/a/b/c"),
                    (DELETED, "/a/b/c"),
                    (CHANGED, "/a"),
                ]

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
        """Through every gateway, without a sync: reads are linearizable."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                gateways = [await whole.gateway() for _ in range(3)]
                clients = [await served.connect() for served in gateways]
                await clients[0].create("/x", b"")
                for number in range(15):
                    data = str(number).encode()
                    assert (await clients[number % 3].set("/x", data)).error == OK
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
                one, two = await whole.gateway(), await whole.gateway()
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


class TestMoving:
    def test_nothing_older_is_seen_through_another_gateway(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                zk = await one.connect()
                await zk.create("/x")
                # the second knows nothing of what follows
                for number in range(10):
                    await zk.set("/x", str(number).encode())
                    seen = zk.log[-1].zxid
                    zk = await zk.resume((two if number % 2 == 0 else one).port)
                    reply = await zk.get("/x")
                    assert reply.data == str(number).encode()
                    assert reply.zxid >= seen

        run(scenario())

    def test_who_has_seen_the_future_is_turned_away(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                served = await whole.gateway()
                zk = await served.connect()
                await zk.create("/x")
                seen = zk.log[-1].zxid
                with pytest.raises(ConnectionError, match="closed without an answer"):
                    await zk.resume(served.port, seen=seen + 100)
                assert (await (await zk.resume(served.port, seen=seen)).exists("/x")).error == OK

        run(scenario())

    def test_the_connection_that_a_session_left_is_closed(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                first = await one.connect()
                second = await first.resume(one.port)
                await first.until_closed()
                third = await second.resume(two.port)
                await second.until_closed()
                assert (await third.create("/x")).error == OK

        run(scenario())

    def test_a_write_through_a_connection_that_the_session_left(self, aws: BotoAws) -> None:
        """The notice of that has not come yet: the write is refused, and the connection ends."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                old = await one.connect()
                notice = asyncio.Event()

                def keep_back(operation: str, response: Response) -> Response:
                    messages = response.get("Messages", [])
                    if operation == "receive_message" and messages and not notice.is_set():
                        notice.set()
                        return {**response, "Messages": []}
                    return response

                one.tap.answer = keep_back
                new = await old.resume(two.port)
                await asyncio.wait_for(notice.wait(), PATIENCE)
                assert not old.is_closed
                with pytest.raises(ConnectionError):
                    await old.create("/old")
                assert (await new.create("/new")).error == OK
                assert (await new.exists("/old")).error == NO_NODE

        run(scenario())

    def test_watches_that_fired_while_the_client_was_away(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                one, two = await whole.gateway(), await whole.gateway()
                zk, writer = await one.connect(), await two.connect()
                for path in ("/changed", "/deleted", "/same", "/parent"):
                    await writer.create(path)
                await zk.sync()
                seen = zk.log[-1].zxid
                await zk.hang_up()
                await writer.set("/changed", b"1")
                await writer.delete("/deleted")
                await writer.create("/created")
                await writer.create("/parent/child")
                back = await zk.resume(two.port)
                await back.set_watches(
                    seen,
                    data=("/changed", "/deleted", "/same"),
                    exist=("/created", "/missing"),
                    child=("/parent", "/same"),
                )
                assert isinstance(back.log[-1], Reply)
                assert {(event.kind, event.path) for event in back.events} == {
                    (CHANGED, "/changed"),
                    (DELETED, "/deleted"),
                    (CREATED, "/created"),
                    (CHILDREN, "/parent"),
                }
                await writer.set("/same", b"1")
                await back.event(CHANGED, "/same")
                await writer.create("/missing")
                await back.event(CREATED, "/missing")

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
