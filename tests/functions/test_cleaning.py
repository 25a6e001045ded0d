"""What the janitor removes, what it leaves, and that nothing it meets half way is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from faaskeeper.blocks.attributes import get_number, get_set, number, string
from faaskeeper.blocks.aws import Aws, Response
from faaskeeper.blocks.blobs import write_blob
from faaskeeper.blocks.errors import AccessDenied
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.primitives import TimedLock
from faaskeeper.blocks.queues import list_receivers
from faaskeeper.functions.janitor import janitor
from faaskeeper.functions.janitor.chores import CANDIDATES_PER_STEP
from faaskeeper.functions.janitor.janitor import Janitor
from faaskeeper.storage.keys import candidate_key, head_key, janitor_key, node_key, session_key
from faaskeeper.storage.ledger import raise_floor, read_head
from faaskeeper.storage.sessions import beat, read_gateway
from faaskeeper.storage.znode_blobs import data_key
from faaskeeper.storage.znodes import WATCH_CHILD, WATCH_DATA, WATCH_STAY, read_node, register_watch, unregister_watch
from faaskeeper.znode.model import Blob
from faaskeeper.znode.operations import Delete, SetData, WatchSubtree

from .world import CONTAINER, DAY, HOUR, MINUTE, TTL, World, create, run


class Between:
    """The seam, where something happens after the answer to one operation was made and before it arrives."""

    def __init__(
        self, aws: Aws, operation: str, happens: Callable[[], Awaitable[object]], table: str | None = None
    ) -> None:
        self.happened = False
        self._aws = aws
        self._operation = operation
        self._happens = happens
        self._table = table

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        response = await self._aws.call(service, operation, **parameters)
        meant = operation == self._operation and self._table in (None, parameters.get("TableName"))
        if meant and not self.happened:
            self.happened = True
            await self._happens()
        return response


class Pricing:
    """The seam, where a page of a scan costs ``units``."""

    def __init__(self, aws: Aws, units: float) -> None:
        self._aws = aws
        self._units = units

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        response = await self._aws.call(service, operation, **parameters)
        if operation == "scan":
            response["ConsumedCapacity"] = {"CapacityUnits": self._units}
        return response


class Counting:
    def __init__(self, aws: Aws, refused: str = "") -> None:
        self.calls: list[str] = []
        self._aws = aws
        self._refused = refused

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        self.calls.append(operation)
        if operation == self._refused:
            raise AccessDenied(service, operation, "AccessDenied")
        return await self._aws.call(service, operation, **parameters)


async def exists(world: World, path: str) -> bool:
    return (await read_node(world.aws, world.service, path)).znode is not None


async def candidates(world: World) -> int:
    return len(await world.items("ledger", "due"))


class TestContainers:
    def test_one_that_lost_its_last_child_goes(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/locks", flags=CONTAINER), create("/locks/a"), create("/locks/b"))
            await world.commit(Delete("/locks/a"))
            await world.clean()
            assert await exists(world, "/locks")
            await world.commit(Delete("/locks/b"))
            await world.clean()
            assert not await exists(world, "/locks")
            await world.clean()
            assert await candidates(world) == 0

        run(work())

    def test_one_that_never_had_a_child_stays(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/locks", flags=CONTAINER))
            assert await candidates(world) == 0
            await world.hourly(3)
            assert await exists(world, "/locks")

        run(work())

    def test_one_that_gets_a_child_before_its_turn_stays_until_that_is_gone(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/locks", flags=CONTAINER), create("/locks/a"), Delete("/locks/a"))
            await world.send(create("/locks/b"))
            await world.clean()
            assert await exists(world, "/locks/b")
            await world.clean()
            assert await candidates(world) == 0
            await world.commit(Delete("/locks/b"))
            await world.clean()
            assert not await exists(world, "/locks")

        run(work())

    def test_a_child_that_comes_and_goes_while_the_janitor_looks_leaves_it_due(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/locks", flags=CONTAINER), create("/locks/a"), Delete("/locks/a"))
            await world.commit(create("/locks/b"))

            async def happens() -> None:
                await world.commit(Delete("/locks/b"))

            # it saw a container with a child, so it takes out the candidate: but not the one that came since
            await world.clean(Between(world.aws, "batch_get_item", happens))
            assert await exists(world, "/locks")
            await world.clean()
            assert not await exists(world, "/locks")

        run(work())

    def test_it_is_asked_for_again_if_the_sequencer_did_not_come_to_it(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/locks", flags=CONTAINER), create("/locks/a"), Delete("/locks/a"))
            await world.janitor().run(30)
            await world.drop_requests()
            await world.clean()
            assert not await exists(world, "/locks")

        run(work())

    def test_nested_containers_go_one_after_the_other(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a", flags=CONTAINER), create("/a/b", flags=CONTAINER), create("/a/b/c"))
            await world.commit(Delete("/a/b/c"))
            await world.clean()
            await world.clean()
            assert not await exists(world, "/a/b")
            assert not await exists(world, "/a")

        run(work())

    def test_paths_longer_than_a_key(self, world: World) -> None:
        path = "/" + "long" * 700

        async def work() -> None:
            await world.commit(create(path, flags=CONTAINER), create(f"{path}/a"), Delete(f"{path}/a"))
            await world.clean()
            assert not await exists(world, path)

        run(work())

    def test_more_than_one_look_takes(self, world: World) -> None:
        names = [f"/c{index}" for index in range(CANDIDATES_PER_STEP + 20)]

        async def work() -> None:
            for name in names:
                await world.send(create(name, flags=CONTAINER), create(f"{name}/x"), Delete(f"{name}/x"))
            await world.sequence()
            assert await candidates(world) == len(names)
            await world.clean()
            await world.clean()
            assert await candidates(world) == 0
            assert (await read_node(world.aws, world.service, "/")).znode.children == 1  # type: ignore[union-attr]

        run(work())


class TestTtl:
    def test_it_goes_when_its_time_has_passed(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/ttl", flags=TTL, ttl=5 * MINUTE))
            world.now += 4 * MINUTE
            await world.clean()
            assert await exists(world, "/ttl")
            world.now += 2 * MINUTE
            await world.clean()
            assert not await exists(world, "/ttl")

        run(work())

    def test_new_data_gives_it_all_its_time_again(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/ttl", flags=TTL, ttl=5 * MINUTE))
            world.now += 4 * MINUTE
            await world.commit(SetData("/ttl", b"alive"))
            assert await candidates(world) == 1
            world.now += 4 * MINUTE
            await world.clean()
            assert await exists(world, "/ttl")
            assert await candidates(world) == 1
            world.now += 2 * MINUTE
            await world.clean()
            assert not await exists(world, "/ttl")

        run(work())

    def test_it_stays_while_it_has_children(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/ttl", flags=TTL, ttl=5 * MINUTE), create("/ttl/child"))
            world.now += HOUR
            await world.clean()
            assert await exists(world, "/ttl")
            await world.commit(Delete("/ttl/child"))
            await world.clean()
            assert not await exists(world, "/ttl")

        run(work())

    def test_data_that_comes_before_its_turn_keeps_it(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/ttl", flags=TTL, ttl=5 * MINUTE))
            world.now += 6 * MINUTE
            await world.send(SetData("/ttl", b"just in time"))
            await world.clean()
            assert await exists(world, "/ttl")

        run(work())

    def test_long_lives_are_kept_with_a_look_a_day(self, world: World) -> None:
        async def work() -> None:
            for path in ("/years", "/deleted"):
                await world.commit(create(path, flags=TTL, ttl=1000 * DAY))
            await world.commit(Delete("/deleted"))
            await world.hourly(3)
            assert not await world.item(node_key("/deleted"))
            for _ in range(3):
                world.now += DAY + MINUTE
                await world.clean()
                assert await candidates(world) == 1
                assert await exists(world, "/years")

        run(work())

    def test_one_that_is_made_anew_has_a_time_of_its_own(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/ttl", flags=TTL, ttl=5 * MINUTE))
            world.now += 4 * MINUTE
            await world.commit(Delete("/ttl"), create("/ttl", flags=TTL, ttl=30 * MINUTE))
            world.now += 20 * MINUTE
            await world.clean()
            assert await exists(world, "/ttl")
            world.now += 20 * MINUTE
            await world.clean()
            assert not await exists(world, "/ttl")

        run(work())


def test_a_marker_that_is_visible_before_its_znode_waits(world: World) -> None:
    """A query can see one half of a transaction that is being committed."""

    async def work() -> None:
        head = await read_head(world.aws, world.service)
        assert head is not None
        candidate = candidate_key(0, "/locks").attributes | {"zxid": number(head.zxid + 1)}
        await world.aws.call("dynamodb", "put_item", TableName=world.service.ledger, Item=candidate)
        await world.clean()
        assert await candidates(world) == 1
        await world.commit(create("/locks", flags=CONTAINER), create("/locks/a"), Delete("/locks/a"))
        await world.hourly(2)
        assert not await exists(world, "/locks")
        assert await candidates(world) == 0

    run(work())


def test_nothing_is_paid_where_there_are_no_such_znodes(world: World) -> None:
    async def work() -> None:
        await world.hourly(1)
        await world.commit(create("/plain"), create("/plain/child"), Delete("/plain/child"))
        assert await candidates(world) == 0
        head = await read_head(world.aws, world.service)
        assert head is not None
        assert {key.table for key in head.keys} == {"znodes"}
        counting = Counting(world.aws)
        await world.janitor(counting).run(30)
        assert counting.calls == ["get_item", "query"]

    run(work())


class TestLeftovers:
    async def scan_and_then(self, world: World, happens: Callable[[], Awaitable[object]]) -> None:
        between = Between(world.aws, "scan", happens, world.service.znodes)
        await world.clean(between)
        assert between.happened

    def test_a_tombstone_stays_while_anybody_may_be_behind_it(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a"), Delete("/a"))
            await world.hourly(1)
            assert (await read_node(world.aws, world.service, "/a")).zxid > 0
            await world.hourly(1)
            assert not await world.item(node_key("/a"))

        run(work())

    def test_what_is_made_anew_meanwhile_stays(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a"), Delete("/a"), create("/b"), Delete("/b"))
            await world.hourly(1)
            world.now += HOUR
            await self.scan_and_then(world, lambda: world.commit(create("/a", b"again")))
            assert await exists(world, "/a")
            node = await read_node(world.aws, world.service, "/a")
            assert node.znode is not None
            assert node.znode.data == b"again"

        run(work())

    def test_what_is_made_anew_over_a_tombstone_that_went_is_whole(self, world: World) -> None:
        """The sequencer has loaded the tombstone, and it is gone when it commits."""
        path = "/" + "long" * 700

        async def work() -> None:
            await world.commit(create(path), Delete(path))
            await world.hourly(1)
            before = await world.item(node_key(path))
            assert before
            await world.send(create(path, b"again"))
            world.now += HOUR

            async def happens() -> None:
                await world.janitor().run(30)
                assert not await world.item(node_key(path))

            await world.sequence(Between(world.aws, "batch_get_item", happens))
            item = await world.item(node_key(path))
            assert item["full"] == string(path)
            assert await exists(world, path)

        run(work())

    @pytest.mark.parametrize("watch", [WATCH_DATA, WATCH_CHILD, WATCH_STAY])
    def test_a_watch_that_is_set_meanwhile_stays(self, world: World, watch: str) -> None:
        async def work() -> None:
            await world.commit(create("/a"), Delete("/a"))
            await world.hourly(1)
            world.now += HOUR
            await self.scan_and_then(world, lambda: register_watch(world.aws, world.service, "/a", watch, "home"))
            assert (await read_node(world.aws, world.service, "/a")).watchers(watch) == {"home"}

        run(work())

    def test_placeholders_go_when_nobody_watches_any_more(self, world: World) -> None:
        async def work() -> None:
            for path in ("/watched", "/left"):
                await register_watch(world.aws, world.service, path, WATCH_DATA, "home")
            await unregister_watch(world.aws, world.service, "/left", WATCH_DATA, "home")
            assert await world.items("znodes", "/left")
            await world.hourly(1)
            assert not await world.items("znodes", "/left")
            assert (await read_node(world.aws, world.service, "/watched")).watchers(WATCH_DATA) == {"home"}

        run(work())

    def test_watches_of_gateways_that_are_gone_go(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/node", b"stays"), create("/fired"))
            for path in ("/node", "/missing", "/fired"):
                await register_watch(world.aws, world.service, path, WATCH_DATA, "gone")
                await register_watch(world.aws, world.service, path, WATCH_STAY, "gone")
            for member in ("home", EVERYBODY):
                await register_watch(world.aws, world.service, "/node", WATCH_STAY, member)
            await world.commit(SetData("/fired", b"fires"))
            assert get_set(await world.item(node_key("/fired")), "fired_data") == {"gone"}
            await world.hourly(1)
            node = await read_node(world.aws, world.service, "/node")
            assert node.watchers(WATCH_DATA) == frozenset()
            assert node.watchers(WATCH_STAY) == {"home", EVERYBODY}
            assert node.znode is not None
            assert node.znode.data == b"stays"
            assert not await world.item(node_key("/missing"))
            assert "fired_data" not in await world.item(node_key("/fired"))

        run(work())

    def test_an_item_that_goes_meanwhile_is_not_made_anew(self, world: World) -> None:
        async def work() -> None:
            await register_watch(world.aws, world.service, "/a", WATCH_DATA, "gone")

            async def happens() -> None:
                key = node_key("/a").attributes
                await world.aws.call("dynamodb", "delete_item", TableName=world.service.znodes, Key=key)

            await world.hourly(1)
            await register_watch(world.aws, world.service, "/a", WATCH_DATA, "gone")
            world.now += 7 * DAY
            await self.scan_and_then(world, happens)
            assert await world.items("znodes", "/a") == []

        run(work())

    def test_a_table_of_many_pages_is_gone_through_by_many_runs(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(janitor, "_PAUSE_SECONDS", 0)

        async def work() -> None:
            for index in range(8):
                await world.commit(create(f"/n{index}", bytes(300_000)), create(f"/gone{index}"))
                await world.commit(Delete(f"/gone{index}"))
            await world.hourly(1)
            world.now += HOUR
            await world.janitor().run(0)  # it looks what there is to do, and has no time to do it
            assert len(await self.tombstones(world)) == 8
            await world.clean()
            assert await self.tombstones(world) == []

        run(work())

    async def tombstones(self, world: World) -> list[str]:
        found: list[str] = []
        for index in range(8):
            if await world.item(node_key(f"/gone{index}")):
                found.append(f"/gone{index}")
        return found

    def test_a_large_table_is_not_gone_through_for_a_few_operations(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a"), Delete("/a"))
            await world.hourly(1)
            world.now += HOUR
            await world.clean(Pricing(world.aws, 100.0))
            assert not await world.item(node_key("/a"))
            await world.commit(create("/b"), Delete("/b"))
            await world.hourly(3)
            assert await world.item(node_key("/b"))
            world.now += 7 * DAY
            await world.clean()
            assert not await world.item(node_key("/b"))

        run(work())

    def test_it_is_when_there_were_enough(self, world: World) -> None:
        async def work() -> None:
            await world.clean(Pricing(world.aws, 100.0))
            await world.commit(*(operation for _ in range(50) for operation in (create("/a"), Delete("/a"))))
            await world.hourly(2)
            assert not await world.item(node_key("/a"))

        run(work())


class TestFloor:
    def test_it_follows_an_hour_behind_and_never_sinks(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a"))
            seen = await read_head(world.aws, world.service)
            assert seen is not None
            await world.clean()
            world.now += 59 * MINUTE
            await world.commit(create("/b"))
            await world.clean()
            assert get_number(await world.item(head_key()), "floor") == 0
            world.now += MINUTE
            await world.clean()
            assert get_number(await world.item(head_key()), "floor") == seen.zxid
            await world.hourly(1)
            assert get_number(await world.item(head_key()), "floor") == seen.zxid + 1
            await world.hourly(3)
            await raise_floor(world.aws, world.service, seen.zxid)
            assert get_number(await world.item(head_key()), "floor") == seen.zxid + 1

        run(work())

    def test_it_passes_records_of_events_before_they_expire(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a"))
            await register_watch(world.aws, world.service, "/a", WATCH_DATA, "home")
            await world.commit(SetData("/a", b"fires"))
            (record,) = await world.items("ledger", "event")
            zxid = int(record["sk"]["S"].partition("#")[0])
            await world.hourly(2)
            head = await read_head(world.aws, world.service)
            assert head is not None
            assert head.floor >= zxid
            assert get_number(record, "expires") * 1000 > world.now

        run(work())


class TestBlobs:
    async def keys(self, world: World) -> set[str]:
        listed = await world.aws.call("s3", "list_objects_v2", Bucket=world.service.blobs)
        return {each["Key"] for each in listed.get("Contents", [])}

    async def put(self, world: World, name: str) -> Blob:
        key = data_key(world.service, "home", ord(name))
        await write_blob(world.aws, world.service, key, b"data")
        return Blob(key, 4)

    def test_what_no_znode_holds_goes_when_it_is_old(self, world: World) -> None:
        async def work() -> None:
            held, replaced, deleted, refused, new = [await self.put(world, name) for name in "abcde"]
            foreign = f"blobs/{world.service.name}2/home/x"
            await write_blob(world.aws, world.service, foreign, b"of a service that shares the bucket")
            await world.commit(create("/held", held), create("/set", replaced), create("/deleted", deleted))
            await world.commit(SetData("/set", new), Delete("/deleted"), create("/held", refused))
            everything = {blob.key for blob in (held, replaced, deleted, refused, new)}
            world.now += 2 * HOUR
            await world.clean()
            assert await self.keys(world) == everything | {foreign}
            world.now += DAY
            await world.clean()
            assert await self.keys(world) == {held.key, new.key, foreign}

        run(work())

    def test_what_a_znode_comes_to_hold_meanwhile_stays(self, world: World) -> None:
        async def work() -> None:
            blob = await self.put(world, "a")
            world.now += DAY
            await world.clean(Between(world.aws, "list_objects_v2", lambda: world.commit(create("/a", blob))))
            assert await self.keys(world) == {blob.key}

        run(work())

    def test_data_that_becomes_small_again_frees_its_blob(self, world: World) -> None:
        async def work() -> None:
            blob = await self.put(world, "a")
            await world.commit(create("/a", blob))
            assert len(await world.items("ledger", "blob")) == 1
            await world.commit(SetData("/a", b"small"))
            assert await world.items("ledger", "blob") == []
            await world.commit(create("/b"), SetData("/b", await self.put(world, "b")), Delete("/b"))
            assert await world.items("ledger", "blob") == []
            world.now += 4 * HOUR
            await world.clean()
            assert await self.keys(world) == set()

        run(work())

    def test_nothing_goes_while_a_transaction_is_half_done(self, world: World) -> None:
        async def work() -> None:
            orphan = await self.put(world, "a")
            await self.journal(world, "SET journal = :journal", {":journal": string("journal/1")})
            world.now += 4 * HOUR
            await world.janitor().run(30)
            assert await self.keys(world) == {orphan.key}
            await self.journal(world, "REMOVE journal", None)
            world.now += MINUTE
            await world.janitor().run(30)
            assert await self.keys(world) == set()

        run(work())

    async def journal(self, world: World, update: str, values: Any) -> None:
        await world.aws.call(
            "dynamodb",
            "update_item",
            TableName=world.service.ledger,
            Key=head_key().attributes,
            UpdateExpression=update,
            **({"ExpressionAttributeValues": values} if values else {}),
        )


class TestGateways:
    def test_one_whose_timers_were_lost_is_found_and_ended_without_a_trace(self, world: World) -> None:
        async def work() -> None:
            await world.gateway("lost", session=2)
            await world.commit(create("/mine", flags=1), session=2, gateway="lost")
            await register_watch(world.aws, world.service, "/", WATCH_CHILD, "lost")
            await world.commit(WatchSubtree("/", "lost"), session=0, gateway="lost")
            await world.hourly(1)
            assert await world.timers(wait=5) == 1  # the gateway's
            assert await world.timers(wait=5) == 1  # its session's
            assert not await exists(world, "/mine")
            assert not await world.item(session_key(2))
            assert "lost" in await list_receivers(world.aws, world.service)

            await world.hourly(1)
            await world.timers(wait=5)
            assert await read_gateway(world.aws, world.service, "lost") is None
            assert await list_receivers(world.aws, world.service) == {"home"}
            assert await world.items("ledger", "subtree") == []
            assert not (await read_node(world.aws, world.service, "/")).watchers(WATCH_CHILD)

        run(work())

    def test_one_that_beats_lives_on(self, world: World) -> None:
        async def work() -> None:
            await world.gateway("alive", session=2)
            await world.hourly(1)
            assert await beat(world.aws, world.service, "alive", 2, 1000)
            assert await world.timers(wait=5) == 1
            gateway = await read_gateway(world.aws, world.service, "alive")
            assert gateway is not None
            assert gateway.alive
            assert await world.item(session_key(2))
            assert await world.timers(wait=5) == 1  # the chain goes on

        run(work())

    def test_a_timer_too_many_ends_where_the_chain_lives(self, world: World) -> None:
        async def work() -> None:
            await world.gateway("alive", session=2)
            await world.hourly(2)
            for beaten in range(2, 5):
                assert await beat(world.aws, world.service, "alive", beaten, 1000)
                await asyncio.sleep(1.1)  # for as long as SQS holds them
                await world.timers(wait=1)
            assert await beat(world.aws, world.service, "alive", 5, 1000)
            assert await world.timers(wait=5) == 1

        run(work())

    def test_queues_without_a_gateway_go_when_they_are_old(self, world: World) -> None:
        async def work() -> None:
            await world.aws.call("sqs", "create_queue", QueueName=f"{world.service.reply_prefix}starting")
            await world.clean()
            assert await list_receivers(world.aws, world.service) == {"home", "starting"}
            await world.hourly(2)
            assert await list_receivers(world.aws, world.service) == {"home"}

        run(work())


class TestRuns:
    def test_one_janitor_works_at_a_time(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(janitor, "PATIENCE_SECONDS", 0.2)

        async def work() -> None:
            await world.commit(create("/a", flags=CONTAINER), create("/a/b"), Delete("/a/b"))
            lock = TimedLock(world.aws, world.service.ledger, janitor_key("lock").attributes)
            async with lock.held("another", 30):
                await world.clean()
                assert await exists(world, "/a")
            await world.clean()
            assert not await exists(world, "/a")

        run(work())

    def test_a_dead_janitor_is_outlived_within_a_run(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(janitor, "PATIENCE_SECONDS", 3.0)

        async def work() -> None:
            await world.commit(create("/a", flags=CONTAINER), create("/a/b"), Delete("/a/b"))
            await TimedLock(world.aws, world.service.ledger, janitor_key("lock").attributes).acquire("dead", 0.5)
            await world.clean()
            assert not await exists(world, "/a")

        run(work())

    def test_one_that_was_overtaken_does_not_turn_back_what_others_noted(self, world: World) -> None:
        async def work() -> None:
            world.now += HOUR
            janitor = world.janitor()
            slow = Between(world.aws, "list_queues", lambda: self.overtake(world, janitor))
            await world.janitor(slow).run(30)
            after = await world.item(janitor_key("progress"))
            assert get_number(after, "value_version") == 1

        run(work())

    async def overtake(self, world: World, janitor: Janitor) -> None:
        await world.aws.call(
            "dynamodb",
            "delete_item",
            TableName=world.service.ledger,
            Key=janitor_key("lock").attributes,
        )
        await janitor.run(30)

    def test_a_chore_that_fails_does_not_keep_the_others_from_being_done(self, world: World) -> None:
        async def work() -> None:
            await world.commit(create("/a"), Delete("/a"))
            await world.hourly(1)
            world.now += HOUR
            with pytest.raises(AccessDenied):
                await world.janitor(Counting(world.aws, refused="list_queues")).run(30)
            assert not await world.item(node_key("/a"))
            await world.aws.call("sqs", "create_queue", QueueName=f"{world.service.reply_prefix}gone")
            await world.clean()  # takes up what had failed, though the hour has not passed
            assert await list_receivers(world.aws, world.service) == {"home"}

        run(work())

    def test_a_service_that_was_never_used_is_looked_at_once_an_hour(self, world: World) -> None:
        async def work() -> None:
            await world.aws.call("dynamodb", "delete_item", TableName=world.service.ledger, Key=head_key().attributes)
            await world.hourly(1)
            counting = Counting(world.aws)
            world.now += 30 * MINUTE
            await world.janitor(counting).run(30)
            assert counting.calls == ["get_item", "query"]

        run(work())
