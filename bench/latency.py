"""How long operations take on AWS: the real gateway and functions in virtual time, where each call takes what was
measured on AWS us-east-1 (``faaskeeper_simulator/cloud/latency.py``). What memory answers takes no time of AWS: that
row is our own Python on the clock of this machine, from a request's bytes in to the reply's bytes out.

Beside them what the FaaSKeeper paper's artifact measured end to end in the same region: the published service, and a
ZooKeeper of three machines. Left out here is what our own Python computes, a few milliseconds an operation; the
published figures contain theirs. Every run of a seed prints the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from unittest.mock import patch

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.gateway.connection import Connection
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES
from faaskeeper_client.wire.requests import Body, Exists, GetChildren, GetData
from faaskeeper_simulator import cloud as simulated
from faaskeeper_simulator.cloud import Cloud
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.deployment import Deployment, trusted
from faaskeeper_simulator.harness.gateways import Slot
from faaskeeper_simulator.harness.history import Call, History
from faaskeeper_simulator.harness.witness import Witness
from faaskeeper_simulator.workloads.base import create

SEED = 1
ROUNDS = 400
TIMEOUT = 40_000
PUBLISHED = {
    "set, 1 kB": (108.3, 132.0, 183.7),
    "get, 1 kB": (13.8, 17.6, 40.7),
}
"""p50, p90 and p99 in ms: set_data with user storage in DynamoDB (1 kB, 1,024 MB), reads from S3 (1 kB)."""
ZOOKEEPER = {"set, 1 kB": (3.8, 5.4, 8.1), "get, 1 kB": (0.8, 0.9, 3.0)}
"""p50, p90 and p99 in ms, of the same artifact: three machines, the client in another zone."""


WRITES_AND_READS = tuple(PUBLISHED)


def main() -> None:
    simulated.run(SEED, _main())


async def _main() -> None:
    with trusted(), contextlib.redirect_stdout(io.StringIO()):
        place, one, other, third = await stage()
        rows = [*await single(one, other), ("get, from memory", await _from_memory(third))]
        at_once = [await together(place, number) for number in (1, 10, 100)]
    print(f"{ROUNDS} times each, one at a time, in ms; FaaSKeeper as published (HPDC 2024), ZooKeeper\n")
    print(f"{'operation':38} {'p50':>7} {'p90':>7} {'p99':>7}   {'published':>22}   {'ZooKeeper':>18}")
    for name, seconds in rows:
        quantiles = " ".join(f"{_milliseconds(_quantile(seconds, share)):>7}" for share in (0.5, 0.9, 0.99))
        print(f"{name:38} {quantiles}   {_shown(PUBLISHED.get(name)):>22}   {_shown(ZOOKEEPER.get(name)):>18}")
    for name, figures in PUBLISHED.items():
        ours = dict(rows)[name]
        print(f"\n{name}: {figures[0] / (1000 * _quantile(ours, 0.5)):.1f} times as fast as published, at the median")
    print("\nSessions that set 100 B each as fast as they are answered, over two gateways\n")
    print(f"{'sessions':>8} {'sets/s':>8} {'p50':>7} {'p99':>7} {'sets a transaction':>20}")
    for number, rate, seconds, batch in at_once:
        print(
            f"{number:8} {rate:8.0f} {1000 * _quantile(seconds, 0.5):7.1f} {1000 * _quantile(seconds, 0.99):7.1f} "
            f"{batch:20.1f}"
        )


class _Stage:
    """Two gateways, as on two machines, and clients on them."""

    def __init__(self, cloud: Cloud, slots: Sequence[Slot], witness: Witness) -> None:
        self.cloud = cloud
        self.slots = slots
        self.witness = witness
        self._history = History()
        self._running = [cloud.loop.create_task(slot.keep_up()) for slot in slots]

    def client(self, name: str, slot: int) -> Client:
        client = Client(self.cloud, [self.slots[slot]], self._history, name, TIMEOUT, random.Random(name))
        client.process.start(client.run())
        return client


async def stage(*, direct: bool = True) -> tuple[_Stage, Client, Client, Client]:
    """With writes by ``direct`` calls, or all by the queue."""
    cloud = Cloud()
    witness = Witness()
    deployment = Deployment(cloud, witness.sender, direct=direct)
    deployment.service = replace(deployment.service, inline_limit=1024, blob_limit=32_768)
    witness.attach(cloud, deployment.service)
    await deployment.create()
    slots = [
        Slot(cloud, deployment.service, f"gateway-{number}", mortal=False, cache_bytes=cache_bytes)
        for number, cache_bytes in enumerate((0, 0, DEFAULT_CACHE_BYTES))
    ]
    place = _Stage(cloud, slots, witness)
    return place, place.client("one", 0), place.client("other", 1), place.client("third", 2)


async def single(one: Client, other: Client, only: Collection[str] = ()) -> list[tuple[str, list[float]]]:
    small, kilobyte, large = b"x" * 100, b"x" * 1000, b"x" * 100_000
    numbers = iter(range(1_000_000))
    for path in ("/small", "/kilobyte", "/large", "/folder", "/watched"):
        await _done(one, create(path, small))
    await _done(one, create("/folder/node", small))
    await _done(other, Exists("/small", False))

    async def first_sight() -> None:
        await _done(one, SetData("/small", small, -1))

    async def removed() -> None:
        await _done(one, create("/gone", small))

    def each(
        name: str, body: Callable[[], Body], client: Client = one, before: Callable[[], Awaitable[None]] = _nothing
    ) -> tuple[str, Callable[[], Awaitable[float]]]:
        return name, lambda: _timed(client, body, before)

    steps = [
        each("create", lambda: create(f"/node-{next(numbers)}", small)),
        each("create, ephemeral", lambda: create(f"/node-{next(numbers)}", small, 1)),
        each("set", lambda: SetData("/small", small, -1)),
        each("set, 1 kB", lambda: SetData("/kilobyte", kilobyte, -1)),
        each("set, 100 kB", lambda: SetData("/large", large, -1)),
        each("delete", lambda: Delete("/gone", -1), before=removed),
        each("get", lambda: GetData("/small", False)),
        each("get, 1 kB", lambda: GetData("/kilobyte", False)),
        each("get, 100 kB", lambda: GetData("/large", False)),
        each("getChildren", lambda: GetChildren("/folder", False, True)),
        each("get, first sight of another's write", lambda: GetData("/small", False), other, first_sight),
    ]
    rows = [(name, [await step() for _ in range(ROUNDS)]) for name, step in steps if not only or name in only]
    if only:
        return rows
    return [*rows, ("from a set to its event elsewhere", [await _notified(one, other) for _ in range(ROUNDS)])]


async def _nothing() -> None:
    """No preparation."""


async def _timed(client: Client, body: Callable[[], Body], before: Callable[[], Awaitable[None]]) -> float:
    await before()
    await asyncio.sleep(client.chance.uniform(0.1, 1.0))
    call = await _done(client, body())
    assert call.answered is not None
    return call.answered - call.invoked


async def _notified(writer: Client, watcher: Client) -> float:
    heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    watcher.on_event = lambda kind, path: heard.set_result(watcher.now)
    await _done(watcher, GetData("/watched", True))
    began = writer.now
    await _done(writer, SetData("/watched", b"x" * 100, -1))
    return await heard - began


async def _from_memory(client: Client) -> list[float]:
    """Seconds of this machine that a gateway takes for each."""
    seconds: list[float] = []
    real = Connection.feed

    def feed(self: Connection, data: bytes) -> None:
        began = time.perf_counter()
        real(self, data)
        seconds.append(time.perf_counter() - began)

    await _done(client, GetData("/small", False))
    with patch.object(Connection, "feed", feed):
        while len(seconds) < ROUNDS:
            await _done(client, GetData("/small", False))
    return seconds


async def together(place: _Stage, number: int, rounds: int = 50) -> tuple[int, float, list[float], float]:
    clients = [place.client(f"{number}-{index}", index % 2) for index in range(number)]
    for client in clients:
        await _done(client, create(f"/together-{client.name}", b"x" * 100))
    commits = len(place.witness.commits)
    seconds: list[float] = []

    async def work(client: Client) -> None:
        for _ in range(rounds):
            call = await _done(client, SetData(f"/together-{client.name}", b"x" * 100, -1))
            assert call.answered is not None
            seconds.append(call.answered - call.invoked)

    began = place.cloud.loop.time()
    await asyncio.gather(*(work(client) for client in clients))
    elapsed = place.cloud.loop.time() - began
    total = number * rounds
    return number, total / elapsed, seconds, total / (len(place.witness.commits) - commits)


async def _done(client: Client, body: Body) -> Call:
    call = await client.call(body)
    assert call.reply is not None
    assert call.reply.code is Code.OK, call
    return call


def _quantile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.{1 if seconds >= 0.001 else 3}f}"


def _shown(figures: tuple[float, ...] | None) -> str:
    return " ".join(f"{figure:.1f}" for figure in figures or ())


if __name__ == "__main__":
    main()
