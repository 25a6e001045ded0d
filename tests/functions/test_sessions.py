"""Sessions as the sequencer keeps them: who may speak for one, where it is attached, and what its end takes along."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest

from faaskeeper.blocks.aws import BotoAws, Response
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.reaper.function import look_at
from faaskeeper.protocol.messages import Principal
from faaskeeper.protocol.service import PROTOCOL_VERSION
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper.storage.sessions import gateway_heartbeat, list_gateway_sessions
from faaskeeper.storage.znodes import WATCH_CHILD, WATCH_DATA, register_watch
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind
from faaskeeper.znode.operations import (
    AttachSession,
    CloseSession,
    CreateSession,
    Delete,
    ExpireSession,
    Operation,
    Outcome,
    SetData,
)

from .stage import COMMIT, Client, Gateway, Stage, create, moved, run

EPHEMERAL = 1


async def attach(stage: Stage, client: Client, gateway: Gateway, *, password: bytes | None = None) -> Outcome:
    principal = Principal(client.session, 0, client.password if password is None else password)
    (number,) = await stage.send(gateway, (principal, AttachSession(8000)))
    await stage.drain()
    return (await stage.outcomes(gateway, [number]))[number]


async def ask(stage: Stage, gateway: Gateway, who: Client | Principal, operation: Operation) -> Outcome:
    (number,) = await stage.send(gateway, (who, operation))
    await stage.drain()
    return (await stage.outcomes(gateway, [number]))[number]


def test_a_timer_that_is_none_does_not_bring_back_the_others(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        times = {"SentTimestamp": "0", "ApproximateFirstReceiveTimestamp": "1000"}
        bodies = {
            "text": "a timer",
            "types": json.dumps({"v": PROTOCOL_VERSION, "kind": "session", "session": "one", "epoch": []}),
            "stale": encode_timer(GatewayTimer("gone", 1, 1)),
        }
        records = [{"messageId": id, "body": body, "attributes": times} for id, body in bodies.items()]
        failed = await look_at(aws, stage.service, records, FunctionMetrics())
        assert [each["itemIdentifier"] for each in failed] == ["text", "types"]

    run(scenario())


def test_creation(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        gateway = await stage.gateway()
        session, password = 42, uuid4().bytes
        outcome = await ask(
            stage, gateway, Principal(session, 0, password), CreateSession(sha256(password).digest(), 6000)
        )
        assert (outcome.code, outcome.session) == (Code.OK, (6000, 1))
        client = Client(gateway, session, password, 1)
        stored = await stage.session(client)
        assert stored is not None
        assert (stored.gateway, stored.epoch, stored.timeout) == (gateway.id, 1, 6000)
        assert password not in repr(stored).encode()
        assert await list_gateway_sessions(aws, stage.service, gateway.id) == [session]

    run(scenario())


def test_an_id_that_is_taken(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        thief = Principal(client.session, 0, b"thief")
        outcome = await ask(stage, client.gateway, thief, CreateSession(sha256(b"thief").digest(), 6000))
        assert outcome.code is Code.SYSTEM_ERROR
        assert (await stage.do(client, create("/mine")))[0].code is Code.OK

    run(scenario())


def test_a_session_that_moves(aws: BotoAws) -> None:
    """The gateway that it left is told; what is still on its way from there does nothing."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/lock", flags=EPHEMERAL))
        elsewhere = await stage.gateway()
        outcome = await attach(stage, client, elsewhere)
        assert outcome.session == (8000, 2)
        (notice,) = await stage.replies(client.gateway, 1)
        assert notice.detached == ((client.session, 1),)
        assert notice.outcomes == ()
        (late,) = await stage.do(client, create("/late"))
        assert late.code is Code.SESSION_MOVED
        here = moved(client, elsewhere)
        assert (await stage.do(here, SetData("/lock", b"x")))[0].code is Code.OK
        assert await list_gateway_sessions(aws, stage.service, client.gateway.id) == []
        assert await list_gateway_sessions(aws, stage.service, elsewhere.id) == [client.session]
        assert await stage.ephemerals(here) == ["/lock"]
        assert await stage.node("/late") is None

    run(scenario())


def test_a_session_that_comes_back_through_the_same_gateway(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        assert (await attach(stage, client, client.gateway)).session == (8000, 2)
        assert await stage.everything(client.gateway) == []
        assert (await stage.do(client, create("/a")))[0].code is Code.SESSION_MOVED
        assert (await stage.do(moved(client, client.gateway), create("/a")))[0].code is Code.OK

    run(scenario())


def test_in_one_batch_the_last_gateway_has_it(aws: BotoAws) -> None:
    """And each that had it before is told, also the one that had it in between."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        two, three = await stage.gateway(), await stage.gateway()
        principal = Principal(client.session, 0, client.password)
        for gateway in (two, three, client.gateway):
            await stage.send(gateway, (principal, AttachSession(8000)))
        await stage.drain()
        stored = await stage.session(client)
        assert stored is not None
        assert (stored.gateway, stored.epoch) == (client.gateway.id, 4)
        for gateway, epoch in ((two, 2), (three, 3)):
            told = await stage.everything(gateway)
            assert [outcome.session for reply in told for _, outcome in reply.outcomes] == [(8000, epoch)]
            assert (client.session, epoch) in {pair for reply in told for pair in reply.detached}
        for gateway in (two, three):
            assert await list_gateway_sessions(aws, stage.service, gateway.id) == []
        assert await list_gateway_sessions(aws, stage.service, client.gateway.id) == [client.session]

    run(scenario())


@pytest.mark.parametrize("what", ["attach", "write", "close"])
def test_a_wrong_password(aws: BotoAws, what: str) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/lock", flags=EPHEMERAL))
        other = await stage.gateway()
        thief = replace(client, password=b"x" * 16)
        if what == "attach":
            outcome = await attach(stage, thief, other)
        else:
            outcome = await ask(stage, other, thief, create("/theirs") if what == "write" else CloseSession())
        assert outcome.code is Code.SESSION_EXPIRED
        stored = await stage.session(client)
        assert stored is not None
        assert stored.epoch == 1
        assert await stage.children("/") == ["lock", "zookeeper"]
        assert (await stage.do(client, SetData("/lock", b"mine")))[0].code is Code.OK

    run(scenario())


def test_a_session_nobody_knows(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        gateway = await stage.gateway()
        nobody = Client(gateway, 4711, b"x" * 16, 1)
        assert (await attach(stage, nobody, gateway)).code is Code.SESSION_EXPIRED
        assert (await ask(stage, gateway, nobody, create("/a"))).code is Code.SESSION_EXPIRED
        assert (await ask(stage, gateway, nobody, CloseSession())).code is Code.SESSION_EXPIRED

    run(scenario())


def test_closing(aws: BotoAws) -> None:
    """Ephemerals go in the same transaction, and whoever watches hears of it."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, other = await stage.client(), await stage.client()
        await stage.do(other, create("/p"), create("/p/theirs", flags=EPHEMERAL))
        await stage.do(client, create("/p/mine", flags=EPHEMERAL), create("/alone", flags=EPHEMERAL))
        watcher = await stage.gateway()
        await register_watch(aws, stage.service, "/p/mine", WATCH_DATA, watcher.id)
        await register_watch(aws, stage.service, "/p", WATCH_CHILD, watcher.id)
        (closed,) = await stage.do(client, CloseSession())
        assert closed.code is Code.OK
        assert (await stage.head()).zxid == closed.zxid
        assert await stage.children("/p") == ["theirs"]
        assert await stage.session(client) is None
        (hint,) = await stage.replies(watcher, 1)
        assert hint.events is not None
        assert {(event.path, event.kind, event.zxid) for event in hint.events} == {
            ("/p/mine", EventKind.DELETED, closed.zxid),
            ("/p", EventKind.CHILDREN, closed.zxid),
        }
        (after,) = await stage.do(client, create("/a"))
        assert after.code is Code.SESSION_EXPIRED
        # what was an ephemeral of the one can be one of the other
        (taken,) = await stage.do(other, create("/p/mine", flags=EPHEMERAL))
        assert taken.stat is not None
        assert taken.stat.ephemeral_owner == other.session

    run(scenario())


def test_an_ephemeral_that_was_deleted_or_made_anew_by_another(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, other = await stage.client(), await stage.client()
        await stage.do(client, create("/a", flags=EPHEMERAL), create("/b", flags=EPHEMERAL))
        await stage.do(other, Delete("/a"), create("/a", flags=EPHEMERAL), Delete("/b"), create("/b"))
        assert await stage.ephemerals(client) == []
        await stage.do(client, CloseSession())
        assert await stage.children("/") == ["a", "b", "zookeeper"]
        await stage.do(other, CloseSession())
        assert await stage.children("/") == ["b", "zookeeper"]

    run(scenario())


def test_all_of_a_session_in_one_batch(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        gateway = await stage.gateway()
        client = Client(gateway, 7, b"p" * 16, 1)
        numbers = await stage.send(
            gateway,
            (Principal(7, 0, client.password), CreateSession(sha256(client.password).digest(), 6000)),
            (client, create("/e", flags=EPHEMERAL)),
            (client, create("/p")),
            (client, CloseSession()),
            (client, create("/late")),
        )
        await stage.drain()
        outcomes = await stage.outcomes(gateway, numbers)
        assert [outcome.code for outcome in outcomes.values()] == [Code.OK] * 4 + [Code.SESSION_EXPIRED]
        assert await stage.children("/") == ["p", "zookeeper"]
        assert await stage.session(client) is None
        assert await stage.ephemerals(client) == []
        assert await list_gateway_sessions(aws, stage.service, gateway.id) == []

    run(scenario())


class TestExpiry:
    def test_by_the_reaper(self, aws: BotoAws) -> None:
        """Its gateway is told, should it still be there after all."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/lock", flags=EPHEMERAL))
            await stage.send("", (Principal(client.session), ExpireSession(1)))
            await stage.drain()
            assert await stage.node("/lock") is None
            (notice,) = await stage.replies(client.gateway, 1)
            assert notice.detached == ((client.session, 1),)

        run(scenario())

    def test_of_a_session_that_came_back_meanwhile(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/lock", flags=EPHEMERAL))
            elsewhere = await stage.gateway()
            await attach(stage, client, elsewhere)
            await stage.send("", (Principal(client.session), ExpireSession(1)))
            await stage.drain()
            assert (await stage.do(moved(client, elsewhere), SetData("/lock", b"")))[0].code is Code.OK

        run(scenario())

    def test_of_sessions_with_like_numbers(self, aws: BotoAws) -> None:
        """Requests of the service's own functions are numbered from zero in each message."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            clients = [await stage.client() for _ in range(3)]
            for index, client in enumerate(clients):
                await stage.do(client, create(f"/e{index}", flags=EPHEMERAL))
            for client in clients:
                await stage.send("", (Principal(client.session), ExpireSession(1)))
            await stage.drain()
            assert await stage.children("/") == ["zookeeper"]

        run(scenario())


class TestDeadGateways:
    @pytest.mark.parametrize("coming", [True, False], ids=["attach", "create"])
    def test_nobody_joins_one(self, aws: BotoAws, coming: bool) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            dead = await stage.gateway()
            assert await gateway_heartbeat(aws, stage.service, dead.id).declare_dead(1)
            if coming:
                outcome = await attach(stage, client, dead)
            else:
                principal = Principal(5, 0, b"p")
                outcome = await ask(stage, dead, principal, CreateSession(sha256(b"p").digest(), 6000))
            assert outcome.code is Code.SESSION_EXPIRED
            assert await list_gateway_sessions(aws, stage.service, dead.id) == []

        run(scenario())

    def test_one_that_dies_in_that_moment(self, aws: BotoAws) -> None:
        """Between loading and commit. Sessions that attach to it then would never be expired."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            dying = await stage.gateway()

            class Dying:
                async def call(self, service: str, operation: str, **parameters: Any) -> Response:
                    if operation == COMMIT:
                        await gateway_heartbeat(aws, stage.service, dying.id).declare_dead(1)
                    return await aws.call(service, operation, **parameters)

            principal = Principal(client.session, 0, client.password)
            await stage.send(client.gateway, (client, create("/before")))
            await stage.send(dying, (principal, AttachSession(8000)))
            await stage.send(client.gateway, (client, create("/after")))
            await stage.drain(stage.sequencer(Dying()))
            stored = await stage.session(client)
            assert stored is not None
            assert (stored.gateway, stored.epoch) == (client.gateway.id, 1)
            assert await stage.children("/") == ["after", "before", "zookeeper"]

        run(scenario())
