"""Much at once, large, slow and wrong: nobody else is harmed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.blocks.errors import AccessDenied
from faaskeeper.blocks.queues import send_reply
from faaskeeper.protocol.messages import ReplyMessage, encode_reply
from faaskeeper.storage.sessions import read_gateway
from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Outcome
from faaskeeper_client.gateway import connection, observer
from tests.wire import raw
from tests.wire.raw import int32, string

from .ensemble import ensemble, eventually, run, true
from .wire import (
    AUTH,
    CHANGED,
    CREATE,
    DELETED,
    GET,
    MULTI,
    NO_NODE,
    OK,
    SET,
    SET_ACL,
    Reply,
    Zk,
    creation,
    patiently,
    reading,
    setting,
)

LARGE = 900_000
MARSHALLING_ERROR = -5


def test_a_thousand_watchers_of_one_znode(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            gateways = [await whole.gateway() for _ in range(2)]
            clients = await asyncio.gather(*(served.connect(lasts=40_000) for served in gateways for _ in range(500)))
            writer = clients[0]
            await writer.create("/x")
            await asyncio.gather(*(zk.get("/x", watch=True) for zk in clients))
            reply = await writer.set("/x", b"1")
            for zk in clients:
                event = await zk.event(CHANGED, "/x")
                assert event.zxid == reply.zxid
            await writer.set("/x", b"2")
            again = await asyncio.gather(*(zk.get("/x") for zk in clients))
            assert {each.data for each in again} == {b"2"}
            assert {len(zk.events) for zk in clients} == {1}
            for zk in clients:
                await zk.hang_up()

    run(scenario())


def test_large_data(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            a, b = await one.connect(), await two.connect()
            data = (bytes(range(256)) * LARGE)[:LARGE]
            assert (await a.create("/x", data)).error == OK
            reply = await b.get("/x", watch=True)
            assert reply.data == data
            assert reply.stat.length == len(data)
            for size in (0, 1, 1024, 1025, 32_768, 32_769, LARGE):
                assert (await a.set("/x", data[:size])).error == OK
                await b.sync("/x")
                reply = await b.get("/x")
                assert reply.data == data[:size]
                assert reply.stat.length == size
            assert (await a.delete("/x")).error == OK

    run(scenario())


def test_a_multi_as_large_as_a_frame(aws: BotoAws) -> None:
    """Its parts are below what goes into the bucket, and together above what a message takes."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            zk = await (await whole.gateway()).connect()
            parts = [(CREATE, creation(f"/n{number}", b"x" * 32_000)) for number in range(32)]
            assert (await zk.call(MULTI, raw.multi(*parts))).error == OK
            assert len((await zk.children("/")).names) == 33
            assert (await zk.get("/n31")).data == b"x" * 32_000

    run(scenario())


def test_many_requests_that_are_large_by_their_acls(aws: BotoAws) -> None:
    """Together they are more than the sequencer takes in a message; nothing of them is lost, and nobody else's."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk, other = await served.connect(), await served.connect()
            acl = raw.acl((31, "digest", "u:" + "x" * LARGE))
            gathered = asyncio.Event()

            async def gather(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "send_message":
                    await gathered.wait()

            served.tap.before = gather
            futures = [zk.send(SET_ACL, string("/none") + acl + int32(-1)) for _ in range(10)]
            theirs = other.send(CREATE, creation("/theirs"))
            await eventually(lambda: true(len(served.gateway.life.outbox) == 11), "all are in the outbox")
            gathered.set()
            assert [(await patiently(future)).error for future in futures] == [NO_NODE] * 10
            assert (await patiently(theirs)).error == OK

    run(scenario())


def test_a_reply_that_is_larger_than_any_request(aws: BotoAws) -> None:
    """A listing of many long names, for whoever asked; all that its gateway has besides goes on."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            listing = Outcome(Code.OK, 1, names=tuple(f"{number:03}" + "x" * 100_000 for number in range(100)))
            reply = encode_reply(ReplyMessage(1, 1, ((1, listing),)))
            await send_reply(aws, whole.stage.service, served.gateway.life.id, reply)
            await eventually(lambda: true(served.tap.calls["get_object"] > 0), "it is read")
            assert (await zk.create("/x")).error == OK

    run(scenario())


def test_a_multi_of_many(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            zk = await (await whole.gateway()).connect()
            await zk.create("/many")
            parts = [(CREATE, creation(f"/many/{number}")) for number in range(500)]
            reply = await zk.call(MULTI, raw.multi(*parts))
            assert reply.error == OK
            listed = await zk.children("/many")
            assert len(listed.names) == 500
            assert (await zk.exists("/many/499")).stat.czxid == reply.zxid

    run(scenario())


def test_deep_paths_and_names_of_any_script(aws: BotoAws) -> None:
    """The last of them has a path longer than any key of DynamoDB."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            writer, reader = await one.connect(), await two.connect()
            names = ["ünï", "日本語", "имя и пробел", "x" * 900, *(f"{level:03}" for level in range(40)), "y" * 1200]
            path = ""
            for name in names:
                path += f"/{name}"
                await writer.create(path, name.encode())
            await reader.sync()
            walked = ""
            for name in names:
                assert name in (await reader.children(walked or "/")).names
                walked += f"/{name}"
                assert (await reader.get(walked)).data == name.encode()
            await reader.get(path, watch=True)
            assert (await writer.delete(path)).error == OK
            await reader.event(DELETED, path)

    run(scenario())


def test_a_client_that_does_not_read(aws: BotoAws) -> None:
    """It is not served faster than it takes, so it costs the gateway no memory; others do not notice."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            lazy, other = await served.connect(lasts=40_000), await served.connect()
            assert (await lazy.create("/large", b"x" * LARGE)).error == OK
            await other.create("/small")
            lazy.stop_reading()
            count = 400
            futures = [lazy.send(GET, reading("/large")) for _ in range(count)]
            before = -1
            # until no more is read for it, while the other does thirty things in a row
            while before != served.tap.calls["get_object"]:
                before = served.tap.calls["get_object"]
                for _ in range(10):
                    assert (await other.set("/small", b"x")).error == OK
                    assert (await other.get("/small")).data == b"x"
            assert before < count / 2
            lazy.go_on_reading()
            for future in futures:
                reply = await patiently(future)
                assert len(reply.data or b"") == LARGE

    run(scenario())


def test_a_client_that_neither_reads_nor_speaks_expires(aws: BotoAws) -> None:
    """Replies that it does not take do not count as the gateway's slowness."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            lazy, other = await served.connect(), await served.connect()
            assert (await lazy.create("/lock", b"x" * LARGE, flags=1)).error == OK
            lazy.stop_reading()
            for _ in range(100):
                lazy.send(GET, reading("/lock"))
            open_ = list(served.gateway.connections)
            await eventually(lambda: true(not all(each.writable.is_set() for each in open_)), "the socket is full")
            await other.exists("/lock", watch=True)
            served.ahead += 11
            other.ping()
            await other.until(lambda: bool(other.events))

    run(scenario())


def test_a_connection_on_which_nothing_comes(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(connection, "_LONGEST_SILENCE", 0.1)
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            silent = await Zk.dial(served.port)
            await silent.until_hung_up()
            assert not served.gateway.connections

    run(scenario())


def test_watches_that_cannot_all_be_set_leave_none(aws: BotoAws) -> None:
    """Else events would be kept for ever for a client that is gone."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk, other = await served.connect(), await served.connect()
            paths = tuple(f"/n{number}" for number in range(60))

            async def refuse(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "update_item" and parameters["Key"].get("path") == {"S": "/n7"}:
                    raise AccessDenied("dynamodb", operation, "AccessDeniedException")

            served.tap.before = refuse
            with pytest.raises(ConnectionError):
                await zk.set_watches(0, exist=paths)
            registered = served.tap.calls["update_item"]
            for _ in range(5):
                await other.sync()
            assert served.tap.calls["update_item"] == registered
            assert not served.gateway.life.watches

    run(scenario())


def test_the_first_watch_after_a_long_time(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened while nobody watched is not read."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            idle, busy = await whole.gateway(), await whole.gateway()
            zk, other = await idle.connect(), await busy.connect()
            await other.create("/a")
            await other.add_watch("/a", recursive=False)
            for _ in range(5):
                await other.set("/a", b"x")
            read: list[str] = []

            async def note(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "query" and parameters["TableName"] == whole.stage.service.ledger:
                    read.append(parameters["ExpressionAttributeValues"][":first"]["S"])

            idle.tap.before = note
            monkeypatch.setattr(observer, "_STALE", 0)
            assert (await zk.get("/a", watch=True)).stat.version == 5
            await other.set("/a", b"y")
            await zk.until(lambda: bool(zk.events))
            assert all(int(first) > zk.events[0].zxid - 1 for first in read)

    run(scenario())


def test_slow_reads_are_in_nobody_elses_way(aws: BotoAws) -> None:
    """There are as many calls to AWS at once as there are threads. Those of the beat are always among them."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            busy = [await served.connect(lasts=40_000) for _ in range(4)]
            other = await served.connect(lasts=12_000)
            assert (await other.create("/lock", flags=1)).error == OK
            threads, stuck = asyncio.Semaphore(32), asyncio.Event()

            async def enter(operation: str, parameters: dict[str, Any]) -> None:
                if operation != "receive_message":
                    await threads.acquire()

            async def leave(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "query":
                    await stuck.wait()
                if operation != "receive_message":
                    threads.release()

            served.tap.before, served.tap.after = enter, leave
            futures = [zk.send(GET, reading("/lock")) for zk in busy for _ in range(60)]
            await eventually(lambda: true(served.tap.calls["query"] >= 20), "reads are stuck")
            item = await read_gateway(aws, whole.stage.service, served.gateway.life.id)
            assert item is not None
            seen = item.beat

            async def beats() -> bool:
                now = await read_gateway(aws, whole.stage.service, served.gateway.life.id)
                return now is not None and now.beat >= seen + 2

            await eventually(beats, "two more beats")
            assert (await other.set("/lock", b"x")).error == OK
            stuck.set()
            for future in futures:
                assert (await patiently(future)).error == OK

    run(scenario())


def frame(body: bytes) -> bytes:
    return int32(len(body)) + body


class TestNonsense:
    """What no client sends closes its own connection at most."""

    def test_what_cannot_be_answered(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                served = await whole.gateway()
                good, bad = await served.connect(), await served.connect()
                await bad.create("/lock", flags=1)
                for data in (
                    b"\xff\xff\xff\xff",
                    b"\x7f\xff\xff\xff" + b"x" * 1000,
                    frame(int32(1)),
                    frame(int32(1) + int32(987)),
                    frame(int32(1) + int32(AUTH)),
                    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                ):
                    pending = [good.send(SET, setting("/lock", b"x")) for _ in range(5)]
                    bad.write_raw(data)
                    await bad.until_closed()
                    for future in pending:
                        assert (await patiently(future)).error == OK
                    # the session lives, as with any connection that is lost
                    bad = await bad.resume(served.port)
                    assert (await bad.exists("/lock")).stat.owner == bad.session

        run(scenario())

    def test_what_is_answered_with_an_error(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                zk = await (await whole.gateway()).connect()
                for op, body in ((CREATE, b""), (GET, int32(2**31 - 1)), (GET, int32(-2)), (MULTI, b"\0")):
                    assert (await zk.call(op, body)).error == MARSHALLING_ERROR
                assert (await zk.create("/x")).error == OK

        run(scenario())

    def test_instead_of_a_handshake(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                served = await whole.gateway()
                good = await served.connect()
                for data in (b"", b"\x00", frame(b""), frame(b"hello"), b"\xff" * 64, frame(b"\xff" * 44)):
                    bad = await Zk.dial(served.port)
                    bad.write_raw(data)
                    assert (await good.set("/", b"x")).error == OK
                    await bad.hang_up()
                await eventually(lambda: true(len(served.gateway.connections) == 1), "the connections are forgotten")

        run(scenario())

    def test_a_handshake_of_a_session_that_never_was(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                served = await whole.gateway()
                for session in (1, -1, 2**63 - 1, -(2**63)):
                    with pytest.raises(ConnectionError, match="session expired"):
                        await served.connect(session=session)
                assert (await (await served.connect()).create("/x")).error == OK
                assert len(served.gateway.life.sessions) == 1

        run(scenario())

    def test_pings_in_between(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            async with ensemble(aws) as whole:
                zk = await (await whole.gateway()).connect()
                for number in range(20):
                    zk.ping()
                    assert (await zk.create(f"/n{number}")).error == OK
                await eventually(lambda: true(zk.pings == 20), "all pings are answered")

        run(scenario())

    def test_credentials_between_requests(self, aws: BotoAws) -> None:
        """Each request counts by what was known when it was sent."""

        async def scenario() -> None:
            async with ensemble(aws) as whole:
                served = await whole.gateway()
                owner, zk = await served.connect(), await served.connect()

                def auth(credential: bytes) -> bytes:
                    return int32(-4) + int32(100) + int32(0) + string("digest") + string(credential)

                owner.write(auth(b"me:secret"))
                acl = raw.acl((31, "auth", ""))
                reply = await owner.call(CREATE, string("/secret") + string(b"x") + acl + int32(0))
                assert reply.error == OK
                before = zk.send(GET, reading("/secret"))
                zk.write(auth(b"me:secret"))
                after = zk.send(GET, reading("/secret"))
                written = zk.send(SET, setting("/secret", b"y"))
                assert (await patiently(before)).error == -102
                assert (await patiently(after)).data == b"x"
                assert (await patiently(written)).error == OK
                assert [entry.xid for entry in zk.log if isinstance(entry, Reply)] == [1, -4, 2, 3]

        run(scenario())
