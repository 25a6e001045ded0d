"""What each operation costs: calls, transaction items, capacity units, messages; exact on any machine."""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError

from bench.meter import Count
from bench.stage import Stage, stage
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.reaper.expiry import check_timer
from faaskeeper.protocol.timers import GatewayTimer
from faaskeeper_client import prices
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.liveness import RELAXED_TIMEOUT
from faaskeeper_client.gateway.server import Server

_COLUMNS = f"{'items':>6} {'WU':>6} {'RU':>6} {'msgs':>5} {'gw calls':>9} {'$ / million':>12}"
_HEADER = f"{'operation':38} {'seq. calls':>10} {_COLUMNS}"


_UNCOUNTED = 1
"""Read units: DynamoDB Local does not count the read of an item that does not exist, AWS does."""


async def main(siblings: int | None, *, by_call: bool) -> bool:
    """``siblings``: nothing but a znode that gets so many children, which are listed and deleted again. ``by_call``:
    by direct calls, else by the queue. Whether what was counted is what ``prices`` has."""
    async with stage(gateways=2, by_call=by_call) as on:
        clients = [await _client(port) for port in on.ports]
        try:
            if siblings is not None:
                await _siblings(on, clients[0], (0, siblings))
                return True
            print("One operation at a time, 100 B of data, no watch unless said, warm sequencer\n")
            print(_HEADER)
            counted = {"connect and close": await _connection(on)} | await _single(on, *clients)
            await _siblings(on, clients[0], (0, 1000, 10_000))
            await _together(on)
        finally:
            for client in clients:
                await asyncio.to_thread(client.stop)
                await asyncio.to_thread(client.close)
    return _as_priced(counted, by_call=by_call)


def _as_priced(counted: dict[str, Count], *, by_call: bool) -> bool:
    agrees = True
    for each in prices.OPERATIONS:
        if each.name in counted:
            count, priced = counted[each.name], each.work(by_call=by_call)
            found = count.items, count.write_units, count.requests
            expected = priced.items, priced.write_units, 0 if by_call else each.runs
            reads = count.read_units <= priced.read_units <= count.read_units + _UNCOUNTED
            if each.name != "connect and close" and (found != expected or not reads):
                print(f"{each.name}: {count} counted, {priced} in prices.py")
                agrees = False
    print("\nprices.py agrees" if agrees else "\nprices.py is to be brought up to date", flush=True)
    return agrees


async def _single(on: Stage, one: Any, other: Any) -> dict[str, Count]:
    small, medium, large = b"x" * 100, b"x" * 4000, b"x" * 100_000
    await asyncio.to_thread(one.create, "/warm", small)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("create", lambda: one.create("/node", small)),
        ("set", lambda: one.set("/node", small)),
        ("get", lambda: one.get("/node")),
        ("exists", lambda: one.exists("/node")),
        ("get, new watch", lambda: one.get("/node", watch=_ignore)),
        ("get, watch already set", lambda: one.get("/node", watch=_ignore)),
        ("set, fires a watch", lambda: one.set("/node", small)),
        ("exists on a missing node, new watch", lambda: one.exists("/missing", watch=_ignore)),
        ("getChildren", lambda: one.get_children("/")),
        ("delete", lambda: one.delete("/node")),
        ("getChildren, new watch", lambda: one.get_children("/", watch=_ignore)),
        ("create, fires a watch", lambda: one.create("/node", small)),
        ("create, ephemeral", lambda: one.create("/ephemeral", small, ephemeral=True)),
        ("create, sequential", lambda: one.create("/sequence-", small, sequence=True)),
        ("create, 4 kB", lambda: one.create("/medium", medium)),
        ("set, 4 kB", lambda: one.set("/medium", medium)),
        ("get, 4 kB", lambda: one.get("/medium")),
        ("create, 100 kB", lambda: one.create("/large", large)),
        ("set, 100 kB", lambda: one.set("/large", large)),
        ("get, 100 kB", lambda: one.get("/large")),
        ("multi of 10 creates", lambda: _multi(one, 10)),
        ("failed write (node exists)", lambda: _refused(one)),
        ("get by the other gateway, first sight", lambda: other.get("/large")),
        ("get by the other gateway, again", lambda: other.get("/large")),
    ]
    return {name: await _measured(on, name, step) for name, step in steps}


async def _connection(on: Stage) -> Count:
    """What ``connect()`` in a function's invocation costs, without what is done in it: a gateway, a session created and
    closed, and the two timers by which the reaper finds the gateway gone."""
    gateways, reaper, before = on.meter(), on.meter(), on.sequencer.count.copy()
    gateway = Gateway(gateways, on.service)
    server = Server(gateway)
    await gateway.start()
    client = await _client((await server.listen("127.0.0.1", 0))[1])
    await asyncio.to_thread(client.stop)
    await asyncio.to_thread(client.close)
    server.close()
    await gateway.stop()
    await on.idle.wait()
    for beat, timer in ((1, 0), (2, 1)):
        await check_timer(
            reaper, on.service, GatewayTimer(gateway.life.id, beat, timer), RELAXED_TIMEOUT, FunctionMetrics()
        )
    sequencer = on.sequencer.count - before
    # a queue made, polled once more, and removed
    _print("connect and close", sequencer, gateways.count + reaper.count, other_requests=3, timers=2)
    return sequencer + gateways.count + reaper.count


async def _siblings(on: Stage, client: Any, steps: tuple[int, ...]) -> None:
    print("\nThe n-th sibling\n")
    print(_HEADER)
    await asyncio.to_thread(client.create, "/wide")
    created, seconds = 0, 0.0
    for siblings in steps:
        began = time.monotonic()
        while created < siblings:
            more = min(250, siblings - created)
            await asyncio.to_thread(_fill, client, created, more)
            created += more
        seconds = time.monotonic() - began
        await _measured(on, f"create beside {siblings} siblings", lambda: client.create("/wide/one", b"x" * 100))
        await asyncio.to_thread(client.delete, "/wide/one")
        await _measured(on, f"getChildren of {siblings}", lambda: client.get_children("/wide"))
        if siblings:
            assert len(await asyncio.to_thread(client.get_children, "/wide")) == siblings
            await _measured(on, f"delete beside {siblings - 1} siblings", lambda: client.delete("/wide/000000"))
            await asyncio.to_thread(client.create, "/wide/000000")
    print(f"\nthe last {created - steps[-2]} creates, 250 in a multi, took {seconds:.0f} s on this machine")
    began = time.monotonic()
    await asyncio.to_thread(_empty, client, created)
    assert await asyncio.to_thread(client.get_children, "/wide") == []
    print(f"all {created} deletes, likewise, {time.monotonic() - began:.0f} s")


async def _together(on: Stage, clients: int = 10, operations: int = 100) -> None:
    print(f"\n{clients} clients, {operations} writes each, at once\n")
    started = [await _client(on.ports[index % len(on.ports)]) for index in range(clients)]
    await asyncio.sleep(0)
    before, invocations = on.sequencer.count.copy(), len(on.messages)

    def write(client: Any, index: int) -> None:
        client.create(f"/together-{index}", b"")
        for number in range(operations):
            client.set(f"/together-{index}", b"%d" % number)

    await asyncio.gather(*(asyncio.to_thread(write, client, index) for index, client in enumerate(started)))
    spent = on.sequencer.count - before
    total = clients * (operations + 1)
    transactions = spent.calls["transact_write_items"]
    sent = on.messages[invocations:]
    print(f"operations {total}, messages {sum(sent)}, batches {len(sent)}, transactions {transactions}")
    print(f"operations a transaction {total / transactions:.1f}, transactions an operation {transactions / total:.2f}")
    await on.idle.wait()
    print(
        f"write units an operation {spent.write_units / total:.2f}, replies an operation {spent.messages / total:.2f}"
    )
    for client in started:
        await asyncio.to_thread(client.stop)
        await asyncio.to_thread(client.close)


async def _measured(on: Stage, name: str, step: Callable[[], object]) -> Count:
    meters = (on.sequencer, *on.gateways)
    await on.idle.wait()
    before = [meter.count.copy() for meter in meters]
    await asyncio.to_thread(step)
    await on.idle.wait()
    sequencer, *gateways = (meter.count - count for meter, count in zip(meters, before, strict=True))
    others = sum(gateways[1:], gateways[0])
    _print(name, sequencer, others)
    return sequencer + others


def _print(name: str, committing: Count, others: Count, *, other_requests: int = 0, timers: int = 0) -> None:
    """``committing`` is the sequencer's and the direct function's."""
    total = committing + others
    messages = committing.messages + others.messages
    runs = others.requests + others.calls["invoke"]
    dollars = prices.dollars(
        prices.add(
            {
                "write unit": total.write_units,
                "read unit": total.read_units,
                "PUT": others.calls["put_object"],
                "GET": others.calls["get_object"],
                "FIFO request": 3 * others.requests,
                "request": 3 * messages + other_requests,
            },
            prices.times(prices.invocation(prices.DEVELOPMENT.sequencer_memory, prices.METRIC_BYTES), runs),
            prices.times(prices.invocation(prices.DEVELOPMENT.worker_memory), timers),
        )
    )
    print(
        f"{name:38} {_storage_calls(committing):>10} {committing.items:>6} {total.write_units:>6g} "
        f"{total.read_units:>6g} {messages + others.requests:>5} {sum(others.calls.values()):>9} {1e6 * dollars:>12.2f}"
    )


def _storage_calls(count: Count) -> int:
    return sum(calls for operation, calls in count.calls.items() if operation not in ("send_message", "put_object"))


def _refused(client: Any) -> None:
    with contextlib.suppress(NodeExistsError):
        client.create("/warm")


def _ignore(event: object) -> None:
    """A watch whose event is of no interest."""


def _multi(client: Any, creates: int) -> None:
    transaction = client.transaction()
    for number in range(creates):
        transaction.create(f"/warm/{number}", b"x" * 100)
    assert all(isinstance(result, str) for result in transaction.commit())


def _fill(client: Any, first: int, count: int) -> None:
    transaction = client.transaction()
    for number in range(first, first + count):
        transaction.create(f"/wide/{number:06d}")
    assert all(isinstance(result, str) for result in transaction.commit())


def _empty(client: Any, count: int) -> None:
    for first in range(0, count, 250):
        transaction = client.transaction()
        for number in range(first, min(first + 250, count)):
            transaction.delete(f"/wide/{number:06d}")
        assert all(result is True for result in transaction.commit())


async def _client(port: int) -> Any:
    client = KazooClient(f"127.0.0.1:{port}", timeout=40)
    await asyncio.to_thread(client.start)
    return client


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.operations", description=__doc__)
    parser.add_argument("--siblings", type=int, metavar="N", help="only: a znode with N children")
    parser.add_argument("--queue", action="store_true", help="all writes by the queue, none by direct calls")
    with contextlib.suppress(KeyboardInterrupt):
        options = parser.parse_args()
        sys.exit(0 if asyncio.run(main(options.siblings, by_call=not options.queue)) else 1)
