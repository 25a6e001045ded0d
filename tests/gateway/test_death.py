"""Clients that fall silent, gateways that die, stop or begin anew: who keeps what, and who hears of it, and when."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws, Response
from faaskeeper.blocks.blobs import blob_key
from faaskeeper.blocks.errors import AccessDenied, NotFound, Unavailable
from faaskeeper.blocks.primitives.heartbeat import DEAD
from faaskeeper.blocks.queues import list_receivers, reply_queue_url
from faaskeeper.protocol.messages import ReplyMessage, encode_reply
from faaskeeper.storage.sessions import read_gateway, read_session
from faaskeeper_client.gateway import missed_outcomes
from faaskeeper_client.gateway.lasting_watches import LastingWatches

from .ensemble import Served, ensemble, eventually, run, true
from .wire import CHILDREN, CLOSE, DELETED, EPHEMERAL, NO_NODE, OK, PATIENCE, SEQUENTIAL, Zk

TIMEOUT = 4.0
"""The shortest session timeout, in seconds."""
DELAYS = 2.0
"""Seconds that timers take on top: SQS delays by whole ones."""


def test_the_shortest_and_the_longest_timeout(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            for asked, granted in ((1, 4000), (4001, 4001), (1_000_000, 40_000), (-1, 4000)):
                assert (await served.connect(lasts=asked)).negotiated == granted

    run(scenario())


def test_closing_takes_the_ephemerals_along(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk, other = await one.connect(), await two.connect()
            await zk.create("/lock", flags=EPHEMERAL)
            await other.exists("/lock", watch=True)
            reply = await zk.call(CLOSE)
            assert (await other.exists("/lock")).error == NO_NODE
            assert other.events[0].zxid == reply.zxid
            await zk.until_closed()
            with pytest.raises(ConnectionError, match="session expired"):
                await zk.resume(two.port)

    run(scenario())


def test_a_silent_client(aws: BotoAws) -> None:
    """Its connection is open, but nothing comes."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            silent, speaking = await one.connect(), await one.connect()
            other = await two.connect()
            await silent.create("/silent", flags=EPHEMERAL)
            await speaking.create("/speaking", flags=EPHEMERAL)
            for path in ("/silent", "/speaking"):
                await other.exists(path, watch=True)
            await other.children("/", watch=True)
            one.ahead += 9
            speaking.ping()
            await eventually(lambda: true(speaking.pings == 1), "the ping is answered")
            one.ahead += 2
            await other.event(DELETED, "/silent")
            await other.event(CHILDREN, "/")
            await silent.until_closed()
            assert (await other.exists("/speaking")).stat.owner == speaking.session
            assert {event.path for event in other.events} == {"/silent", "/"}
            with pytest.raises(ConnectionError, match="session expired"):
                await silent.resume(one.port)

    run(scenario())


def test_a_client_that_comes_back_in_time(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/lock", flags=EPHEMERAL)
            for _ in range(3):
                await zk.hang_up()
                served.ahead += 8
                zk = await zk.resume(served.port)
            assert (await zk.exists("/lock")).stat.owner == zk.session

    run(scenario())


def test_a_gateway_that_is_killed(aws: BotoAws) -> None:
    """Its sessions' ephemerals vanish within their timeout, and the clients of another gateway hear of it. A session
    that has found its way there by then keeps its own."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            lost, moved = await one.connect(lasts=4000), await one.connect(lasts=4000)
            other = await two.connect(lasts=4000)
            await lost.create("/lost", flags=EPHEMERAL)
            await moved.create("/moved", flags=EPHEMERAL)
            await other.exists("/lost", watch=True)
            await other.exists("/moved", watch=True)
            await one.kill()
            killed = time.monotonic()
            moved = await moved.resume(two.port, lasts=4000)
            pinging = asyncio.create_task(keep_pinging(other, moved))
            await other.event(DELETED, "/lost")
            took = time.monotonic() - killed
            assert TIMEOUT / 2 - 1 <= took <= TIMEOUT + DELAYS + 2
            assert (await other.exists("/moved")).stat.owner == moved.session
            assert [event.path for event in other.events] == ["/lost"]
            item = await read_gateway(aws, whole.stage.service, one.gateway.life.id)
            assert item is None or not item.alive
            pinging.cancel()
            with pytest.raises(ConnectionError, match="session expired"):
                await lost.resume(two.port)

    run(scenario())


async def keep_pinging(*clients: Zk) -> None:
    while True:
        for zk in clients:
            zk.ping()
        await asyncio.sleep(1)


def test_a_gateway_that_is_stopped_and_another_in_its_place(aws: BotoAws) -> None:
    """Clients come back to it with their sessions, and with all that belongs to them."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            clients = [await served.connect() for _ in range(5)]
            for index, zk in enumerate(clients):
                await zk.create(f"/e{index}", flags=EPHEMERAL)
                await zk.get(f"/e{index}", watch=True)
            await served.stop()
            for zk in clients:
                await zk.until_closed()
            url = reply_queue_url(whole.stage.service, served.gateway.life.id)
            with pytest.raises(NotFound):
                await aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
            another = await whole.gateway()
            clients = [await zk.resume(another.port) for zk in clients]
            for index, zk in enumerate(clients):
                assert (await zk.exists(f"/e{index}")).stat.owner == zk.session
                assert (await zk.set(f"/e{index}", b"x")).error == OK

    run(scenario())


def test_a_gateway_that_is_stopped_is_not_taken_for_alive(aws: BotoAws) -> None:
    """Nobody waits for the ten minutes that a gateway without ephemerals may stand still; a session that it had has
    its whole timeout to come back to another."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            alone, left = await whole.gateway(), await whole.gateway()
            await (await alone.connect()).call(CLOSE)
            session = (await left.connect(lasts=4000)).session
            began = time.monotonic()
            for served in (alone, left):
                await served.stop()
            service = whole.stage.service

            async def state(served: Served) -> str:
                found = await read_gateway(aws, service, served.gateway.life.id)
                return found.state if found else "gone"

            async def is_(served: Served, expected: str) -> bool:
                return await state(served) == expected

            assert await state(left) != "alive"
            await eventually(lambda: is_(alone, "gone"), "the item of a gateway without sessions goes")
            await eventually(lambda: is_(left, "dead"), "the other is found dead")

            async def expired() -> bool:
                return await read_session(aws, service, session) is None

            await eventually(expired, "the session expires")
            assert time.monotonic() - began > 4

    run(scenario())


def test_a_gateway_that_was_declared_dead_begins_anew(aws: BotoAws) -> None:
    """It hears so from its beat, drops its clients, and takes them back under another id."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/lock", flags=EPHEMERAL)
            id = served.gateway.life.id
            await declare(whole.stage.service, aws, id)
            await zk.until_closed()
            await eventually(
                lambda: true(served.gateway.life.id != id and served.gateway.life.liveness.is_alive), "a new life"
            )
            again = await zk.resume(served.port)
            assert (await again.exists("/lock")).stat.owner == zk.session
            assert (await again.set("/lock", b"x")).error == OK

    run(scenario())


async def declare(service: Any, aws: BotoAws, gateway: str) -> None:
    await aws.call(
        "dynamodb",
        "update_item",
        TableName=service.sessions,
        Key={"id": {"S": f"gateway#{gateway}"}, "part": {"S": "gateway"}},
        UpdateExpression="SET #state = :dead",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":dead": {"S": DEAD}},
    )


def test_a_gateway_that_begins_anew_leaves_nothing_behind(aws: BotoAws) -> None:
    """Such as requests that take back its watches, which nobody sends any more."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.add_watch("/", recursive=True)
            await zk.create("/lock", flags=EPHEMERAL)
            id = served.gateway.life.id
            await declare(whole.stage.service, aws, id)
            await zk.until_closed()
            await eventually(
                lambda: true(served.gateway.life.id != id and served.gateway.life.liveness.is_alive), "a new life"
            )
            await eventually(lambda: true(not unwatching()), "no task is left")

    def unwatching() -> list[str]:
        names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
        return [name for name in names if name == LastingWatches._unwatch.__qualname__]

    run(scenario())


@pytest.mark.parametrize("stood", [0, 20], ids=["a live one", "one that stood still"])
def test_a_client_that_comes_while_its_gateway_begins_anew_is_not_left_waiting(aws: BotoAws, stood: int) -> None:
    """What it would wait for, an outcome or a beat, is the old gateway's. Clients come back as soon as they are
    dropped."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            ends, goes_on = asyncio.Event(), asyncio.Event()

            async def hold(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "delete_queue":
                    ends.set()
                    await goes_on.wait()

            served.tap.before = hold
            await zk.create("/lock", flags=EPHEMERAL)
            id = served.gateway.life.id
            await declare(whole.stage.service, aws, id)
            await asyncio.wait_for(ends.wait(), PATIENCE)
            served.ahead += stood
            too_soon = asyncio.create_task(zk.resume(served.port))

            def has_come() -> bool:
                return too_soon.done() or any(each.statistics.received for each in served.gateway.connections)

            await eventually(lambda: true(has_come()), "it has come")
            goes_on.set()
            with pytest.raises(ConnectionError):
                await too_soon
            await eventually(lambda: true(served.gateway.life.id != id), "a new life")
            again = await zk.resume(served.port)
            assert (await again.set("/lock", b"x")).error == OK

    run(scenario())


def test_a_gateway_that_loses_its_queue_begins_anew(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/lock", flags=EPHEMERAL)
            id = served.gateway.life.id
            url = reply_queue_url(whole.stage.service, id)
            # ends the long poll
            await aws.call("sqs", "send_message", QueueUrl=url, MessageBody=encode_reply(ReplyMessage(0, 0)))
            await aws.call("sqs", "delete_queue", QueueUrl=url)
            await zk.until_closed()
            await eventually(
                lambda: true(served.gateway.life.id != id and served.gateway.life.liveness.is_alive), "a new life"
            )
            again = await zk.resume(served.port)
            assert (await again.set("/lock", b"x")).error == OK

    run(scenario())


@pytest.mark.parametrize("lost", ["the message", "what it names"])
def test_the_reply_to_an_attachment_that_cannot_be_read(aws: BotoAws, lost: str) -> None:
    """Its session is attached to a gateway that does not know it, and ends all the same when its client is gone."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk, other = await one.connect(lasts=4000), await one.connect(lasts=40_000)
            await zk.create("/lock", flags=EPHEMERAL)
            await other.exists("/lock", watch=True)
            await zk.hang_up()
            missing = blob_key(whole.stage.service, "messages", "a" * 32)
            body = "no reply" if lost == "the message" else f"claim:{missing}"

            def spoil(operation: str, response: Response) -> Response:
                messages = [{**message, "Body": body} for message in response.get("Messages", [])]
                return {**response, "Messages": messages} if messages else response

            two.tap.answer = spoil
            with pytest.raises(ConnectionError):
                await zk.resume(two.port, lasts=4000)
            two.tap.answer = lambda operation, response: response
            assert not other.events
            await other.event(DELETED, "/lock")

    run(scenario())


@pytest.mark.parametrize("in_head", [True, False])
def test_the_reply_to_an_attachment_that_never_comes(
    aws: BotoAws, monkeypatch: pytest.MonkeyPatch, in_head: bool
) -> None:
    """As when somebody has taken it from the queue. The head still has it, until the next transaction."""

    async def scenario() -> None:
        monkeypatch.setattr(missed_outcomes, "LONGEST_WITHOUT_OUTCOME", 1.0)
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            zk, other = await one.connect(lasts=4000), await one.connect(lasts=40_000)
            await zk.create("/lock", flags=EPHEMERAL)
            await other.exists("/lock", watch=True)
            await zk.hang_up()
            taken: set[str] = set()
            takes = True

            def take(operation: str, response: Response) -> Response:
                messages = response.get("Messages", [])
                if takes:
                    taken.update(message["MessageId"] for message in messages)
                return {**response, "Messages": [each for each in messages if each["MessageId"] not in taken]}

            two.tap.answer = take
            resuming = asyncio.create_task(zk.resume(two.port, lasts=4000))
            await eventually(lambda: true(bool(taken)), "the reply is taken")
            takes = False
            if in_head:
                resumed = await resuming
                assert (await resumed.exists("/lock")).stat.owner == zk.session
                return
            await other.create("/elsewhere")
            with pytest.raises(ConnectionError):
                await resuming
            assert not other.events
            await other.event(DELETED, "/lock")

    run(scenario())


def test_replies_are_kept_as_long_as_sqs_can(aws: BotoAws) -> None:
    """A gateway may stand still for long and live on."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            url = reply_queue_url(whole.stage.service, (await whole.gateway()).gateway.life.id)
            kept = await aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
            assert kept["Attributes"]["MessageRetentionPeriod"] == "1209600"

    run(scenario())


@pytest.mark.parametrize("key", ["", "arn:aws:kms:us-east-1:123456789012:key/6e1ae2f2-9d1c-4f8e-8d0d-3c5f2c0a7e11"])
def test_replies_are_encrypted_as_all_else_is(aws: BotoAws, key: str) -> None:
    async def scenario() -> None:
        async with ensemble(aws, encryption_key=key) as whole:
            url = reply_queue_url(whole.stage.service, (await whole.gateway()).gateway.life.id)
            made = await aws.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
            assert made["Attributes"].get("KmsMasterKeyId", "") == key

    run(scenario())


def test_a_machine_that_sleeps_while_it_sends(aws: BotoAws) -> None:
    """For longer than SQS remembers what it was sent, and before it hears that SQS has it."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()
            await zk.create("/q")
            life = served.gateway.life.id
            sent: list[str] = []

            async def forget(operation: str, parameters: dict[str, Any]) -> None:
                if id := parameters.get("MessageDeduplicationId"):
                    parameters["MessageDeduplicationId"] = f"{id}-forgotten" if id in sent else id
                    sent.append(id)

            async def fall_asleep(operation: str, parameters: dict[str, Any]) -> None:
                # an earlier one, whose reply has overtaken its answer, is not meant
                if parameters.get("MessageDeduplicationId") in sent[:1]:
                    served.ahead += 360
                    raise Unavailable("sqs", operation, "ConnectionClosedError")

            served.tap.before, served.tap.after = forget, fall_asleep
            with pytest.raises(ConnectionError):
                await zk.create("/q/n-", flags=SEQUENTIAL)
            await eventually(
                lambda: true(served.gateway.life.id != life and served.gateway.life.liveness.is_alive), "a new life"
            )
            again = await zk.resume(served.port)
            assert (await again.children("/q")).names == ["n-0000000000"]

    run(scenario())


def test_a_gateway_that_cannot_begin_leaves_no_queue(aws: BotoAws) -> None:
    """It tries again and again, each time under another id."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = Served(aws, whole.stage)

            async def refuse(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "update_item":
                    raise AccessDenied("dynamodb", operation, "AccessDeniedException")

            served.tap.before = refuse
            with pytest.raises(AccessDenied):
                await served.start()
            assert served.tap.calls["create_queue"] == 1
            assert await list_receivers(aws, whole.stage.service) == set()

    run(scenario())


def test_a_gateway_that_cannot_beat_says_nothing(aws: BotoAws) -> None:
    """Others may have taken it for dead by then. When it can again, it goes on, in order."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served, other = await whole.gateway(), await whole.gateway()
            zk, writer = await served.connect(), await other.connect()
            await zk.create("/lock", flags=EPHEMERAL)
            await zk.get("/lock", watch=True)
            cut, mended = asyncio.Event(), asyncio.Event()

            async def hold(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "update_item" and "beat" in parameters["UpdateExpression"]:
                    cut.set()
                    await mended.wait()

            served.tap.before = hold
            await asyncio.wait_for(cut.wait(), PATIENCE)
            served.ahead += 6  # more than half of the session timeout
            said = len(zk.log)
            await writer.set("/lock", b"x")
            reply = zk.send(3, b"\0\0\0\5/lock\0")
            zk.ping()
            handshake = asyncio.create_task(served.connect())
            assert (await writer.exists("/lock")).stat.version == 1
            assert (len(zk.log), zk.pings) == (said, 0)
            assert not handshake.done()
            mended.set()
            assert (await asyncio.wait_for(reply, PATIENCE)).stat.version == 1
            assert (await handshake).session
            assert [type(entry).__name__ for entry in zk.log[said:]] == ["Event", "Reply"]

    run(scenario())


def test_a_beat_that_hangs_is_not_the_end(aws: BotoAws) -> None:
    """As on a connection that has died silently: another call gets through."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect(lasts=10_000)
            await zk.create("/lock", flags=EPHEMERAL)
            id = served.gateway.life.id
            hung: list[int] = []

            async def hang_once(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "update_item" and "beat" in parameters["UpdateExpression"] and not hung:
                    hung.append(int(parameters["ExpressionAttributeValues"][":beat"]["N"]))
                    await asyncio.Event().wait()

            served.tap.before = hang_once

            async def has_gone_on() -> bool:
                item = await read_gateway(aws, whole.stage.service, id)
                assert item is not None
                assert item.alive
                return bool(hung) and item.beat > hung[0]

            await eventually(has_gone_on, "another beat")
            assert served.gateway.life.id == id
            assert (await zk.set("/lock", b"x")).error == OK

    run(scenario())


def test_all_clients_come_back_at_once(aws: BotoAws) -> None:
    """One beat is enough for all of them."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            clients = [await one.connect(lasts=20_000) for _ in range(20)]
            beats: list[str] = []

            async def count(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "update_item" and "beat" in parameters["UpdateExpression"]:
                    beats.append(operation)

            two.tap.before = count
            again = await asyncio.gather(*(zk.resume(two.port, lasts=20_000) for zk in clients))
            assert [zk.session for zk in again] == [zk.session for zk in clients]
            assert len(beats) < 10

    run(scenario())


def test_a_gateway_with_no_ephemerals_hardly_beats(aws: BotoAws) -> None:
    """Before the first one is sent, its beat is as fast as that session's timeout needs it, and after the last it
    calms down again."""

    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()

            async def stands_still() -> int:
                item = await read_gateway(aws, whole.stage.service, served.gateway.life.id)
                assert item is not None
                return item.timeout

            zk = await served.connect(lasts=4000)
            await zk.create("/p")
            assert await stands_still() == 600_000
            sent: list[int] = []

            async def watch(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "send_message" and parameters["QueueUrl"] == whole.stage.service.requests:
                    sent.append(await stands_still())

            served.tap.before = watch
            await zk.create("/e", flags=EPHEMERAL)
            assert sent == [2000]
            await zk.close()

            async def calm() -> bool:
                return await stands_still() == 600_000

            await eventually(calm, "it calms down")

    run(scenario())


def test_a_gateway_that_cannot_start_says_why(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = Served(aws, whole.stage)

            async def refuse(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "create_queue":
                    raise NotFound("sqs", operation, "NoSuchService")

            served.tap.before = refuse
            with pytest.raises(NotFound):
                await served.start()

    run(scenario())
