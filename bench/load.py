"""What one ensemble holds: 1,000 sessions with 10 watches each, then 10,000 writes at once; nothing may be lost.

``python -m bench.load`` on the simulated cloud, at AWS's latencies and throughput limits, in virtual time;
``--embedded`` on this machine, with gateways as processes on the embedded cloud.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Multi, SetData
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.wire.requests import GetData, Sync
from faaskeeper_simulator import cloud as simulated
from faaskeeper_simulator.cloud import Cloud
from faaskeeper_simulator.harness.client import Client, ConnectionLost
from faaskeeper_simulator.harness.deployment import Deployment, trusted
from faaskeeper_simulator.harness.gateways import Slot
from faaskeeper_simulator.harness.history import Call, History, Notification
from faaskeeper_simulator.harness.witness import Witness
from faaskeeper_simulator.workloads.base import create
from tests.soak import processes

SESSIONS, WATCHES, WRITES = 1000, 10, 10
"""Watches and writes are those of each session."""
GATEWAYS = 2
TIMEOUT = 40_000
_DATA = b"x" * 100


class Load:
    """``clients`` and the history they write; ``now`` is their clock."""

    def __init__(self, clients: Sequence[Client], history: History, now: Callable[[], float]) -> None:
        self._clients = clients
        self._history = history
        self._now = now

    async def run(self) -> list[tuple[str, str]]:
        """Rows of a table. Raises AssertionError if anything is lost."""
        began = self._now()
        while await self._attach():
            pass
        attached, connections = self._now(), len(self._history.connections)
        paths = [f"/n{number}" for number in range(SESSIONS)]
        await self._clients[0].call(create("/warm"))
        for start in range(0, SESSIONS, 100):
            parts = tuple(create(path, _DATA) for path in paths[start : start + 100])
            made = await self._clients[0].call(Multi(parts))
            assert made.reply is not None
            assert made.reply.code is Code.OK
        before = self._now()
        for k in range(WATCHES):
            # one of each session at a time: on this machine more would take longer than clients have patience
            await self._all(lambda client, number, k=k: [GetData(paths[(number + k) % SESSIONS], watch=True)])
        watched = self._now()
        answered = await self._all(lambda client, number: [SetData(paths[number], _DATA)] * WRITES)
        written = self._now()
        await self._all(lambda client, number: [Sync("/")])
        versions = [
            call.reply.stat.version
            for call in await self._all(lambda client, number: [GetData(paths[number])])
            if call.reply is not None and call.reply.stat is not None
        ]
        events = [
            frame for each in self._history.connections for frame in each.frames if isinstance(frame, Notification)
        ]
        assert all(call.reply is not None and call.reply.code is Code.OK for call in answered)
        assert versions == [WRITES] * SESSIONS, "writes are lost"
        assert len(events) == SESSIONS * WATCHES, f"{len(events)} events of {SESSIONS * WATCHES}"
        assert len(self._history.connections) == connections, "connections were lost"
        waits = sorted((call.answered or 0.0) - call.invoked for call in answered)
        return [
            (f"{SESSIONS:,} sessions attached", f"{attached - began:.1f} s"),
            (f"{SESSIONS * WATCHES:,} watches set", f"{watched - before:.1f} s"),
            (f"{len(answered):,} writes sent at once", f"{written - watched:.1f} s"),
            ("writes a second", f"{len(answered) / (written - watched):.0f}"),
            ("a write waits, p50 and at most", f"{waits[len(waits) // 2]:.1f} s, {waits[-1]:.1f} s"),
            ("events told", f"{len(events):,}, each once"),
        ]

    async def _attach(self) -> int:
        """How many had to try again."""
        asked = [client.submit(Sync("/")) for client in self._clients]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        return sum(isinstance(outcome, ConnectionLost) for outcome in outcomes)

    async def _all(self, bodies: Callable[[Client, int], Sequence[Any]]) -> list[Call]:
        waiting = [
            body for number, client in enumerate(self._clients) for body in map(client.submit, bodies(client, number))
        ]
        return await asyncio.gather(*waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embedded", action="store_true", help="on this machine, with processes")
    rows = asyncio.run(_embedded()) if parser.parse_args().embedded else simulated.run(1, _simulated())
    for name, value in rows:
        print(f"{name:34} {value}")


async def _simulated() -> list[tuple[str, str]]:
    with trusted(), contextlib.redirect_stdout(io.StringIO()):
        cloud = Cloud(limits=True)
        witness = Witness()
        deployment = Deployment(cloud, witness.sender)
        deployment.service = replace(deployment.service, inline_limit=1024, blob_limit=32_768)
        witness.attach(cloud, deployment.service)
        await deployment.create()
        slots = [Slot(cloud, deployment.service, f"gateway-{number}", mortal=False) for number in range(GATEWAYS)]
        running = [cloud.loop.create_task(slot.keep_up()) for slot in slots]
        history = History()
        clients = [
            Client(cloud, [slots[number % GATEWAYS]], history, f"c{number}", TIMEOUT, random.Random(number))
            for number in range(SESSIONS)
        ]
        for client in clients:
            client.process.start(client.run())
        rows = await Load(clients, history, cloud.loop.time).run()
        for task in running:
            task.cancel()
    age = max(_ages_of(witness))
    return [*rows, ("transactions", str(len(witness.commits))), ("queue age at most", f"{age:.1f} s")]


async def _embedded() -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory(prefix="load-") as folder, EmbeddedCloud() as cloud:
        service = cloud.deploy("load", tier="standard")
        slots = [
            processes.Slot(f"gateway-{n}", "load", cloud.environment(), Path(folder) / f"{n}", random.Random(n))
            for n in range(GATEWAYS)
        ]
        running = [asyncio.create_task(slot.keep_up()) for slot in slots]
        try:
            while any(slot.gateway is None for slot in slots):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            empty = [_memory(slot.pid) for slot in slots]
            history, ground = History(), processes.Ground()
            clients: list[Client] = [
                processes.TcpClient(ground, [slots[n % GATEWAYS]], history, f"c{n}", TIMEOUT, random.Random(n))  # type: ignore[arg-type, list-item]
                for n in range(SESSIONS)
            ]
            for client in clients:
                client.process.start(client.run())
            rows = await Load(clients, history, time.monotonic).run()
            full = [_memory(slot.pid) for slot in slots]
            assert not any(slot.deaths for slot in slots)
        except BaseException:
            print("\n".join(slot.log.read_text()[-2000:] for slot in slots), file=sys.stderr)
            raise
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        logs = cloud.session().client("logs")
        printed = "\n".join(
            event["message"]
            for function in cloud.session().client("lambda").list_functions()["Functions"]
            if "Sequencer" in function["FunctionName"]
            for page in logs.get_paginator("filter_log_events").paginate(
                logGroupName=function["LoggingConfig"]["LogGroup"]
            )
            for event in page["events"]
        )
        assert service.name == "load"
    each = ", ".join(f"{before} to {after} MB" for before, after in zip(empty, full, strict=True))
    return [*rows, ("memory of each gateway", each), *_ages(printed)]


def _ages_of(witness: Witness) -> Iterator[float]:
    """Seconds from each message's sending to the transaction that covers it."""
    commits = iter(witness.commits)
    commit = next(commits)
    for sent in sorted(witness.sent, key=lambda each: each.sequence_number):
        while commit.head.applied.sequence_number < sent.sequence_number:
            following = next(commits, None)
            if following is None:
                return
            commit = following
        yield commit.complete - sent.time


def _ages(printed: str) -> list[tuple[str, str]]:
    """From a message's sending until it was done with, as the sequencer printed it."""
    lines = (line for line in printed.splitlines() if '"WriteLatency":' in line and line[0] == "{")
    ages = [json.loads(line)["WriteLatency"] for line in lines]
    return [("queue age at most", f"{max(ages) / 1000:.1f} s")]


def _memory(pid: int | None) -> int:
    """Resident, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(found) // 1024


if __name__ == "__main__":
    main()
