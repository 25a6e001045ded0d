"""Reads that are answered from memory: what they cost, what they may show, and when storage is asked instead."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.storage.keys import HEAD
from faaskeeper_client.gateway import lease
from tests.wire.raw import acl

from .ensemble import Served, ensemble, eventually, run, true
from .wire import (
    ALL_CHILDREN_NUMBER,
    AUTH,
    CHANGED,
    CHILDREN,
    EXISTS,
    GET,
    LIST,
    NO_NODE,
    OK,
    SET_ACL,
    Reply,
    Zk,
    int32,
    patiently,
    reading,
    string,
)

LARGE = 100_000
NO_AUTH = -102
AUTHENTICATION = -4
_READS = ("get_item", "query", "update_item", "get_object", "batch_get_item")


def digest(credential: str) -> str:
    """As DigestAuthenticationProvider makes it of "user:password"."""
    user, _, _ = credential.partition(":")
    return f"{user}:{base64.b64encode(hashlib.sha1(credential.encode()).digest()).decode()}"


def requests(served: Served) -> int:
    """To tables and bucket, which beats are few of."""
    return sum(served.tap.calls[operation] for operation in _READS)


async def authenticate(zk: Zk, credential: bytes) -> None:
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    zk._waiting[AUTHENTICATION] = future
    zk.write(int32(AUTHENTICATION) + int32(AUTH) + int32(0) + string("digest") + string(credential))
    assert (await patiently(future)).error == OK


async def costs_nothing(served: Served, zk: Zk, *asked: tuple[int, bytes]) -> bool:
    """Whether these reads, once made, are answered again without a request."""
    # what a look at the head has just made stale is read once more
    await zk.sync("/")
    for op, body in asked:
        await zk.call(op, body)
    before = served.gateway.life.cache.statistics.misses
    for op, body in asked:
        await zk.call(op, body)
    return served.gateway.life.cache.statistics.misses == before


def test_an_unchanged_node_costs_nothing(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/x", b"1")
            await zk.create("/large", b"x" * LARGE)
            for number in range(30):
                await zk.create(f"/x/{number}")
            asked = [
                *((op, reading(path)) for op in (GET, EXISTS, LIST) for path in ("/x", "/missing")),
                (GET, reading("/large")),
                (ALL_CHILDREN_NUMBER, string("/x")),
            ]
            assert await costs_nothing(served, zk, *asked)
            assert (await zk.get("/large")).data == b"x" * LARGE
            assert len((await zk.children("/x")).names) == 30
            assert (await zk.get("/missing")).error == NO_NODE
            assert served.gateway.life.cache.statistics.hits >= len(asked)

    run(scenario())


def test_what_was_written_here_shows_at_once(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            one, two = await served.connect(), await served.connect()
            await one.create("/x", b"0")
            for number in range(10):
                assert await costs_nothing(served, two, (GET, reading("/x")), (LIST, reading("/")))
                data = str(number).encode()
                await one.set("/x", data)
                await one.create(f"/{number}")
                assert (await two.get("/x")).data == data
                assert str(number) in (await two.children("/")).names

    run(scenario())


@pytest.mark.parametrize("frozen", ["ahead", "asleep"])
def test_a_gateway_that_was_frozen_asks_storage(aws: BotoAws, frozen: str) -> None:
    """As in a Lambda function between invocations, where either of two clocks may have stood still."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            reader, writer = await one.connect(), await two.connect()
            await writer.create("/x", b"before")
            assert await costs_nothing(one, reader, (GET, reading("/x")))
            await writer.set("/x", b"after")
            setattr(one, frozen, getattr(one, frozen) + lease.SECONDS)
            assert (await reader.get("/x")).data == b"after"

    run(scenario())


def test_what_others_wrote_shows_within_a_lease(aws: BotoAws) -> None:
    """Though the reader never asks for the present itself."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            reader, writer = await one.connect(), await two.connect()
            await writer.create("/x", b"before")

            async def shown() -> bool:
                return (await reader.get("/x")).data == b"after"

            assert not await shown()
            await writer.set("/x", b"after")
            # some for the storage of this machine
            assert await eventually(shown, "the change") < lease.SECONDS + 1

    run(scenario())


def test_a_sync_shows_the_present(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            reader, writer = await one.connect(), await two.connect()
            await writer.create("/x", b"0")
            for number in range(10):
                data = str(number).encode()
                await writer.set("/x", data)
                await reader.sync("/x")
                assert (await reader.get("/x")).data == data

    run(scenario())


def test_a_watch_set_from_memory_fires(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            watcher, later, writer = await one.connect(), await one.connect(), await two.connect()
            await writer.create("/x", b"0")
            await watcher.get("/x", watch=True)
            await watcher.children("/x", watch=True)
            before = requests(one)
            assert await costs_nothing(one, later, (GET, reading("/x", True)), (LIST, reading("/x", True)))
            assert requests(one) - before <= 2, "but for the sync"
            await writer.set("/x", b"1")
            await writer.create("/x/child")
            for zk in (watcher, later):
                await zk.event(CHANGED, "/x")
                await zk.event(CHILDREN, "/x")
            await later.get("/x", watch=True)
            await writer.set("/x", b"2")
            await later.until(lambda: len([event for event in later.events if event.kind == CHANGED]) == 2)

    run(scenario())


def test_each_caller_has_what_it_may_read(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            owner, other = await served.connect(), await served.connect()
            await owner.create("/x", b"secret")
            assert await costs_nothing(served, other, (GET, reading("/x")))
            await authenticate(owner, b"owner:secret")
            owners = acl((31, "digest", digest("owner:secret")))
            assert (await owner.call(SET_ACL, string("/x") + owners + int32(-1))).error == OK
            assert await costs_nothing(served, owner, (GET, reading("/x")))
            assert (await owner.get("/x")).data == b"secret"
            assert (await other.get("/x")).error == NO_AUTH
            assert (await other.children("/x")).error == NO_AUTH

    run(scenario())


def test_memory_is_bounded(aws: BotoAws) -> None:
    """What was not read for longest goes."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            most = 20_000
            served = await whole.gateway(cache_bytes=most)
            zk = await served.connect()
            for number in range(20):
                await zk.create(f"/{number}", b"x" * 1000)
                await zk.get(f"/{number}")
                statistics = served.gateway.life.cache.statistics
                assert statistics.bytes <= most
            assert 5 <= statistics.entries < 20
            assert await costs_nothing(served, zk, (GET, reading("/19")))
            misses = statistics.misses
            await zk.get("/0")
            assert statistics.misses == misses + 1
            await zk.create("/larger", b"x" * 2 * most)
            await zk.get("/larger")
            assert statistics.entries >= 5

    run(scenario())


def test_without_memory_everything_is_asked_for(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway(cache_bytes=0)
            zk = await served.connect()
            await zk.create("/x")
            before = requests(served)
            for _ in range(10):
                assert (await zk.get("/x")).error == OK
            assert requests(served) - before >= 10
            with pytest.raises(ValueError, match="cache_bytes=-1: at least 0"):
                await whole.gateway(cache_bytes=-1)

    run(scenario())


def test_who_reads_rarely_pays_for_the_reads_alone(aws: BotoAws) -> None:
    """The head is asked for only where that saves more than it takes."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/x")
            looks = 0

            async def count(operation: str, parameters: dict[str, Any]) -> None:
                nonlocal looks
                looks += operation == "get_item" and parameters["Key"].get("sk") == {"S": HEAD}

            served.tap.before = count
            for _ in range(5):
                served.ahead += 2 * lease.SECONDS
                before = served.tap.calls["query"]
                await zk.get("/x")
                assert served.tap.calls["query"] == before + 1
                await asyncio.sleep(0)
            assert looks == 0
            served.ahead += 2 * lease.SECONDS
            for _ in range(3):
                await zk.get("/x")
            await eventually(lambda: true(looks == 1), "a look at the head")

    run(scenario())


def test_a_gateway_that_lost_events_forgets_all(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/x")
            assert await costs_nothing(served, zk, (GET, reading("/x")))
            life = served.gateway.life
            life.observer.skip(life.observer.complete + 1)
            assert life.cache.statistics.entries == 0

    run(scenario())


def test_a_burst_is_answered_in_its_order(aws: BotoAws) -> None:
    """Of more than is answered at once, and with what memory cannot answer in it."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            for number in range(3):
                await zk.create(f"/{number}", str(number).encode())
            await zk.get("/0")
            places = [0] * 700 + [1, 0, 2, 0]
            waiting = [zk.send(GET, reading(f"/{place}")) for place in places]
            replies = [await patiently(future) for future in waiting]
            assert [reply.data for reply in replies] == [str(place).encode() for place in places]
            answered = [entry.xid for entry in zk.log if isinstance(entry, Reply)]
            assert answered == sorted(answered)

    run(scenario())
