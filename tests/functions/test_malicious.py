"""Somebody with exactly the permissions of ``grant_client`` who uses the AWS SDK as it likes: others go on.

What it may write of an item is what ``tests/infra/test_permissions.py`` finds in the policy.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from faaskeeper.blocks.attributes import Attribute, number
from faaskeeper.blocks.aws import MAX_OBJECT_BYTES, BotoAws
from faaskeeper.blocks.blobs import blob_key
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.queues import send_request
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.reaper.function import look_at
from faaskeeper.functions.requests import send_to_sequencer
from faaskeeper.protocol.messages import (
    MAX_CREDENTIALS,
    MAX_REQUESTS,
    Principal,
    Request,
    RequestMessage,
    encode_requests,
)
from faaskeeper.protocol.service import DATA_VERSION
from faaskeeper.protocol.timers import GatewayTimer, SessionTimer, decode_timer, encode_timer
from faaskeeper.storage.leftovers import scan_gateways
from faaskeeper.storage.sessions import read_gateway
from faaskeeper.storage.znodes import MAX_WATCHERS, WATCH_DATA, WATCH_SETS, read_node_and_value, register_watch
from faaskeeper.znode import quotas
from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import (
    AttachSession,
    Check,
    CloseSession,
    Delete,
    DeleteContainer,
    ExpireSession,
    ListChildren,
    Multi,
    Operation,
    SetData,
    WatchSubtree,
)
from tests.event_source import EventSource

from .stage import Client, Counting, Gateway, Stage, create, quota, run

PER_ZNODE = {"watch_data", "watch_child", "watch_stay"}
PER_GATEWAY = {"beat", "timeout"}
FORGED: dict[str, Attribute] = {
    "number": {"N": "1"},
    "text": {"S": "x"},
    "huge": {"S": "x" * 390_000},
    "null": {"NULL": True},
    "list": {"L": [{"S": "g"}]},
    "bytes": {"BS": [b"g"]},
    "names": {"SS": ["../requests", "a b", "", "\u4e2d", "x" * 65]},
    "many": {"SS": [f"gateway{index}" for index in range(5000)]},
}


async def write(aws: BotoAws, table: str, key: Mapping[str, str], **attributes: Attribute) -> None:
    """An UpdateItem without conditions of attributes that a client may write."""
    assert attributes.keys() <= PER_ZNODE | PER_GATEWAY
    names = {f"#{name}": name for name in attributes}
    values = {f":{name}": value for name, value in attributes.items()}
    await aws.call(
        "dynamodb",
        "update_item",
        TableName=table,
        Key={name: {"S": value} for name, value in key.items()},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in attributes),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )


@pytest.mark.parametrize("name", WATCH_SETS)
@pytest.mark.parametrize("forged", FORGED)
def test_what_is_written_in_place_of_a_watch_set(aws: BotoAws, forged: str, name: str) -> None:
    """It stops nobody, and whoever was in the set is told all the same."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, watcher = await stage.client(), await stage.gateway()
        await stage.do(client, create("/x"))
        await write(aws, stage.service.znodes, {"path": "/x", "part": "node"}, **{name: FORGED[forged]})
        outcomes = await stage.do(client, SetData("/x", b"1"), create("/x/y"), create("/z"))
        assert [outcome.code for outcome in outcomes] == [Code.OK] * 3
        (hint, *_) = await stage.replies(watcher, 1)
        assert hint.zxid == outcomes[-1].zxid
        item = await stage.item("/x")
        assert all(item.watchers(each) <= {EVERYBODY} for each in WATCH_SETS)
        deleted = await stage.do(client, Delete("/x/y"), Delete("/x"))
        assert [outcome.code for outcome in deleted] == [Code.OK] * 2
        assert await stage.node("/x") is None
        await register_watch(aws, stage.service, "/x", WATCH_DATA, watcher.id)

    run(scenario())


def test_a_watch_set_that_is_forged_while_the_transaction_is_made(aws: BotoAws) -> None:
    """A name that is none comes into a set that was found in order; its hint must not fail the reply."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, watcher = await stage.client(), await stage.gateway()
        await stage.do(client, create("/x"))
        await register_watch(aws, stage.service, "/x", WATCH_DATA, watcher.id)

        class Forging:
            async def call(self, service: str, operation: str, **parameters: Any) -> Any:
                if operation == "transact_write_items":
                    names = {"SS": [watcher.id, "../requests", "a b"]}
                    await write(aws, stage.service.znodes, {"path": "/x", "part": "node"}, watch_data=names)
                if operation == "send_message" and re.search(
                    r"[^\w.-]", parameters["QueueUrl"].rsplit("-reply-", 1)[-1]
                ):
                    # the emulator only says that there is none such
                    raise AwsError(service, operation, "InvalidAddress", "The address is not valid for this endpoint")
                return await aws.call(service, operation, **parameters)

        (number,) = await stage.send(client.gateway, (client, SetData("/x", b"1")))
        await stage.sequencer(Forging()).invoke(await stage.receive())
        assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.OK
        await stage.replies(watcher, 1)

    run(scenario())


def test_more_watchers_than_a_message_names(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, watcher = await stage.client(), await stage.gateway()
        paths = [f"/n{index}" for index in range(12)]
        await stage.do(client, *(create(path) for path in paths))
        for path in paths:
            full = {"SS": [f"{path[1:]}-{index}" for index in range(MAX_WATCHERS)]}
            await write(aws, stage.service.znodes, {"path": path, "part": "node"}, watch_data=full)
        await stage.do(client, *(SetData(path, b"1") for path in paths))
        await stage.replies(watcher, 1)

    run(scenario())


@pytest.mark.parametrize("part", ["child#forged", "a", "node2", "value", "zzz"])
def test_items_of_other_names_beside_a_znode(aws: BotoAws, part: str) -> None:
    """They are no children, and no data."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/x"), create("/x/y"))
        await write(aws, stage.service.znodes, {"path": "/x", "part": part}, watch_data={"SS": ["g"]})
        assert await stage.children("/x") == ["y"]
        (listed,) = await stage.do(client, ListChildren("/x"))
        assert listed.names == ("y",)
        for data in (b"beside" * 1000, b"inline", b"beside" * 1000):
            await stage.do(client, SetData("/x", data))
            node, value = await read_node_and_value(aws, stage.service, "/x")
            assert node.znode is not None
            assert data in (node.znode.data, value)
        outcomes = await stage.do(client, Delete("/x/y"), Delete("/x"), create("/x"))
        assert [outcome.code for outcome in outcomes] == [Code.OK] * 3
        assert await stage.children("/x") == []

    run(scenario())


LIVES: dict[str, dict[str, Attribute]] = {
    "text": {"beat": {"S": "soon"}},
    "fraction": {"beat": {"N": "1.5"}},
    "negative": {"beat": {"N": "-7"}},
    "large": {"beat": {"N": "9" * 38}},
    "none": {"beat": {"NULL": True}},
    "no time": {"beat": {"N": "1"}, "timeout": {"N": "-1"}},
    "text for time": {"beat": {"N": "1"}, "timeout": {"S": "x"}},
    "all time": {"beat": {"N": "1"}, "timeout": {"N": "9" * 38}},
}


def record(timer: str, waited: int) -> dict[str, Any]:
    attributes = {"SentTimestamp": "0", "ApproximateFirstReceiveTimestamp": str(waited)}
    return {"messageId": uuid4().hex, "body": timer, "attributes": attributes}


async def timers(stage: Stage) -> list[str]:
    return [record["body"] for record in await EventSource(stage.aws, stage.service.timers).receive(wait=1)]


@pytest.mark.parametrize("forged", LIVES)
def test_a_gateway_whose_beat_is_forged(aws: BotoAws, forged: str) -> None:
    """It is found dead when it is, and others' timers go on."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, other = await stage.client(), await stage.client()
        key = {"id": f"gateway#{client.gateway.id}", "part": "gateway"}
        await write(aws, stage.service.sessions, key, **LIVES[forged])
        await write(aws, stage.service.sessions, {**key, "part": "session#none"}, beat=number(1))
        found, _ = await scan_gateways(aws, stage.service, {})
        assert {gateway.gateway for gateway in found} == {client.gateway.id, other.gateway.id}
        seen = await read_gateway(aws, stage.service, client.gateway.id)
        assert seen is not None
        due = [
            record(encode_timer(GatewayTimer(client.gateway.id, seen.beat, seen.timer)), 3_600_000),
            record(encode_timer(GatewayTimer(other.gateway.id, 1, 0)), 3_600_000),
        ]
        assert await look_at(aws, stage.service, due, FunctionMetrics()) == []
        for client_ in (client, other):
            gateway = await read_gateway(aws, stage.service, client_.gateway.id)
            assert gateway is not None
            assert not gateway.alive

    run(scenario())


def test_gateways_that_never_were(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        for id in ("forged", "../requests", "a b"):
            key = {"id": f"gateway#{id}", "part": "gateway"}
            await write(aws, stage.service.sessions, key, beat={"S": "x"}, timeout=number(0))
        found, _ = await scan_gateways(aws, stage.service, {})
        assert {gateway.gateway for gateway in found} == {client.gateway.id, "forged"}
        number_ = await stage.send("forged", (client, AttachSession(10_000)), (client, SetData("/", b"x")))
        await stage.drain()
        assert number_
        (outcome,) = await stage.do(await stage.client(), create("/x"))
        assert outcome.code is Code.OK

    run(scenario())


TIMERS = [
    "no JSON",
    "{}",
    '{"a":' * 20_000,
    json.dumps({"v": DATA_VERSION, "kind": "session", "session": "x", "epoch": 1}),
    json.dumps({"v": DATA_VERSION, "kind": "session", "session": 1 << 80, "epoch": 1}),
    json.dumps({"v": DATA_VERSION, "kind": "session", "session": None, "epoch": None}),
    json.dumps({"v": DATA_VERSION, "kind": "gateway", "gateway": ["x"], "beat": 1, "timer": 1}),
    json.dumps({"v": DATA_VERSION, "kind": "gateway", "gateway": "../x", "beat": 1, "timer": 1}),
    json.dumps({"v": DATA_VERSION, "kind": "gateway", "gateway": "x", "beat": "1", "timer": 1}),
    json.dumps({"v": DATA_VERSION, "kind": "gateway"}),
    json.dumps({"v": DATA_VERSION, "kind": "unheard of"}),
    json.dumps({"v": DATA_VERSION, "kind": []}),
]


def test_timers_that_are_none(aws: BotoAws) -> None:
    """They fail, and those that came with them do not."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        poison = [record(body, 0) for body in TIMERS]
        good = record(encode_timer(GatewayTimer(client.gateway.id, 1, 0)), 3_600_000)
        failed = await look_at(aws, stage.service, [*poison[:6], good, *poison[6:]], FunctionMetrics())
        assert [each["itemIdentifier"] for each in failed] == [each["messageId"] for each in poison]
        gateway = await read_gateway(aws, stage.service, client.gateway.id)
        assert gateway is not None
        assert not gateway.alive

    run(scenario())


def test_timers_before_their_time(aws: BotoAws) -> None:
    """A timer counts for as long as SQS held it, whoever sent it."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        early = [
            record(encode_timer(GatewayTimer(client.gateway.id, 1, 0)), 599_000),
            record(encode_timer(SessionTimer(client.session, 1)), 3_600_000),
        ]
        assert await look_at(aws, stage.service, early, FunctionMetrics()) == []
        gateway = await read_gateway(aws, stage.service, client.gateway.id)
        assert gateway is not None
        assert gateway.alive
        await stage.drain()
        assert await stage.session(client) is not None

    run(scenario())


def test_a_session_in_the_list_of_another_gateway(aws: BotoAws) -> None:
    """Whose death is not its own."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        victim, forger = await stage.client(), await stage.gateway()
        key = {"id": f"gateway#{forger.id}", "part": f"session#{victim.session:016x}"}
        await write(aws, stage.service.sessions, key, beat=number(1))
        due = [record(encode_timer(GatewayTimer(forger.id, 1, 0)), 3_600_000)]
        assert await look_at(aws, stage.service, due, FunctionMetrics()) == []
        assert not [body for body in await timers(stage) if isinstance(decode_timer(body), SessionTimer)]

    run(scenario())


@pytest.mark.parametrize("size", [0, 8_000_001, MAX_OBJECT_BYTES + 1])
def test_a_message_in_the_bucket_that_is_none(aws: BotoAws, size: int) -> None:
    """However large: functions have little memory."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        key = blob_key(stage.service, "messages", "0" * 32)
        await aws.call("s3", "put_object", Bucket=stage.service.blobs, Key=key, Body=b"\xff" * size)
        await stage.send_raw(f"claim:{key}")
        (outcome,) = await stage.do(client, create("/x"))
        assert outcome.code is Code.OK
        (aside,) = await stage.quarantined()
        assert aside["body"].startswith("claim:")

    run(scenario())


def test_more_requests_than_a_gateway_sends(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        many = tuple(Request(Principal(index), index, CloseSession()) for index in range(MAX_REQUESTS + 1))
        await stage.send_raw(encode_requests(RequestMessage("", many)))
        (outcome,) = await stage.do(client, create("/x"))
        assert outcome.code is Code.OK
        assert len(await stage.quarantined()) == 1

    run(scenario())


def test_containers_with_names_as_long_as_they_can_be(aws: BotoAws) -> None:
    """Their reaping is asked for in messages that the sequencer takes."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        reaped = [(0, DeleteContainer(f"/{number}" + "ÿ" * 150_000, 1, 1, 1)) for number in range(10)]
        await send_to_sequencer(aws, stage.service, reaped)
        await stage.drain()
        assert await stage.quarantined() == []

    run(scenario())


def test_full_messages_that_want_much_loaded(aws: BotoAws) -> None:
    """They take their turn, and what each wants is loaded for itself, not again for each before it."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        paths = itertools.count(1)
        for _ in range(4):
            checks = Multi(tuple(Check(f"/{next(paths)}") for _ in range(600)))
            await stage.send("", (client, checks))
        numbers = await stage.send(client.gateway, (client, create("/x")))
        counting = Counting(aws)
        await stage.drain(stage.sequencer(counting))
        assert (await stage.outcomes(client.gateway, numbers))[numbers[0]].code is Code.OK
        assert counting.count("batch_get_item") <= 40

    run(scenario())


def test_paths_as_long_as_a_message(aws: BotoAws) -> None:
    """Whatever is looked for above them, where somebody has a quota and somebody watches a subtree."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client, watcher = await stage.client(), await stage.gateway()
        await stage.do(client, create("/a"), *quota("/a"), WatchSubtree("/a", watcher.id))
        endless = "/a" * 3_000_000
        for operation in (Delete(endless), SetData(endless, b""), create(endless), WatchSubtree(endless, watcher.id)):
            body = encode_requests(RequestMessage("", (Request(client.principal, 1, operation),)))
            await send_request(aws, stage.service, body, uuid4().hex, seconds=10)
        (outcome,) = await stage.do(client, SetData("/a", b"x"))
        assert outcome.code is Code.OK
        assert outcome.zxid in {hint.zxid for hint in await stage.everything(watcher)}

    run(scenario())


def test_as_many_quotas_as_a_multi_sets(aws: BotoAws) -> None:
    """What counts for each is loaded together."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        tops = [f"/t{index}" for index in range(20)]
        await stage.do(client, Multi(tuple(create(path) for top in tops for path in (top, f"/zookeeper/quota{top}"))))
        counting = Counting(aws)
        each = ((create(quotas.limits_path(top)), SetData(top, b"x")) for top in tops)
        await stage.send(client.gateway, (client, Multi(tuple(itertools.chain(*each)))))
        await stage.drain(stage.sequencer(counting))
        assert await stage.node(quotas.limits_path(tops[-1])) is not None
        assert counting.count("batch_get_item") <= 4

    run(scenario())


@pytest.mark.parametrize("credentials", [("x" * 20_000,), tuple(map(str, range(MAX_CREDENTIALS + 1)))], ids=len)
def test_more_credentials_than_a_connection_has(aws: BotoAws, credentials: tuple[str, ...]) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        forged = replace(client.principal, credentials=tuple(("digest", each) for each in credentials))
        await stage.send(client.gateway, (forged, create("/forged")))
        (outcome,) = await stage.do(client, create("/x"))
        assert outcome.code is Code.OK
        assert await stage.node("/forged") is None
        assert len(await stage.quarantined()) == 1

    run(scenario())


@pytest.mark.parametrize(
    "forged",
    [
        Multi(tuple(Delete(f"/{index}") for index in range(20_000))),
        DeleteContainer("/container", 1, 1, 1),
        ListChildren("/"),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_no_multi_has_inside(aws: BotoAws, monkeypatch: pytest.MonkeyPatch, forged: Operation) -> None:
    """Neither more work than a multi may be nor what only the service's functions may ask for."""
    monkeypatch.setenv("TRUSTED_SENDERS", "AROAREAPER,AROAJANITOR")

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/container", flags=4), create("/container/x"), Delete("/container/x"))
        node = await stage.node("/container")
        assert node is not None
        inside = (
            DeleteContainer("/container", node.czxid, node.mzxid, node.pzxid)
            if isinstance(forged, DeleteContainer)
            else forged
        )
        await stage.send(client.gateway, (client, Multi((inside,))))  # type: ignore[arg-type]
        (number_,) = await stage.send(client.gateway, (client, create("/x")))
        await by_a_client(stage)
        assert await stage.outcomes(client.gateway, [number_])
        assert await stage.node("/x") is not None
        assert await stage.node("/container") == node
        assert len(await stage.quarantined()) == 1

    run(scenario())


FORGERIES: list[Operation] = [
    SetData("/x", b"forged"),
    Delete("/x"),
    create("/forged"),
    AttachSession(10_000),
    CloseSession(),
    ExpireSession(1),
    DeleteContainer("/x", 1, 1, 1),
]


@pytest.mark.parametrize("operation", FORGERIES, ids=lambda operation: type(operation).__name__)
def test_requests_of_somebody_else_s_session(
    aws: BotoAws, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    """SQS attests a sender that is none of the service's functions."""
    monkeypatch.setenv("TRUSTED_SENDERS", "AROAREAPER,AROAJANITOR")

    async def scenario() -> None:
        stage = await Stage.create(aws)
        victim, forger = await stage.client(), await stage.gateway()
        await stage.do(victim, create("/x", b"mine"))
        node, session = await stage.node("/x"), await stage.session(victim)
        for password in (b"", bytes(16), b"AROAREAPER:reaper"):
            await stage.send(forger, (Principal(victim.session, victim.epoch, password), operation))
        await by_a_client(stage)
        assert (await stage.node("/x"), await stage.session(victim)) == (node, session)
        assert await stage.node("/forged") is None
        assert {outcome.code for _, outcome in await stage.outcomes_now(forger)} & {Code.OK} == set()
        (outcome,) = await stage.do(victim, SetData("/x", b"still mine"))
        assert outcome.code is Code.OK

    run(scenario())


async def by_a_client(stage: Stage) -> None:
    """The emulator names the account as sender of everything, which is trusted."""
    records = await stage.receive()
    for each in records:
        each["attributes"]["SenderId"] = "AROACLIENT:AROAREAPER"
    await stage.sequencer().invoke(records)
    await stage.delete(records)


def test_what_only_the_functions_may_ask_for_is_granted_to_them(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the test above: with the reaper's id the same request ends the session."""
    monkeypatch.setenv("TRUSTED_SENDERS", "AROAREAPER,AROAJANITOR")

    async def scenario() -> None:
        stage = await Stage.create(aws)
        victim = await stage.client()
        await stage.send("", (Principal(victim.session), ExpireSession(1)))
        records = await stage.receive()
        for each in records:
            each["attributes"]["SenderId"] = "AROAREAPER:faaskeeper-reaper"
        await stage.sequencer().invoke(records)
        assert await stage.session(victim) is None

    run(scenario())


def test_requests_sent_again(aws: BotoAws) -> None:
    """Of a session of one's own, as nobody has the password of another: they run again, as any request that one
    sends twice. Under an earlier attachment they do not."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        body = encode_requests(RequestMessage("", (Request(client.principal, 7, create("/x/n-", flags=2)),)))
        await stage.do(client, create("/x"))
        for _ in range(2):
            await stage.send_raw(body)
        await stage.drain()
        assert len(await stage.children("/x")) == 2
        moved = Client(Gateway(client.gateway.id), client.session, client.password, 2)
        await stage.do(client, AttachSession(10_000))
        await stage.send_raw(body)
        await stage.drain()
        assert len(await stage.children("/x")) == 2
        (outcome,) = await stage.do(moved, create("/x/n-", flags=2))
        assert outcome.code is Code.OK

    run(scenario())
