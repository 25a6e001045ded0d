"""Sessions between clients that vanish, gateways that come and go, and answers that are late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws, Response
from faaskeeper.blocks.errors import AccessDenied, AwsError, CancellationReason, TransactionCancelled
from faaskeeper.protocol.messages import ReplyMessage
from faaskeeper.storage.sessions import GatewayItem, list_gateway_sessions, read_gateway, read_session
from tests.wire.raw import int32, string

from .ensemble import Ensemble, Served, ensemble, eventually, run, true
from .wire import AUTH, CLOSE, CREATE, CREATED, EPHEMERAL, NO_NODE, OK, PATIENCE, Zk, creation, patiently


async def gone(whole: Ensemble, path: str) -> float:
    async def missing() -> bool:
        return await whole.stage.node(path) is None

    return await eventually(missing, f"{path} is gone")


async def attached(whole: Ensemble, session: int, epoch: int) -> None:
    async def so() -> bool:
        found = await read_session(whole.stage.aws, whole.stage.service, session)
        return found is not None and found.epoch == epoch

    await eventually(so, f"session {session:#x} is attached for the {epoch}th time")


async def two_beats_later(whole: Ensemble, served: Served) -> GatewayItem:
    async def now() -> GatewayItem:
        item = await read_gateway(whole.stage.aws, whole.stage.service, served.gateway.life.id)
        assert item is not None
        return item

    seen = (await now()).beat

    async def beaten() -> bool:
        return (await now()).beat >= seen + 2

    await eventually(beaten, "two more beats")
    return await now()


def without_detachment(operation: str, response: Response) -> Response:
    """The head as a sequencer left it that does not know the attribute."""
    response.get("Item", {}).pop("detached_at", None)
    return response


async def owner_of_a_lock(served: Served) -> Zk:
    zk = await served.connect()
    assert (await zk.create("/lock", flags=EPHEMERAL)).error == OK
    return zk


def test_a_client_that_hangs_up_while_it_comes_back(aws: BotoAws) -> None:
    """Nobody hears the answer to its handshake, but the session is attached here from then on, and must expire."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk = await owner_of_a_lock(one)
            whole.sequencing.clear()
            asked = asyncio.Event()

            async def sent(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "send_message" and parameters["QueueUrl"] == whole.stage.service.requests:
                    asked.set()

            two.tap.after = sent
            coming = await Zk.dial(two.port)
            resumed = asyncio.create_task(coming.shake_hands(session=zk.session, password=zk.password))
            await asyncio.wait_for(asked.wait(), PATIENCE)
            resumed.cancel()
            await asyncio.gather(resumed, return_exceptions=True)
            await coming.hang_up()
            await zk.hang_up()
            whole.sequencing.set()

            await attached(whole, zk.session, epoch=2)
            await eventually(lambda: true(len(two.gateway.life.sessions) == 1), "the gateway knows")
            two.ahead += 60
            await gone(whole, "/lock")

    run(scenario())


def test_a_client_that_hangs_up_before_it_is_asked_for(aws: BotoAws) -> None:
    """A request to attach that has not left is taken back: late, it would take the session from where it lives."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk, writer = await one.connect(), await two.connect()
            holding, leaving = asyncio.Event(), asyncio.Event()

            async def hold(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "send_message" and parameters["QueueUrl"] == whole.stage.service.requests:
                    holding.set()
                    await leaving.wait()

            two.tap.before = hold
            writing = asyncio.create_task(writer.create("/held"))
            await asyncio.wait_for(holding.wait(), PATIENCE)
            coming = await Zk.dial(two.port)
            resumed = asyncio.create_task(coming.shake_hands(session=zk.session, password=zk.password))
            await eventually(lambda: true(len(two.gateway.life.outbox) == 2), "the handshake waits behind the write")
            resumed.cancel()
            await asyncio.gather(resumed, return_exceptions=True)
            await coming.hang_up()
            await eventually(lambda: true(len(two.gateway.life.outbox) == 1), "it is taken back")
            leaving.set()
            assert (await writing).error == OK
            assert (await writer.create("/behind")).error == OK
            await attached(whole, zk.session, epoch=1)
            assert (await zk.create("/still-here")).error == OK

    run(scenario())


def test_an_expiry_that_is_refused_is_asked_for_again(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await owner_of_a_lock(served)
            refused = asyncio.Event()

            async def refuse(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "transact_write_items" and not refused.is_set():
                    refused.set()
                    raise TransactionCancelled(operation, (CancellationReason("ValidationError"),))

            whole.tap.before = refuse
            await zk.hang_up()
            served.ahead += 60
            await asyncio.wait_for(refused.wait(), PATIENCE)
            await eventually(lambda: true(not any(each.expiring for each in served.gateway.life.sessions)), "it failed")
            served.ahead += 60
            await gone(whole, "/lock")

    run(scenario())


def test_a_request_that_is_lost_takes_those_behind_it_along(aws: BotoAws) -> None:
    """What a session sent on one connection is applied up to some request and not beyond."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk, other = await served.connect(), await served.connect()
            sending, fail = asyncio.Event(), asyncio.Event()

            async def hold(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "send_message" and not sending.is_set():
                    sending.set()
                    await fail.wait()
                    raise AwsError("sqs", "send_message", "Broken")

            served.tap.before = hold
            first = zk.send(CREATE, creation("/first"))
            await sending.wait()
            second = zk.send(CREATE, creation("/second"))
            third = other.send(CREATE, creation("/third"))
            await eventually(lambda: true(len(served.gateway.life.outbox) == 3), "all three wait")
            fail.set()
            for future in (first, second):
                (result,) = await asyncio.gather(future, return_exceptions=True)
                assert isinstance(result, ConnectionError)
            assert (await third).error == OK
            # nothing of it is on its way either
            again = await zk.resume(served.port)
            assert (await again.children("/")).names == ["third", "zookeeper"]

    run(scenario())


def test_a_failing_read_of_events_delays_replies_and_loses_none(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk, writer = await one.connect(), await two.connect()
            await zk.create("/watched")
            await zk.get("/watched", watch=True)
            # what this gateway does not hear of, it has to read from the ledger
            for number in range(3):
                await writer.create(f"/elsewhere{number}")
            failures = 0

            async def fail(operation: str, parameters: dict[str, Any]) -> None:
                nonlocal failures
                if operation == "query" and parameters["TableName"] == whole.stage.service.ledger and failures < 2:
                    failures += 1
                    raise AccessDenied("dynamodb", operation, "ExpiredToken")

            one.tap.before = fail
            assert (await zk.create("/mine")).error == OK
            assert failures == 2

    run(scenario())


@pytest.mark.parametrize("says_when", [True, False])
def test_a_session_that_has_left_is_shown_nothing_from_after_that(aws: BotoAws, says_when: bool) -> None:
    """Nor told that it lives, though the notice is late: the ledger says when a session last left some gateway. If
    it does not, as an older sequencer wrote it, one may just have."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk, other = await one.connect(), await one.connect()
            await zk.create("/before")

            one.tap.deafen()
            if not says_when:
                one.tap.answer = without_detachment
            there = await zk.resume(two.port)
            await there.create("/after")
            assert (await other.exists("/after")).error == OK
            with pytest.raises(ConnectionError):
                await zk.exists("/before")
            assert [session.id for session in one.gateway.life.sessions] == [other.session]

    run(scenario())


def test_a_session_that_left_before_its_attachment_was_told(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            other = await one.connect()
            zk = await two.connect()
            await zk.create("/before")
            listening = one.tap.deafen()
            coming = asyncio.create_task(zk.resume(one.port))

            await attached(whole, zk.session, epoch=2)
            back = await zk.resume(two.port)
            await back.create("/after")
            assert (await other.exists("/after")).error == OK
            listening.set()
            with pytest.raises(ConnectionError):
                await coming
            assert (await back.exists("/after")).error == OK

    run(scenario())


def test_a_session_that_joins_while_it_is_looked_for_who_has_left(aws: BotoAws) -> None:
    """Its attachment is told when the gateway has listed its sessions, and not yet shown what it listed them for."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            other, zk = await one.connect(), await two.connect()
            await other.exists("/watched", watch=True)
            listening, reading, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

            async def late(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "receive_message":
                    await listening.wait()
                if operation == "query" and parameters["TableName"] == whole.stage.service.ledger and left:
                    reading.set()
                    await go_on.wait()

            left = False
            one.tap.after = late
            coming = asyncio.create_task(zk.resume(one.port))

            await attached(whole, zk.session, epoch=2)
            await other.sync()
            left = True
            back = await zk.resume(two.port)
            await back.create("/after")
            seeing = asyncio.create_task(other.exists("/after"))
            await asyncio.wait_for(reading.wait(), PATIENCE)
            handle = one.gateway.life.inbox._handle  # pyright: ignore[reportPrivateUsage]

            async def handle_outcomes(message: ReplyMessage) -> None:
                if not message.detached:
                    await handle(message)

            one.gateway.life.inbox._handle = handle_outcomes  # pyright: ignore[reportPrivateUsage]
            listening.set()
            with pytest.raises(ConnectionError):
                await coming
            go_on.set()
            assert (await seeing).error == OK

    run(scenario())


def test_who_closes_is_answered_though_others_move(aws: BotoAws) -> None:
    """The gateway lists its sessions and does not find it any more, before it hears of its end."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two, three = [await whole.gateway() for _ in range(3)]
            other, zk, far = await one.connect(), await one.connect(), await two.connect()
            listening = one.tap.deafen()
            last, close = zk.send(CREATE, creation("/last")), zk.send(CLOSE)

            async def closed() -> bool:
                return await read_session(aws, whole.stage.service, zk.session) is None

            await eventually(closed, "the session is closed")
            far = await far.resume(three.port)
            await far.create("/news")
            assert (await other.exists("/news")).error == OK
            listening.set()
            assert [(await patiently(reply)).error for reply in (last, close)] == [OK, OK]

    run(scenario())


def test_nothing_is_left_of_a_connection_that_ended(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            before = len(served.gateway.tasks)
            for number in range(3):
                zk = await served.connect()
                await zk.exists("/", watch=True)
                if number:
                    await zk.call(CLOSE)
                await zk.hang_up()
            await eventually(
                lambda: true(len(served.gateway.tasks) == before),
                "its tasks ended",
            )
            assert not served.gateway.life.watches

    run(scenario())


def test_a_session_that_moves_there_and_back_is_still_watched_over(aws: BotoAws) -> None:
    """The notice that it left arrives when it is about to come back."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk = await owner_of_a_lock(one)
            listening = one.tap.deafen()
            there = await zk.resume(two.port)
            committing, commit = asyncio.Event(), asyncio.Event()

            async def hold(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "transact_write_items":
                    committing.set()
                    await commit.wait()

            whole.tap.before = hold
            back = asyncio.create_task(there.resume(one.port))
            await asyncio.wait_for(committing.wait(), PATIENCE)
            listening.set()
            await eventually(lambda: true(not len(one.gateway.life.sessions)), "the gateway knows that it left")
            assert (await two_beats_later(whole, one)).timeout == 5000
            commit.set()
            assert (await back).session == zk.session
            assert (await two_beats_later(whole, one)).timeout == 5000
            assert await list_gateway_sessions(aws, whole.stage.service, two.gateway.life.id) == []

    run(scenario())


def test_a_wrong_password_does_not_make_the_gateway_careless(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await owner_of_a_lock(served)
            try:
                await served.connect(session=zk.session, password=b"x" * 16, lasts=40_000)
            except ConnectionError:
                pass
            else:
                raise AssertionError("anybody may be anybody")
            assert (await two_beats_later(whole, served)).timeout == 5000
            again = await zk.resume(served.port)
            assert (await again.exists("/lock")).stat.owner == zk.session

    run(scenario())


def test_more_credentials_than_a_connection_may_have(aws: BotoAws) -> None:
    """They go with all it asks for: it is closed, as for a frame that is too large, and its session is not."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk, other = await served.connect(), await served.connect()
            assert (await zk.call(AUTH, int32(0) + string(b"digest") + string(b"me:secret"))).error == OK
            zk.send(AUTH, int32(0) + string(b"digest") + string(b"u" * 20_000))
            await zk.until_closed()
            assert (await other.create("/x")).error == OK
            assert (await (await zk.resume(served.port)).create("/y")).error == OK

    run(scenario())


def test_watches_where_no_znode_can_be(aws: BotoAws) -> None:
    """They are set, as everywhere, and hold up nobody."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            endless = "/a" * 300_000
            assert (await zk.exists(endless, watch=True)).error == NO_NODE
            assert (await zk.add_watch(endless, recursive=True)).error == OK
            assert (await zk.add_watch("/a", recursive=True)).error == OK
            assert (await zk.set_watches(0, exist=(endless,))).error == OK
            assert (await zk.create(endless)).error == NO_NODE
            assert (await zk.create("/a")).error == OK
            await zk.event(CREATED, "/a")

    run(scenario())
