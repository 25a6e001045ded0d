"""What the sequencer makes of its queue: good messages, bad ones, old ones, many at once."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from faaskeeper.blocks.aws import Aws, BotoAws, Response
from faaskeeper.blocks.blobs import blob_key, write_blob
from faaskeeper.blocks.errors import AccessDenied, AwsError, CancellationReason, Throttled, TransactionCancelled
from faaskeeper.blocks.fan_out import EVERYBODY, notify
from faaskeeper.blocks.invocation import Unfinished
from faaskeeper.blocks.queues import reply_queue_url
from faaskeeper.functions.sequencer.batch import MAX_OPERATIONS, MAX_REQUEST_AGE_MS
from faaskeeper.protocol.messages import Principal, Request, RequestMessage, decode_reply, encode_requests
from faaskeeper.protocol.service import PROTOCOL_VERSION, IncompatibleVersion
from faaskeeper.storage.keys import child_key, head_key
from faaskeeper.storage.znode_blobs import data_key
from faaskeeper.storage.znodes import MAX_WATCHERS, WATCH_CHILD, WATCH_DATA, WATCH_STAY, register_watch
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL, Blob, EventKind
from faaskeeper.znode.operations import Check, CloseSession, Create, Delete, ListChildren, Multi, Operation, SetData

from .stage import COMMIT, Counting, Failing, Gateway, Killed, Stage, calls, create, run

EPHEMERAL = 1
SEQUENTIAL = 2


class TestPoison:
    """What nobody can have meant goes aside, what cannot be stored is refused, and all else goes on."""

    @pytest.mark.parametrize(
        "body",
        [
            "no JSON",
            "[]",
            "{}",
            json.dumps({"v": PROTOCOL_VERSION, "gateway": "../requests", "principals": [], "requests": []}),
            '{"a":' * 20_000,
            "claim:blobs/that-is-gone",
            "claim:",
            f"claim:{'k' * 2000}",
            '"' * 1_000_000,
            "\u4e2d" * 300_000,
        ],
        ids=["text", "list", "empty", "queue", "deep", "claim", "no claim", "long claim", "large", "wide"],
    )
    def test_a_message_that_is_none(self, aws: BotoAws, body: str) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.send_raw(body)
            (outcome,) = await stage.do(client, create("/a"))
            assert outcome.code is Code.OK
            (aside,) = await stage.quarantined()
            assert body.startswith(aside["body"])
            assert aside["reason"]

        run(scenario())

    def test_a_claim_that_s3_does_not_speak_about(self, aws: BotoAws) -> None:
        """To whoever may not list a bucket, S3 denies access to what is not there."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.send_raw(f"claim:{blob_key(stage.service, 'messages', '0' * 32)}")
            (number,) = await stage.send(client.gateway, (client, create("/a")))
            denied = AccessDenied("s3", "get_object", "AccessDenied", "Access Denied")
            await stage.drain(stage.sequencer(Failing(aws, lambda _, operation, __: operation == "get_object", denied)))
            assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.OK
            assert len(await stage.quarantined()) == 1

        run(scenario())

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("AccessDenied", "not authorized to perform: kms:Decrypt"),
            ("ExpiredToken", "The provided token has expired."),
        ],
    )
    def test_a_claim_that_may_not_be_read_now(self, aws: BotoAws, code: str, message: str) -> None:
        """A key or credentials that are at fault are no reason to set a request aside."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            key = blob_key(stage.service, "messages", "0" * 32)
            body = encode_requests(RequestMessage(client.gateway.id, (Request(client.principal, 7, create("/a")),)))
            await write_blob(aws, stage.service, key, body.encode())
            await stage.send_raw(f"claim:{key}")
            records = await stage.receive()
            denied = AccessDenied("s3", "get_object", code, message)
            with pytest.raises(AccessDenied):
                await stage.sequencer(Failing(aws, lambda _, operation, __: operation == "get_object", denied)).invoke(
                    records
                )
            await stage.bring_back(records)
            await stage.drain()
            assert (await stage.outcomes(client.gateway, [7]))[7].code is Code.OK
            assert await stage.quarantined() == []

        run(scenario())

    def test_a_claim_on_what_is_no_text(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            key = blob_key(stage.service, "messages", "0" * 32)
            await write_blob(aws, stage.service, key, b"\xff")
            await stage.send_raw(f"claim:{key}")
            (outcome,) = await stage.do(client, create("/a"))
            assert outcome.code is Code.OK
            assert len(await stage.quarantined()) == 1

        run(scenario())

    @pytest.mark.parametrize("length", [1, -1, 1 << 31])
    def test_data_that_the_gateway_cannot_have_put_into_the_bucket(self, aws: BotoAws, length: int) -> None:
        """Its key could be one that no item can have, and its length one that no reply can tell."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            other = data_key(stage.service, "other" if length == 1 else client.gateway.id, 0)
            many = Multi((*(create(f"/n{number}") for number in range(60)), create("/a", Blob(other, length))))
            outcomes = await stage.do(client, many, create("/a", Blob(other, length)), create("/b"))
            assert [outcome.code for outcome in outcomes] == [Code.BAD_ARGUMENTS, Code.BAD_ARGUMENTS, Code.OK]
            assert await stage.children("/") == ["b", "zookeeper"]

        run(scenario())

    @pytest.mark.parametrize(
        "request_",
        [
            ["delete", None, -1],
            ["delete", ["/a"], -1],
            ["delete", "/a", "-1"],
            ["delete", "/a"],
            ["delete", "/a", 1 << 70],
            ["create", "/a", None, 0, []],
            ["create", "/a", None, [[31, None, "anyone"]], 0],
            ["create", "/a", [1, "x"], 0, 0],
            ["set", "/a", ["key"], -1],
            ["attach", "soon"],
            ["session", "", "soon"],
            ["multi", ["delete", None, -1]],
            ["unheard of"],
            [],
        ],
        ids=json.dumps,
    )
    def test_a_request_that_is_none(self, aws: BotoAws, request_: list[Any]) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            message = json.loads(encode_requests(RequestMessage(client.gateway.id, ())))
            message["principals"] = [[client.session, client.epoch, "", []]]
            message["requests"] = [[0, 1, *request_]]
            await stage.send_raw(json.dumps(message))
            (outcome,) = await stage.do(client, create("/a"))
            assert outcome.code is Code.OK
            assert len(await stage.quarantined()) == 1

        run(scenario())

    def test_a_request_that_makes_the_code_fail(self, aws: BotoAws) -> None:
        """A credential that no client can have sent: half of a surrogate pair has no digest."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            broken = Principal(client.session, client.epoch, client.password, (("digest", "\ud800"),))
            numbers = await stage.send(
                client.gateway, (client, create("/a")), (broken, create("/b")), (client, create("/c"))
            )
            await stage.drain()
            outcomes = await stage.outcomes(client.gateway, numbers)
            assert [outcomes[number].code for number in numbers] == [Code.OK, Code.SYSTEM_ERROR, Code.OK]
            assert await stage.children("/") == ["a", "c", "zookeeper"]

        run(scenario())

    @pytest.mark.parametrize("at", [0, 7, 15])
    def test_a_request_that_cannot_be_stored(self, aws: BotoAws, at: int) -> None:
        """An ACL above what an item holds, among others of the same and of other gateways."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client, other = await stage.client(), await stage.client()
            huge = tuple(OPEN_ACL[0]._replace(scheme="ip", id=f"10.0.{i // 250}.{i % 250}") for i in range(25_000))
            operations: list[Operation] = [create(f"/n{index}") for index in range(16)]
            operations[at] = Create(f"/n{at}", b"", huge)
            numbers = await stage.send(client.gateway, *((client, operation) for operation in operations))
            last = await stage.send(other.gateway, (other, create("/last")))
            await stage.drain()
            outcomes = await stage.outcomes(client.gateway, numbers)
            expected = [Code.SYSTEM_ERROR if index == at else Code.OK for index in range(16)]
            assert [outcomes[number].code for number in numbers] == expected
            assert (await stage.outcomes(other.gateway, last))[last[0]].code is Code.OK
            assert len(await stage.children("/")) == 17

        run(scenario())

    def test_a_transaction_that_dynamodb_calls_invalid(self, aws: BotoAws) -> None:
        """For one item, which is known by its path only here: whoever writes that one is refused."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            numbers = await stage.send(client.gateway, *((client, create(f"/n{index}")) for index in range(10)))

            def writes_the_item(service: str, operation: str, parameters: dict[str, Any]) -> bool:
                return operation == COMMIT and any(
                    action.get("Update", {}).get("Key", {}).get("path") == {"S": "/n4"}
                    for action in parameters["TransactItems"]
                )

            invalid = TransactionCancelled(COMMIT, (CancellationReason("None"), CancellationReason("ValidationError")))
            await stage.drain(stage.sequencer(Failing(aws, writes_the_item, invalid)))
            outcomes = await stage.outcomes(client.gateway, numbers)
            codes = [outcomes[number].code for number in numbers]
            assert codes == [Code.SYSTEM_ERROR if index == 4 else Code.OK for index in range(10)]
            zxids = [outcomes[number].zxid for number in numbers]
            # the refusal is put down by a transaction of its own, behind those before it
            assert zxids == [zxids[0] + number for number in (0, 1, 2, 3, 3, 5, 6, 7, 8, 9)]

        run(scenario())

    def test_a_gateway_whose_queue_is_gone(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client, other = await stage.client(), await stage.client()
            url = reply_queue_url(stage.service, client.gateway.id)
            await register_watch(aws, stage.service, "/a", WATCH_DATA, client.gateway.id)
            await aws.call("sqs", "delete_queue", QueueUrl=url)
            await stage.send(client.gateway, (client, create("/b")))
            (outcome,) = await stage.do(other, create("/a"))
            assert outcome.code is Code.OK
            assert await stage.children("/") == ["a", "b", "zookeeper"]

        run(scenario())

    @pytest.mark.parametrize(
        "refused",
        [
            AwsError("sqs", "send_message", "InvalidAddress", "The specified queue URL is not valid"),
            AccessDenied("sqs", "send_message", "AccessDenied", "with an explicit deny in a resource-based policy"),
        ],
        ids=lambda error: str(error.code),
    )
    def test_a_gateway_whose_queue_cannot_be_written_to(self, aws: BotoAws, refused: AwsError) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client, other = await stage.client(), await stage.client()
            failing = Failing(
                aws, calls("send_message", QueueUrl=reply_queue_url(stage.service, client.gateway.id)), refused
            )
            await stage.send(client.gateway, (client, create("/a")))
            (number,) = await stage.send(other.gateway, (other, create("/b")))
            await stage.drain(stage.sequencer(failing))
            assert failing.failed == 1
            assert (await stage.outcomes(other.gateway, [number]))[number].code is Code.OK

        run(scenario())

    def test_more_listings_than_a_message_holds(self, aws: BotoAws) -> None:
        """Nobody's outcome is lost with them."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            names = [f"{index:0800d}" for index in range(600)]
            await stage.do(client, create("/many"), Multi(tuple(create(f"/many/{name}") for name in names)))
            *listed, written = await stage.do(client, *[ListChildren("/many")] * 18, create("/x"))
            assert {outcome.names for outcome in listed} == {tuple(names)}
            assert written.code is Code.OK

        run(scenario())

    def test_a_multi_that_takes_longer_than_an_invocation(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            endless = Multi(tuple(Check("/", -1) for _ in range(MAX_OPERATIONS + 1)))
            outcomes = await stage.do(client, endless, Multi(endless.operations[1:]), create("/a"))
            assert [outcome.code for outcome in outcomes] == [Code.BAD_ARGUMENTS, Code.OK, Code.OK]

        run(scenario())

    def test_many_throttled_calls(self, aws: BotoAws) -> None:
        """Every other call, of whatever kind, is throttled, on average."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            chance = random.Random(7)
            numbers = await stage.send(client.gateway, *((client, create(f"/n{index}")) for index in range(5)))
            error = Throttled("dynamodb", "any", "ThrottlingException")
            throttled = Failing(aws, lambda service, operation, parameters: chance.random() < 0.5, error)
            records = await stage.receive()
            await stage.sequencer(throttled).invoke(records)
            await stage.delete(records)
            outcomes = await stage.outcomes(client.gateway, numbers)
            assert {outcome.code for outcome in outcomes.values()} == {Code.OK}
            assert throttled.failed >= 3

        run(scenario())


class TestTime:
    def test_what_is_older_than_an_hour_fails(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            stage.time = MAX_REQUEST_AGE_MS + 1000
            (outcome,) = await stage.do(client, create("/a"))
            assert outcome.code is Code.OPERATION_TIMEOUT
            assert await stage.node("/a") is None
            stage.time = MAX_REQUEST_AGE_MS - 60_000
            (outcome,) = await stage.do(client, create("/a"))
            assert outcome.code is Code.OK

        run(scenario())

    def test_more_work_than_time(self, aws: BotoAws) -> None:
        """An invocation ends in good time and leaves the rest to the next, which goes on where it stopped."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/q"))
            numbers = await stage.send(client.gateway, *((client, create(f"/q/{index}")) for index in range(200)))
            invocations = 0
            while records := await stage.receive():
                invocations += 1
                try:
                    await stage.sequencer().invoke(records, seconds=0)
                except Unfinished:
                    continue
                await stage.delete(records)
            assert invocations > 3
            outcomes = await stage.outcomes(client.gateway, numbers)
            assert {outcome.code for outcome in outcomes.values()} == {Code.OK}
            assert len(await stage.children("/q")) == 200

        run(scenario())

    def test_more_answers_than_time(self, aws: BotoAws) -> None:
        """Nor does it start again with what it has answered, though nothing changed by it."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            numbers = await stage.send(client.gateway, *((client, Delete(f"/none{index}")) for index in range(300)))
            invocations = 0
            while records := await stage.receive():
                invocations += 1
                assert invocations < 20
                try:
                    await stage.sequencer().invoke(records, seconds=0)
                except Unfinished:
                    continue
                await stage.delete(records)
            assert invocations > 2
            outcomes = await stage.outcomes(client.gateway, numbers)
            assert {outcome.code for outcome in outcomes.values()} == {Code.NO_NODE}

        run(scenario())

    @pytest.mark.parametrize("code", [Code.OK, Code.NO_NODE])
    def test_more_than_an_instance_bears(self, aws: BotoAws, code: Code) -> None:
        """What kills one instance after the other is taken in small portions, and ends."""

        class Small:
            async def call(self, service: str, operation: str, **parameters: Any) -> Response:
                if operation == "batch_get_item":
                    keys = sum(len(table["Keys"]) for table in parameters["RequestItems"].values())
                    if keys > 12:
                        raise Killed
                return await aws.call(service, operation, **parameters)

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            operations = (create(f"/n{index}") if code is Code.OK else Delete(f"/n{index}") for index in range(50))
            numbers = await stage.send(client.gateway, *((client, operation) for operation in operations))
            invocations = 0
            while records := await stage.receive():
                invocations += 1
                assert invocations < 30
                try:
                    await stage.sequencer(Small()).invoke(records)
                except Killed:
                    await stage.bring_back(records)
                else:
                    await stage.delete(records)
            outcomes = await stage.outcomes(client.gateway, numbers)
            assert {outcome.code for outcome in outcomes.values()} == {code}

        run(scenario())


class TestGroupCommit:
    def test_several_gateways_in_one_transaction(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            clients = [await stage.client() for _ in range(5)]
            before = (await stage.head()).zxid
            numbers = [
                await stage.send(client.gateway, (client, create(f"/c{index}")), (client, SetData(f"/c{index}", b"x")))
                for index, client in enumerate(clients)
            ]
            counting = Counting(aws)
            instance = stage.sequencer(counting)
            await stage.drain(instance)
            assert counting.count(COMMIT) == 1
            assert counting.count("batch_get_item") == 1
            assert counting.count("send_message") == 5
            zxids = [
                outcome.zxid - before
                for client, part in zip(clients, numbers, strict=True)
                for outcome in (await stage.outcomes(client.gateway, part)).values()
            ]
            assert zxids == list(range(1, 11))

        run(scenario())

    def test_more_than_a_transaction_holds(self, aws: BotoAws) -> None:
        """Split between operations, never within one."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/q"))
            operations: list[Operation] = []
            for index in range(30):
                pair = (create(f"/q/{index}"), create(f"/q/{index}/below"), SetData(f"/q/{index}", b"x"))
                operations.append(Multi(pair))
            outcomes = await stage.do(client, *operations)
            assert all(outcome.results is not None and len(outcome.results) == 3 for outcome in outcomes)
            zxids = [outcome.zxid for outcome in outcomes]
            assert zxids == list(range(zxids[0], zxids[0] + 30))
            for index in range(30):
                node = await stage.node(f"/q/{index}")
                assert node is not None
                assert (node.czxid, node.mzxid, node.pzxid) == (zxids[index],) * 3

        run(scenario())

    def test_a_large_batch_is_loaded_once(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            counting = Counting(aws)
            await stage.send(client.gateway, *((client, create(f"/n{index}")) for index in range(300)))
            await stage.drain(stage.sequencer(counting))
            assert len(await stage.children("/")) == 301
            loaded = sum(
                len(table["Keys"])
                for operation, parameters in counting.calls
                if operation == "batch_get_item"
                for table in parameters["RequestItems"].values()
            )
            assert loaded < 3 * 300

        run(scenario())

    def test_data_in_the_bucket_counts_for_what_a_transaction_holds(self, aws: BotoAws) -> None:
        """Each has a reference, which is an item too."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            blobs = [Blob(data_key(stage.service, client.gateway.id, number), 50_000) for number in range(60)]
            counting = Counting(aws)
            await stage.send(
                client.gateway, *((client, create(f"/n{index}", blob)) for index, blob in enumerate(blobs))
            )
            await stage.drain(stage.sequencer(counting))
            assert len(await stage.children("/")) == 61
            assert counting.count("put_object") == 0  # no journal

        run(scenario())

    def test_later_requests_see_earlier_ones(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            outcomes = await stage.do(
                client,
                create("/a"),
                create("/a/b"),
                Delete("/a"),
                Delete("/a/b"),
                Delete("/a"),
                create("/a", b"again"),
                Multi((Check("/a", 0), SetData("/a", b"1", 0))),
                Multi((SetData("/a", b"2"), Check("/a", 0))),
            )
            assert [outcome.code for outcome in outcomes] == [
                Code.OK, Code.OK, Code.NOT_EMPTY, Code.OK, Code.OK, Code.OK, Code.OK, Code.OK,
            ]  # fmt: skip
            failed = outcomes[-1].results
            assert failed is not None
            assert [result.code for result in failed] == [Code.OK, Code.BAD_VERSION]
            node = await stage.node("/a")
            assert node is not None
            assert (node.data, node.version) == (b"1", 1)
            assert await stage.children("/a") == []

        run(scenario())

    def test_requests_that_change_nothing_move_only_the_watermark(self, aws: BotoAws) -> None:
        """Together: else they could be applied when they come again, after direct calls of others."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            before = await stage.head()
            counting = Counting(aws)
            numbers = await stage.send(
                client.gateway, (client, create("/a")), (client, Delete("/b")), (client, SetData("/a", b"", 7))
            )
            await stage.drain(stage.sequencer(counting))
            assert counting.count(COMMIT) == 1
            outcomes = await stage.outcomes(client.gateway, numbers)
            assert [outcome.code for outcome in outcomes.values()] == [Code.NODE_EXISTS, Code.NO_NODE, Code.BAD_VERSION]
            assert {outcome.zxid for outcome in outcomes.values()} == {before.zxid}
            after = await stage.head()
            assert (after.zxid, after.keys) == (before.zxid + 1, ())

        run(scenario())


class TestNames:
    def test_a_sequence_name_that_is_taken(self, aws: BotoAws) -> None:
        """By a znode, by a watch on a znode that is not there yet, by the memory of one that was."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/q"), create("/q/n-0000000002"))
            (collision,) = await stage.do(client, create("/q/n-0000000001"))
            assert collision.code is Code.OK
            # the counter is at two
            outcomes = await stage.do(client, create("/q/n-", flags=SEQUENTIAL), create("/q/n-", flags=SEQUENTIAL))
            assert [outcome.code for outcome in outcomes] == [Code.NODE_EXISTS, Code.NODE_EXISTS]
            await stage.do(client, Delete("/q/n-0000000002"))
            watcher = await stage.gateway()
            await register_watch(aws, stage.service, "/q/n-0000000003", WATCH_DATA, watcher.id)
            outcomes = await stage.do(client, create("/q/n-", flags=SEQUENTIAL), create("/q/n-", flags=SEQUENTIAL))
            assert [outcome.path for outcome in outcomes] == ["/q/n-0000000002", "/q/n-0000000003"]
            (hint,) = await stage.replies(watcher, 1)
            assert hint.events is not None
            assert [(event.path, event.kind) for event in hint.events] == [("/q/n-0000000003", EventKind.CREATED)]

        run(scenario())

    def test_the_absence_of_a_name_decides_a_failure(self, aws: BotoAws) -> None:
        """The name in a multi that fails later is taken already: that is what has to be answered."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/q"), create("/q/n-0000000001"))
            multi = Multi((create("/q/n-", flags=SEQUENTIAL), Delete("/none")))
            (outcome,) = await stage.do(client, multi)
            assert outcome.results is not None
            assert [result.code for result in outcome.results] == [Code.NODE_EXISTS, Code.RUNTIME_INCONSISTENCY]

        run(scenario())

    def test_a_listing_that_can_never_be_right(self, aws: BotoAws) -> None:
        """An edge was lost behind the sequencer's back: who asks is told, and nobody else has to wait."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client, other = await stage.client(), await stage.client()
            await stage.do(client, create("/p"), create("/p/a"), create("/p/b"))
            edge = child_key("/p/a")
            await aws.call("dynamodb", "delete_item", TableName=stage.service.znodes, Key=edge.attributes)
            (before,) = await stage.send(other.gateway, (other, create("/before")))
            (listing,) = await stage.send(client.gateway, (client, ListChildren("/p")))
            (after,) = await stage.send(other.gateway, (other, create("/after")))
            await stage.drain()
            assert (await stage.outcomes(client.gateway, [listing]))[listing].code is Code.SYSTEM_ERROR
            outcomes = await stage.outcomes(other.gateway, [before, after])
            assert {outcome.code for outcome in outcomes.values()} == {Code.OK}

        run(scenario())

    def test_what_is_left_of_a_deleted_znode(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a", b"x" * 3000))
            (deleted,) = await stage.do(client, Delete("/a"))
            item = await stage.item("/a")
            assert (item.znode, item.zxid) == (None, deleted.zxid)
            (created,) = await stage.do(client, create("/a", b"y"))
            item = await stage.item("/a")
            assert item.znode is not None
            assert (item.znode.czxid, item.znode.data, item.has_value) == (created.zxid, b"y", False)

        run(scenario())


class TestWatches:
    def test_a_watch_that_is_set_while_a_transaction_is_made(self, aws: BotoAws) -> None:
        """The set was empty when it was loaded: the transaction must not pass over the watch."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            watchers = [await stage.gateway() for _ in range(3)]
            late = iter(watchers)

            class Interfering:
                async def call(self, service: str, operation: str, **parameters: Any) -> Response:
                    if operation == COMMIT and (gateway := next(late, None)) is not None:
                        node = await register_watch(aws, stage.service, "/a", WATCH_DATA, gateway.id)
                        assert node.znode is not None
                        assert node.znode.version == 0
                    return await aws.call(service, operation, **parameters)

            counting = Counting(Interfering())
            await stage.send(client.gateway, (client, SetData("/a", b"x")))
            await stage.drain(stage.sequencer(counting))
            # the first cost a retry; those after it were moved along
            assert counting.count(COMMIT) == 2
            for gateway in watchers[:2]:
                (hint,) = await stage.replies(gateway, 1)
                assert hint.events is not None
                assert [(event.path, event.kind) for event in hint.events] == [("/a", EventKind.DATA)]

        run(scenario())

    def test_which_sets_fire(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"), create("/a/b"))

            async def told(operation: Operation) -> set[tuple[str, str, EventKind]]:
                gateways = {
                    f"{path} {name}": await stage.gateway()
                    for path in ("/a", "/a/b", "/a/c")
                    for name in (WATCH_DATA, WATCH_CHILD, WATCH_STAY)
                }
                for what, gateway in gateways.items():
                    path, name = what.split()
                    await register_watch(aws, stage.service, path, name, gateway.id)
                await stage.do(client, operation)
                hinted: set[tuple[str, str, EventKind]] = set()
                for what, gateway in gateways.items():
                    for reply in await stage.everything(gateway):
                        assert reply.events is not None
                        path = what.split()[0]
                        hinted |= {(*what.split(), event.kind) for event in reply.events if event.path == path}
                return hinted

            assert await told(SetData("/a", b"x")) == {
                ("/a", WATCH_DATA, EventKind.DATA),
                ("/a", WATCH_STAY, EventKind.DATA),
            }
            assert await told(create("/a/c")) == {
                ("/a", WATCH_CHILD, EventKind.CHILDREN),
                ("/a", WATCH_STAY, EventKind.CHILDREN),
                ("/a/c", WATCH_DATA, EventKind.CREATED),
                ("/a/c", WATCH_STAY, EventKind.CREATED),
            }
            assert await told(Delete("/a/b")) == {
                ("/a", WATCH_CHILD, EventKind.CHILDREN),
                ("/a", WATCH_STAY, EventKind.CHILDREN),
                ("/a/b", WATCH_DATA, EventKind.DELETED),
                ("/a/b", WATCH_CHILD, EventKind.DELETED),
                ("/a/b", WATCH_STAY, EventKind.DELETED),
            }

        run(scenario())

    def test_a_watch_fires_once_and_stays_if_it_is_to(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            once, always = await stage.gateway(), await stage.gateway()
            await register_watch(aws, stage.service, "/a", WATCH_DATA, once.id)
            await register_watch(aws, stage.service, "/a", WATCH_STAY, always.id)
            for _ in range(3):
                await stage.do(client, SetData("/a", b"x"))
            assert len(await stage.everything(once)) == 1
            assert len(await stage.everything(always)) == 3

        run(scenario())

    def test_what_nobody_watches_leaves_no_record(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"), SetData("/a", b"x"), Delete("/a"))
            assert await stage.events() == []

        run(scenario())

    def test_events_come_with_the_reply_of_a_gateway_that_watches(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            await register_watch(aws, stage.service, "/a", WATCH_DATA, client.gateway.id)
            (number,) = await stage.send(client.gateway, (client, SetData("/a", b"x")))
            await stage.drain()
            (reply,) = await stage.replies(client.gateway, 1)
            assert reply.events is not None
            assert [event.path for event in reply.events] == ["/a"]
            assert [each for each, _ in reply.outcomes] == [number]
            assert reply.base < reply.zxid == reply.events[0].zxid

        run(scenario())

    def test_twelve_gateways_are_told_by_the_notifier(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            watchers = [await stage.gateway() for _ in range(12)]
            for gateway in watchers:
                await register_watch(aws, stage.service, "/a", WATCH_DATA, gateway.id)
            notifier = Notifier(aws, stage)
            await stage.send(client.gateway, (client, SetData("/a", b"x")))
            await stage.drain(stage.sequencer(notifier, "the-notifier"))
            assert notifier.invoked == 1
            await self.all_told(stage, watchers)

        run(scenario())

    def test_a_notifier_that_is_throttled_for_a_moment(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            watchers = [await stage.gateway() for _ in range(11)]
            for gateway in watchers:
                await register_watch(aws, stage.service, "/a", WATCH_DATA, gateway.id)
            notifier = Notifier(aws, stage)
            throttled = Failing(notifier, calls("invoke"), Throttled("lambda", "invoke", "TooManyRequestsException"))
            records_before = await stage.send(client.gateway, (client, SetData("/a", b"x")))
            records = await stage.receive()
            await stage.sequencer(throttled, "the-notifier").invoke(records)
            await stage.delete(records)
            assert (throttled.failed, notifier.invoked) == (1, 1)
            await self.all_told(stage, watchers)
            assert records_before

        run(scenario())

    @pytest.mark.parametrize("name", ["notifier", None])
    def test_hints_that_cannot_be_sent_hold_up_nobody(self, aws: BotoAws, name: str | None) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            watchers = [await stage.gateway() for _ in range(11)]
            for gateway in watchers:
                await register_watch(aws, stage.service, "/a", WATCH_DATA, gateway.id)
            denied = AccessDenied("any", "any", "AccessDeniedException", "not authorized")

            def of_a_hint(service: str, operation: str, parameters: dict[str, Any]) -> bool:
                return service == "lambda" or parameters.get("QueueUrl") == reply_queue_url(
                    stage.service, watchers[0].id
                )

            (number,) = await stage.send(client.gateway, (client, create("/a")))
            failing = Failing(aws, of_a_hint, denied)
            await stage.drain(stage.sequencer(failing, name))
            assert failing.failed == 1
            assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.OK

        run(scenario())

    @pytest.mark.parametrize("with_notifier", [False, True])
    def test_too_many_watchers_to_name(self, aws: BotoAws, with_notifier: bool) -> None:
        """Everybody is told then: also who is not in the set. But who gets a reply gets no hint, which might come first
        and would pass for all there is."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            await stage.do(client, create("/a"))
            for number in range(MAX_WATCHERS):
                await register_watch(aws, stage.service, "/a", WATCH_DATA, f"gone{number}")
            watchers = [await stage.gateway() for _ in range(3)]
            item = await register_watch(aws, stage.service, "/a", WATCH_DATA, watchers[0].id)
            assert EVERYBODY in item.watchers(WATCH_DATA)
            assert len(item.watchers(WATCH_DATA)) == MAX_WATCHERS + 1
            await stage.send(client.gateway, (client, SetData("/a", b"x")))
            notifier = Notifier(aws, stage)
            await stage.drain(stage.sequencer(notifier, "the-notifier") if with_notifier else stage.sequencer())
            await self.all_told(stage, watchers)
            assert [bool(reply.outcomes) for reply in await stage.everything(client.gateway)] == [True]
            assert not (await stage.item("/a")).watchers(WATCH_DATA)

        run(scenario())

    def test_more_events_than_a_message_carries(self, aws: BotoAws) -> None:
        """Names of three bytes a character: what looks small is large when it is escaped."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            watchers = [await stage.gateway() for _ in range(11)]
            paths = [f"/{'広' * 300}{index}" for index in range(80)]
            for path in paths:
                for gateway in watchers:
                    await register_watch(aws, stage.service, path, WATCH_DATA, gateway.id)
            notifier = Notifier(aws, stage)
            await stage.send(client.gateway, *((client, create(path)) for path in paths))
            await stage.drain(stage.sequencer(notifier, "the-notifier"))
            for gateway in watchers:
                seen = 0
                for reply in await stage.everything(gateway):
                    seen = max(seen, reply.zxid)
                assert seen == (await stage.head()).zxid
            assert [event.path for event in await stage.events()] == paths

        run(scenario())

    async def all_told(self, stage: Stage, watchers: list[Gateway]) -> None:
        for gateway in watchers:
            (hint,) = await stage.replies(gateway, 1)
            assert hint.zxid == (await stage.head()).zxid
            assert hint.events is not None
            assert [(event.path, event.kind) for event in hint.events] == [("/a", EventKind.DATA)]


class Notifier:
    """Calls of Lambda go to the notifier's code, with the limit of an asynchronous invocation."""

    def __init__(self, aws: Aws, stage: Stage) -> None:
        self._aws = aws
        self._stage = stage
        self.invoked = 0

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        if service != "lambda":
            return await self._aws.call(service, operation, **parameters)
        assert (operation, parameters["InvocationType"]) == ("invoke", "Event")
        payload = parameters["Payload"]
        assert len(payload) <= 256 * 1024
        event = json.loads(payload)
        decode_reply(event["message"])
        self.invoked += 1
        await notify(self._aws, self._stage.service, event["message"], event["gateways"], event["told"])
        return {"StatusCode": 202}


class TestFounding:
    def test_two_instances_found_a_service_at_once(self, aws: BotoAws) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            gateway = await stage.gateway()
            await stage.send(gateway, (Principal(1, 1, b"nobody"), CloseSession()))
            records = await stage.receive()
            await asyncio.gather(*(stage.sequencer().invoke(records) for _ in range(3)))
            head = await stage.head()
            assert head.zxid == 1, "the request was applied once, and failed"
            assert await stage.children("/") == ["zookeeper"]
            assert await stage.children("/zookeeper") == ["config", "quota"]

        run(scenario())


class TestVersions:
    @pytest.mark.parametrize("version", [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1])
    def test_who_speaks_another_is_told_and_holds_up_nobody(self, aws: BotoAws, version: int) -> None:
        """Whatever the message looks like otherwise: only ``v`` and ``gateway`` are known of another version."""

        async def scenario() -> None:
            stage = await Stage.create(aws)
            client, other = await stage.client(), await stage.gateway()
            await stage.send_raw(json.dumps({"v": version, "gateway": other.id, "wishes": {}}))
            await stage.send_raw(json.dumps({"v": version, "gateway": ""}))
            (outcome,) = await stage.do(client, create("/a"))
            assert outcome.code is Code.OK
            with pytest.raises(IncompatibleVersion, match=f"speaks protocol version {version}, the service"):
                await stage.replies(other, 1)
            assert await stage.quarantined() == []

        run(scenario())

    @pytest.mark.parametrize("version", [0, 2])
    def test_nothing_is_committed_to_tables_of_another(self, aws: BotoAws, version: int) -> None:
        async def scenario() -> None:
            stage = await Stage.create(aws)
            client = await stage.client()
            key = {"TableName": stage.service.ledger, "Key": head_key().attributes}

            async def set_version(number: int) -> None:
                await aws.call(
                    "dynamodb",
                    "update_item",
                    UpdateExpression="SET version = :version",
                    ExpressionAttributeValues={":version": {"N": str(number)}},
                    **key,
                )

            await set_version(version)
            (number,) = await stage.send(client.gateway, (client, create("/a")))
            with pytest.raises(IncompatibleVersion, match=f"has data version {version}, this software 1"):
                await stage.sequencer().invoke(await stage.receive())
            assert await stage.node("/a") is None
            await set_version(1)
            await stage.drain()
            assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.OK

        run(scenario())
