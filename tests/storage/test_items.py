"""How znodes, values, edges, watch sets and events are kept, on both emulators."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from faaskeeper.blocks.attributes import item_size, number
from faaskeeper.blocks.aws import BotoAws
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.transactions import Position
from faaskeeper.protocol.changes import Changes, digest
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import MAX_TRANSACTION_ITEMS, Plan, plan, transaction
from faaskeeper.storage.keys import (
    KEY_NAMES,
    Key,
    child_key,
    ephemeral_key,
    head_key,
    node_key,
    pack_key,
    unpack_key,
    value_key,
)
from faaskeeper.storage.lanes import MAX_LANES, Lane, Lanes
from faaskeeper.storage.ledger import Head, Subtrees, confirm_complete, event_records, head_of, read_events, read_head
from faaskeeper.storage.loading import Snapshot, Wanted, load
from faaskeeper.storage.sessions import list_ephemerals, read_session
from faaskeeper.storage.znodes import (
    MAX_WATCHERS,
    WATCH_CHILD,
    WATCH_DATA,
    read_children,
    read_node,
    read_node_and_value,
    read_value,
    register_watch,
    unregister_watch,
)
from faaskeeper.znode.children import add_child
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl, Blob, Event, EventKind, Session, Stored, Znode, ZnodeKind
from faaskeeper.znode.operations import Outcome
from faaskeeper.znode.state import State

from .conftest import CloudSession

T = TypeVar("T")

LONG = "/" + "/".join("n" * 100 for _ in range(30))
"""Above 2,048 bytes: a partition key by digest."""
WIDE = "/" + "名" * 900
"""2,701 bytes in 901 characters."""
PATHS = ["/a", "/a b", "/…", LONG, WIDE]


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


@pytest.fixture
def service(session: CloudSession, aws: BotoAws) -> Iterator[Service]:
    """Tables of its own, and nothing else."""
    name = f"t{uuid4().hex[:12]}"
    client: Any = session.client("dynamodb")
    for table, keys in KEY_NAMES.items():
        client.create_table(
            TableName=f"{name}-{table}",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=True)
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    tables = {table: f"{name}-{table}" for table in KEY_NAMES}
    yield Service(
        name, "us-east-1", **tables, blobs="", requests="", timers="", dead_letters="", reply_prefix=f"{name}-"
    )
    for table in tables.values():
        client.delete_table(TableName=table)


def znode(made: int, **fields: Any) -> Znode:
    """As it was at zxid ``made``, but for ``fields``."""
    return Znode(**({"czxid": made, "mzxid": made, "pzxid": made, "zxid": made, "ctime": 5, "mtime": 6} | fields))


class Writer:
    """Commits states one after the other, as the sequencer does."""

    def __init__(self, aws: BotoAws, service: Service) -> None:
        self.aws = aws
        self.service = service
        self.head: Head | None = None
        self.plan = Plan()

    async def commit(
        self,
        nodes: dict[str, Znode | None] | None = None,
        sessions: dict[int, Session | None] | None = None,
        events: tuple[Event, ...] = (),
        zxid: int | None = None,
    ) -> Head:
        """``nodes`` and ``sessions`` as they shall be, whatever they are."""
        snapshot = Snapshot()
        wanted = Wanted(frozenset(nodes or {}), frozenset(sessions or {}))
        await load(self.aws, self.service, wanted, snapshot)
        state = snapshot.state()
        for path, node in (nodes or {}).items():
            state.put(path, node)
        for id, session in (sessions or {}).items():
            state.put_session(id, session)
        base = self.head.zxid if self.head else 0
        zxid = zxid or base + 1
        self.plan = plan(self.service, state, snapshot, events, Subtrees(), zxid, 1_000)
        outcomes = (("gateway", 1, Outcome(Code.OK, zxid, path="/…")),)
        head = Head(zxid, base, tuple(self.plan.keys), Position(10**30 + zxid, 7), outcomes, detached=(("g", -5, 2),))
        await self.aws.call(
            "dynamodb",
            "transact_write_items",
            TransactItems=transaction(self.service, self.plan, self.head, head),
        )
        self.head = head
        return head


@pytest.fixture
def writer(aws: BotoAws, service: Service) -> Writer:
    return Writer(aws, service)


class TestZnodes:
    @pytest.mark.parametrize(
        "node",
        [
            znode(3),
            znode(3, data=b""),
            znode(3, data=b"\0\xff" * 512),
            znode(3, version=-(2**31), creates=2**31 - 1, aversion=-1, children=7, children_sum=2**64 - 1),
            znode(3, acl=(Acl(1, "digest", "user:hash"), Acl(-1, "ip", "…"))),
            znode(3, owner=-(2**62)),
            znode(3, kind=ZnodeKind.CONTAINER),
            znode(3, kind=ZnodeKind.TTL, ttl=2**40 - 1),
        ],
        ids=["null", "empty", "inline", "numbers", "acl", "owner", "container", "ttl"],
    )
    def test_a_round_trip(self, writer: Writer, node: Znode) -> None:
        """At paths of all kinds at once."""

        async def scenario() -> None:
            await writer.commit(dict.fromkeys(PATHS, node))
            for path in PATHS:
                item = await read_node(writer.aws, writer.service, path)
                assert item.znode == node
                assert item.zxid == 3
                assert not item.has_value

        run(scenario())

    def test_data_in_the_bucket(self, writer: Writer) -> None:
        async def scenario() -> None:
            nodes = {path: znode(3, data=Blob(f"blobs/{index}", 900_000)) for index, path in enumerate(PATHS)}
            await writer.commit({**nodes})
            for path, node in nodes.items():
                assert (await read_node(writer.aws, writer.service, path)).znode == node

        run(scenario())

    def test_a_tombstone_and_a_new_life(self, writer: Writer) -> None:
        async def scenario() -> None:
            await writer.commit({"/a": znode(1, data=b"x", owner=5, acl=(Acl(1, "world", "anyone"),))})
            await writer.commit({"/a": None})
            item = await read_node(writer.aws, writer.service, "/a")
            assert (item.znode, item.zxid) == (None, 2)
            assert await list_ephemerals(writer.aws, writer.service, 5) == []
            await writer.commit({"/a": znode(3)})
            item = await read_node(writer.aws, writer.service, "/a")
            assert item.znode == znode(3)
            assert "deleted" not in item.attributes

        run(scenario())

    def test_what_was_never_there(self, writer: Writer) -> None:
        async def scenario() -> None:
            item = await read_node(writer.aws, writer.service, "/none")
            assert (item.znode, item.zxid) == (None, 0)
            listing = await read_children(writer.aws, writer.service, "/none")
            assert listing is not None
            assert (listing.node.znode, listing.names) == (None, ())

        run(scenario())


class TestValues:
    @pytest.mark.parametrize("path", ["/a", LONG], ids=["short", "long"])
    def test_data_beside_the_node(self, writer: Writer, path: str) -> None:
        async def scenario() -> None:
            data = b"v" * 5000
            await writer.commit({path: znode(1, data=data)})
            item, value = await read_node_and_value(writer.aws, writer.service, path)
            assert value == data
            assert item.has_value
            assert item.znode == znode(1, data=Stored(5000))
            assert await read_value(writer.aws, writer.service, item) == data

        run(scenario())

    def test_only_a_write_of_data_touches_it(self, writer: Writer) -> None:
        async def scenario() -> None:
            await writer.commit({"/a": znode(1, data=b"v" * 5000)})
            await writer.commit({"/a": znode(1, data=Stored(5000), pzxid=2, zxid=2, children=1)})
            assert value_key("/a") not in writer.plan.keys
            _, value = await read_node_and_value(writer.aws, writer.service, "/a")
            assert value == b"v" * 5000

        run(scenario())

    @pytest.mark.parametrize("after", [None, b"", b"small", Blob("blobs/x", 70_000)], ids=str)
    def test_it_goes_when_the_data_goes_elsewhere(self, writer: Writer, after: Any) -> None:
        async def scenario() -> None:
            await writer.commit({"/a": znode(1, data=b"v" * 5000)})
            await writer.commit({"/a": znode(1, mzxid=2, zxid=2, data=after)})
            item, value = await read_node_and_value(writer.aws, writer.service, "/a")
            assert value is None
            assert item.znode is not None
            assert item.znode.data == after
            assert value_key("/a") in writer.plan.keys

        run(scenario())

    def test_it_goes_with_the_node(self, writer: Writer) -> None:
        async def scenario() -> None:
            await writer.commit({"/a": znode(1, data=b"v" * 5000)})
            before = await read_node(writer.aws, writer.service, "/a")
            await writer.commit({"/a": None})
            assert await read_value(writer.aws, writer.service, before) is None
            await writer.commit({"/a": znode(3, data=b"")})
            item, value = await read_node_and_value(writer.aws, writer.service, "/a")
            assert (item.znode, value) == (znode(3, data=b""), None)

        run(scenario())

    def test_a_value_of_another_state_is_none(self, writer: Writer) -> None:
        """The node was read before, the value after a transaction became visible, or the other way round."""

        async def scenario() -> None:
            await writer.commit({"/a": znode(1, data=b"1" * 5000)})
            before = await read_node(writer.aws, writer.service, "/a")
            await writer.commit({"/a": znode(1, mzxid=2, zxid=2, data=b"2" * 5000)})
            assert await read_value(writer.aws, writer.service, before) is None
            await writer.aws.call(
                "dynamodb",
                "update_item",
                TableName=writer.service.znodes,
                Key=value_key("/a").attributes,
                UpdateExpression="SET mzxid = :other",
                ExpressionAttributeValues={":other": number(1)},
            )
            item, value = await read_node_and_value(writer.aws, writer.service, "/a")
            assert item.zxid == 2
            assert value is None

        run(scenario())


class TestChildren:
    @pytest.mark.parametrize("parent", ["/", "/a", LONG], ids=["root", "short", "long"])
    def test_names_of_any_length(self, writer: Writer, parent: str) -> None:
        async def scenario() -> None:
            names = ["a", "…", "n" * 1000, "m" * 1030, "名" * 400, "child#a", "%digest%"]
            prefix = parent.rstrip("/")
            total = 0
            for name in names:
                total = add_child(total, name, 1)
            nodes: dict[str, Znode | None] = {f"{prefix}/{name}": znode(1) for name in names}
            await writer.commit({parent: znode(1, children=len(names), children_sum=total), **nodes})
            listing = await read_children(writer.aws, writer.service, parent)
            assert listing is not None
            assert sorted(listing.names) == sorted(names)
            for path, node in nodes.items():
                assert (await read_node(writer.aws, writer.service, path)).znode == node

        run(scenario())

    def test_a_listing_that_is_of_no_state(self, writer: Writer) -> None:
        async def scenario() -> None:
            nodes: dict[str, Znode | None] = {"/p/a": znode(1), "/p/b": znode(1)}
            total = add_child(add_child(0, "a", 1), "b", 1)
            await writer.commit({"/p": znode(1, children=2, children_sum=total), **nodes})
            assert await read_children(writer.aws, writer.service, "/p") is not None

            async def edge(name: str, czxid: int | None) -> None:
                key = child_key(f"/p/{name}")
                if czxid is None:
                    await writer.aws.call(
                        "dynamodb", "delete_item", TableName=writer.service.znodes, Key=key.attributes
                    )
                else:
                    item = {**key.attributes, "czxid": number(czxid)}
                    await writer.aws.call("dynamodb", "put_item", TableName=writer.service.znodes, Item=item)

            async def torn() -> bool:
                return await read_children(writer.aws, writer.service, "/p") is None

            # one is not there yet
            await edge("a", None)
            assert await torn()
            # another is there already, so that the number is right
            await edge("c", 2)
            assert await torn()
            await edge("c", None)
            # it was deleted and made anew
            await edge("a", 2)
            assert await torn()
            await edge("a", 1)
            assert not await torn()

        run(scenario())

    def test_more_than_a_page(self, writer: Writer) -> None:
        """A Query ends at 1 MB."""

        async def scenario() -> None:
            names = [f"{number:04}{'n' * 900}" for number in range(1200)]
            total = 0
            for name in names:
                total = add_child(total, name, 1)
            for start in range(0, len(names), 25):
                await writer.aws.call(
                    "dynamodb",
                    "batch_write_item",
                    RequestItems={
                        writer.service.znodes: [
                            {"PutRequest": {"Item": {**child_key(f"/p/{name}").attributes, "czxid": number(1)}}}
                            for name in names[start : start + 25]
                        ]
                    },
                )
            await writer.commit({"/p": znode(1, children=len(names), children_sum=total)})
            listing = await read_children(writer.aws, writer.service, "/p")
            assert listing is not None
            assert sorted(listing.names) == names

        run(scenario())


class TestWatchSets:
    def test_registering_reads_what_it_watches(self, writer: Writer) -> None:
        async def scenario() -> None:
            await writer.commit({"/a": znode(1, data=b"x")})
            item = await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "one")
            assert item.znode == znode(1, data=b"x")
            item = await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "two")
            assert item.watchers(WATCH_DATA) == {"one", "two"}
            assert item.watchers(WATCH_CHILD) == frozenset()

        run(scenario())

    @pytest.mark.parametrize("path", PATHS, ids=["short", "space", "wide", "long", "long and wide"])
    def test_a_placeholder_becomes_a_znode(self, writer: Writer, path: str) -> None:
        async def scenario() -> None:
            item = await register_watch(writer.aws, writer.service, path, WATCH_DATA, "one")
            assert (item.znode, item.zxid) == (None, 0)
            await writer.commit({path: znode(1)}, events=(Event(1, path, EventKind.CREATED),))
            item = await read_node(writer.aws, writer.service, path)
            assert item.znode == znode(1)
            assert item.watchers("fired_data") == {"one"}
            assert item.watchers(WATCH_DATA) == frozenset()
            assert writer.plan.watched.sets == ((path, "fired_data"),)

        run(scenario())

    def test_one_too_many_stands_for_everybody(self, writer: Writer) -> None:
        async def scenario() -> None:
            for gateway in range(MAX_WATCHERS):
                await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, f"g{gateway}")
            # whoever is in it stays in it
            item = await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "g7")
            assert EVERYBODY not in item.watchers(WATCH_DATA)
            for gateway in range(5):
                item = await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, f"late{gateway}")
            assert EVERYBODY in item.watchers(WATCH_DATA)
            assert len(item.watchers(WATCH_DATA)) == MAX_WATCHERS + 1

        run(scenario())

    def test_leaving(self, writer: Writer) -> None:
        async def scenario() -> None:
            await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "one")
            await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "two")
            for _ in range(2):
                await unregister_watch(writer.aws, writer.service, "/a", WATCH_DATA, "one")
            item = await read_node(writer.aws, writer.service, "/a")
            assert item.watchers(WATCH_DATA) == {"two"}
            await unregister_watch(writer.aws, writer.service, "/a", WATCH_DATA, "two")
            # and an empty set is as one that never was: the next transaction finds it so
            await writer.commit({"/a": znode(1)}, events=(Event(1, "/a", EventKind.CREATED),))
            assert writer.plan.watched.events == ()

        run(scenario())

    def test_a_set_whose_last_member_left_meanwhile(self, writer: Writer) -> None:
        """Loaded in use, empty at the commit: that moves nothing and stops nothing."""

        async def scenario() -> None:
            await writer.commit({"/a": znode(1)})
            await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "one")
            snapshot = Snapshot()
            await load(writer.aws, writer.service, Wanted(frozenset({"/a"})), snapshot)
            state = snapshot.state()
            state.put("/a", znode(1, mzxid=2, zxid=2))
            events = (Event(2, "/a", EventKind.DATA),)
            planned = plan(writer.service, state, snapshot, events, Subtrees(), 2, 0)
            await unregister_watch(writer.aws, writer.service, "/a", WATCH_DATA, "one")
            head = Head(2, 1, tuple(planned.keys), Position(1, 0))
            await writer.aws.call(
                "dynamodb",
                "transact_write_items",
                TransactItems=transaction(writer.service, planned, writer.head, head),
            )
            item = await read_node(writer.aws, writer.service, "/a")
            assert item.watchers("fired_data") == frozenset()
            # and what is left of it is no watch
            item = await register_watch(writer.aws, writer.service, "/a", WATCH_DATA, "two")
            assert item.watchers(WATCH_DATA) == {"two"}

        run(scenario())


class TestSessions:
    @pytest.mark.parametrize("id", [1, -1, 2**63 - 1, -(2**63)])
    def test_a_round_trip(self, writer: Writer, id: int) -> None:
        async def scenario() -> None:
            await writer.aws.call(
                "dynamodb",
                "put_item",
                TableName=writer.service.sessions,
                Item={**Key("sessions", "gateway#g", "gateway").attributes, "beat": number(1)},
            )
            session = Session(b"\0" * 32, 4000, "g", 3)
            await writer.commit(sessions={id: session})
            assert await read_session(writer.aws, writer.service, id) == session
            await writer.commit(sessions={id: None})
            assert await read_session(writer.aws, writer.service, id) is None

        run(scenario())

    def test_ephemerals_of_any_path(self, writer: Writer) -> None:
        async def scenario() -> None:
            paths = [*PATHS, "/" + "x" * 1019, "/" + "x" * 1020]
            await writer.commit({path: znode(1, owner=9) for path in paths})
            assert sorted(await list_ephemerals(writer.aws, writer.service, 9)) == sorted(paths)
            await writer.commit(dict.fromkeys(paths))
            assert await list_ephemerals(writer.aws, writer.service, 9) == []

        run(scenario())


class TestLedger:
    def test_a_head_comes_back_as_it_was(self, writer: Writer) -> None:
        async def scenario() -> None:
            assert await read_head(writer.aws, writer.service) is None
            head = await writer.commit({LONG: znode(1, owner=9, data=b"v" * 2000), "/…": znode(1)})
            read = await read_head(writer.aws, writer.service)
            assert read is not None
            assert read.attributes() == head.attributes()
            assert await confirm_complete(writer.aws, writer.service, head)
            following = await writer.commit({"/…": None})
            assert not await confirm_complete(writer.aws, writer.service, head)
            assert await confirm_complete(writer.aws, writer.service, following)

        run(scenario())

    def test_as_many_items_as_a_transaction_takes_can_be_confirmed(self, writer: Writer) -> None:
        async def scenario() -> None:
            nodes: dict[str, Znode | None] = {
                f"/{number}": znode(1) for number in range((MAX_TRANSACTION_ITEMS - 1) // 2)
            }
            head = await writer.commit({"/": znode(1), **nodes})
            assert len(head.keys) == MAX_TRANSACTION_ITEMS - 1
            assert writer.plan.fits
            assert await confirm_complete(writer.aws, writer.service, head)

        run(scenario())

    def test_events_in_order_and_by_range(self, writer: Writer) -> None:
        async def scenario() -> None:
            acl = (Acl(1, "digest", "…"),)
            for zxid in (1, 9, 10, 11):
                path = f"/{zxid}"
                await register_watch(writer.aws, writer.service, path, WATCH_DATA, "g")
                events = (Event(zxid, path, EventKind.CREATED, acl), Event(zxid, path, EventKind.DATA))
                await writer.commit({path: znode(zxid)}, events=events, zxid=zxid)
            for after, upto, expected in ((0, 11, [1, 9, 10, 11]), (1, 10, [9, 10]), (11, 99, [])):
                found = await read_events(writer.aws, writer.service, after, upto)
                assert [event.zxid for event in found] == [zxid for zxid in expected for _ in range(2)]
            (first, second, *_) = await read_events(writer.aws, writer.service, 0, 99)
            assert (first.acl, first.kind, second.kind) == (acl, EventKind.CREATED, EventKind.DATA)

        run(scenario())

    def test_more_events_than_an_item_holds_and_more_items_than_a_page(self, writer: Writer) -> None:
        async def scenario() -> None:
            path = "/" + "名" * 50_000
            await register_watch(writer.aws, writer.service, path, WATCH_DATA, "g")
            events = tuple(Event(zxid, path, EventKind.DATA) for zxid in range(1, 8))
            assert len(event_records(events)) == 7
            await writer.commit({path: znode(7)}, events=events, zxid=7)
            assert await read_events(writer.aws, writer.service, 0, 7) == list(events)

        run(scenario())


@pytest.mark.parametrize("path", PATHS)
def test_keys_by_their_short_names(path: str) -> None:
    for key in (node_key(path), value_key(path), child_key(path), ephemeral_key(-3, path)):
        packed = pack_key(key)
        assert unpack_key(packed).attributes == key.attributes
        assert all(len(part.encode()) <= limit for part, limit in zip(packed[1:], (2048, 1024), strict=True))


def test_different_long_paths_have_different_keys() -> None:
    assert node_key(LONG + "a").partition != node_key(LONG + "b").partition
    assert child_key("/" + "n" * 1100).sort != child_key("/" + "n" * 1101).sort
    assert ephemeral_key(1, LONG + "a").sort != ephemeral_key(1, LONG + "b").sort


def test_what_changed_is_what_is_written() -> None:
    """A transaction costs what it writes: a set of data one item, with the head two."""
    service = Service(*(["x"] * 10))
    snapshot = Snapshot()
    state = State({"/a": znode(1)})
    from faaskeeper.storage.znodes import NodeItem, attributes_of

    snapshot.items["/a"] = NodeItem("/a", attributes_of(znode(1), 1024))
    state.put("/a", znode(1, mzxid=2, zxid=2, version=1, data=b"new"))
    planned = plan(service, state, snapshot, (), Subtrees(), 2, 0)
    assert planned.keys == [node_key("/a")]
    values = planned.actions[0]["Update"]["ExpressionAttributeValues"]
    assert set(values) == {":mzxid", ":zxid", ":version", ":data"}


def test_the_head_of_a_small_write_stays_within_what_one_write_is_billed_for() -> None:
    """With all lanes in use, and whatever the transactions before changed."""
    chance = random.Random(1)
    changes = Changes.unknown(0)
    for zxid in range(1, 2000):
        changes = changes.followed_by(zxid, [digest(f"/{zxid}"), digest(f"/{zxid % 7}")])
        outcome = (f"{chance.getrandbits(64):016x}", chance.getrandbits(62), Outcome(Code.OK, zxid, None, None))
        lanes = Lanes(0, tuple(Lane(chance.randbytes(8), zxid, Position(9999, 1)) for _ in range(MAX_LANES)))
        for outcomes in ((), (outcome,)):
            head = Head(
                zxid,
                zxid - 1,
                (node_key("/x"),),
                Position(1 << 66, 1),
                outcomes,
                lanes=lanes,
                changes=changes,
                queue="0123456789ab",
            )
            item = {**head_key().attributes, **head.attributes(), "floor": number(zxid)}
            assert item_size(item) <= 1024
            assert head_of(item).changes.between(max(0, zxid - 5), zxid) is not None
