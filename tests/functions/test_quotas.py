"""Quotas in storage: known to every sequencer, counted over what is there, and dear to nobody else."""

from __future__ import annotations

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.storage import loading
from faaskeeper.storage.keys import node_key
from faaskeeper.storage.znodes import NodeItem
from faaskeeper.znode import quotas
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Data
from faaskeeper.znode.operations import Delete, Multi, SetData

from .stage import COMMIT, Counting, Stage, create, quota, run
from .world import World


async def stats(world: World | Stage, aws: BotoAws, top: str) -> Data:
    key = node_key(quotas.stats_path(top))
    item = await aws.call(
        "dynamodb", "get_item", TableName=key.table_name(world.service), Key=key.attributes, ConsistentRead=True
    )
    node = NodeItem("", item.get("Item", {})).znode
    return node.data if node else None


def test_what_is_there_is_counted(world: World) -> None:
    async def scenario() -> None:
        large = b"x" * 3000
        await world.commit(create("/a"), create("/a/b", large), create("/a/b/c", b"12"), create("/ab", b"12345"))
        await world.commit(
            *(Multi(tuple(create(f"/a/{n}/{m}" if m else f"/a/{n}", b"1") for m in range(12))) for n in range(10))
        )
        # in one batch with what it counts
        await world.commit(create("/a/z", b"123"), *quota("/a"), create("/a/y", b"4"), Delete("/a/z"))
        expected = 3 + 120 + 1, len(large) + 2 + 120 + 1
        assert await stats(world, world.aws, "/a") == b"count=%d,bytes=%d" % expected

    run(scenario())


def test_every_sequencer_counts(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/a"), *quota("/a"))
        for text in (b"x", b"xy", b"xyz"):
            # each time by an instance that knows nothing yet
            await stage.do(client, SetData("/a", text))
            assert await stats(stage, aws, "/a") == b"count=1,bytes=%d" % len(text)
        await stage.do(client, Delete(quotas.limits_path("/a")), SetData("/a", b""))
        await stage.do(client, SetData("/a", b""))
        assert await stats(stage, aws, "/a") == b"count=1,bytes=3"

    run(scenario())


def test_a_write_below_a_quota_takes_one_item_more(aws: BotoAws) -> None:
    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/a"), create("/b"), *quota("/a"))
        counting = Counting(aws)
        instance = stage.sequencer(counting)
        items: list[int] = []
        for path in ("/b", "/b", "/a"):
            counting.calls.clear()
            await stage.send(client.gateway, (client, SetData(path, b"x")))
            await stage.drain(instance)
            items += [len(parameters["TransactItems"]) for name, parameters in counting.calls if name == COMMIT]
        assert counting.count("batch_get_item") == 1
        assert counting.count("query") == 0
        assert items == [2, 2, 3]

    run(scenario())


def test_too_much_to_count(aws: BotoAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes must not stand still for long, so such a quota is refused."""
    monkeypatch.setattr(loading, "_MAX_COUNTED_ZNODES", 213)

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        await stage.do(client, create("/a"), create("/a/b"), create("/a/c"))
        assert (await stage.do(client, *quota("/a")))[-1].code is Code.OK
        await stage.do(client, Delete(quotas.stats_path("/a")), create("/a/d"))
        (outcome,) = await stage.do(client, create(quotas.stats_path("/a")))
        assert outcome.code is Code.SYSTEM_ERROR
        assert await stats(stage, aws, "/a") is None

    run(scenario())


def test_too_deep_to_count(aws: BotoAws) -> None:
    """Each level is waited for."""

    async def scenario() -> None:
        stage = await Stage.create(aws)
        client = await stage.client()
        depth = 120
        await stage.do(client, Multi(tuple(create("/a" * (level + 1)) for level in range(depth))))
        assert (await stage.do(client, *quota("/a" * (depth - 3))))[-1].code is Code.OK
        (*_, stats_path) = quota("/a")
        await stage.do(client, create(quotas.limits_path("/a")))
        counting = Counting(aws)
        (number,) = await stage.send(client.gateway, (client, stats_path))
        await stage.drain(stage.sequencer(counting))
        assert (await stage.outcomes(client.gateway, [number]))[number].code is Code.SYSTEM_ERROR
        assert counting.count("query") <= 100

    run(scenario())
