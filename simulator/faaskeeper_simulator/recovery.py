"""How long writes stall after each kind of fault: ``make recovery`` prints the table for docs/reliability.md.

A client makes one write after the other on a calm cloud with AWS's latencies (``cloud.latency``), then one thing goes
wrong. What is shown is the longest that a write took from its first attempt to its success, over many seeds, and for
dead gateways and clients how long their ephemerals outlived them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import random
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import SetData
from faaskeeper_client.wire.requests import Exists
from faaskeeper_simulator.cloud import Cloud, FaultKind, Faults, Process, Site, run
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.deployment import Deployment, trusted
from faaskeeper_simulator.harness.gateways import Slot
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.harness.witness import Witness
from faaskeeper_simulator.workloads.base import attempt, create, must

_WARM = 5.0
_AFTER = 30.0
_PAUSE = 0.5
_BURST = 10.0
_MINUTE = 60.0
"""Virtual seconds: before the fault, after it, between two writes, and of faults that last."""
_KILLED = 15.0
"""Seconds that writes may stall after a function was killed."""


@dataclass(slots=True)
class Stage:
    """One deployment: two gateways, and ``writer`` on the first of them."""

    cloud: Cloud
    slots: list[Slot]
    writer: Client
    seed: int
    latencies: list[float] = field(default_factory=list[float])

    def client(self, name: str, slot: Slot, timeout: int) -> Client:
        made = Client(self.cloud, self.slots, History(), name, timeout, random.Random(f"{self.seed}/{name}"))
        made.preferred = slot
        made.process.start(made.run())
        return made

    async def write(self) -> None:
        while True:
            began = self.cloud.loop.time()
            while True:
                call = await attempt(self.writer, SetData("/register", b"x"))
                if call is not None and call.reply is not None and call.reply.code is Code.OK:
                    break
            self.latencies.append(self.cloud.loop.time() - began)
            await asyncio.sleep(_PAUSE)


Strike = Callable[[Stage], Awaitable[float | None]]
"""Makes the fault happen; returns what to show if that is not the longest write."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``limit`` is the target, in seconds; None where the fault itself lasts, or nothing is promised."""

    name: str
    strike: Strike
    limit: float | None = None


def at_call(process: str, operation: str, kind: FaultKind, seconds: float | None = None) -> Strike:
    """The next such call of such a process, once."""

    async def strike(stage: Stage) -> None:
        faults = stage.cloud.faults

        def script(site: Site) -> FaultKind | tuple[FaultKind, float] | None:
            if not site.process.startswith(process) or site.operation != operation:
                return None
            faults.script = None
            return kind if seconds is None else (kind, seconds)

        faults.script = script

    return strike


def burst(process: str, kind: FaultKind) -> Strike:
    """Every call of DynamoDB by such a process."""

    async def strike(stage: Stage) -> None:
        stage.cloud.faults.script = lambda site: (
            kind if site.process.startswith(process) and site.service == "dynamodb" else None
        )
        await asyncio.sleep(_BURST)
        stage.cloud.faults.script = None

    return strike


def chance(kind: FaultKind, *, once: bool) -> Strike:
    """Wherever it may strike, once or for a while."""

    async def strike(stage: Stage) -> None:
        faults = stage.cloud.faults
        faults.rates[kind] = 1.0
        faults.active = True
        until = stage.cloud.loop.time() + _BURST
        while stage.cloud.loop.time() < until and not (once and faults.trace):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        faults.active = False

    return strike


def gateway(strike: Callable[[Process], None]) -> Strike:
    """Something befalls the writer's gateway: until the writer is at another one, or this one works again."""

    async def wait(stage: Stage) -> float:
        process = stage.slots[0].process
        assert process is not None
        strike(process)
        while not stage.latencies or max(stage.latencies) < 1.0:
            if stage.cloud.loop.time() > _WARM + 1.0 + _AFTER + 2 * _MINUTE:
                break
            await asyncio.sleep(0.1)
        return max(stage.latencies)

    return wait


def ephemeral(timeout: int, *, alone: bool, reaper: FaultKind | None = None) -> Strike:
    """An owner of an ephemeral dies, alone or with its gateway: how long the node outlives them, in seconds."""

    async def strike(stage: Stage) -> float:
        owner, watcher = stage.client("owner", stage.slots[1], timeout), stage.client("watcher", stage.slots[0], 40_000)
        await must(owner, create("/ephemeral", flags=1))
        await asyncio.sleep(timeout / 1000 * random.random())  # any moment between two beats
        if reaper is not None:
            await at_call("reaper", "update_item", reaper)(stage)
        owner.process.kill()
        process = stage.slots[1].process
        assert process is not None
        if not alone:
            process.kill()
        died = stage.cloud.loop.time()
        while True:
            call = await attempt(watcher, Exists("/ephemeral"))
            if call is not None and call.reply is not None and call.reply.code is Code.NO_NODE:
                return stage.cloud.loop.time() - died
            await asyncio.sleep(0.05)

    return strike


SCENARIOS = (
    Scenario("nothing", at_call("nobody", "", FaultKind.DELAY)),
    Scenario(
        "sequencer killed before it loads", at_call("sequencer", "batch_get_item", FaultKind.KILL_BEFORE), _KILLED
    ),
    Scenario("... before it commits", at_call("sequencer", "transact_write_items", FaultKind.KILL_BEFORE), _KILLED),
    Scenario("... after the commit", at_call("sequencer", "transact_write_items", FaultKind.KILL_AFTER), _KILLED),
    Scenario("... before it replies", at_call("sequencer", "send_message", FaultKind.KILL_BEFORE), _KILLED),
    Scenario("... after it replied", at_call("sequencer", "send_message", FaultKind.KILL_AFTER), _KILLED),
    Scenario(
        "sequencer frozen for a minute", at_call("sequencer", "transact_write_items", FaultKind.STALL, 60.0), _KILLED
    ),
    Scenario("commit's answer lost", at_call("sequencer", "transact_write_items", FaultKind.LOST_ANSWER), _KILLED),
    Scenario(
        "commit given up, takes effect",
        at_call("sequencer", "transact_write_items", FaultKind.LATE_EFFECT, 3.0),
        _KILLED,
    ),
    Scenario("commit never arrives", at_call("sequencer", "transact_write_items", FaultKind.UNAVAILABLE), _KILLED),
    Scenario("commit slow to show", chance(FaultKind.SLOW_COMMIT, once=True), _KILLED),
    Scenario("batch delivered to two sequencers", chance(FaultKind.EARLY_REDELIVERY, once=False), _KILLED),
    Scenario("batch received and forgotten", chance(FaultKind.LOST_POLL, once=True), _KILLED),
    Scenario("message late", chance(FaultKind.LATE_MESSAGE, once=True)),
    Scenario("send's answer lost", at_call("gateway", "send_message", FaultKind.LOST_ANSWER), _KILLED),
    Scenario("throttled for 10 s", burst("sequencer", FaultKind.THROTTLE)),
    Scenario("conflicts for 10 s", chance(FaultKind.CONFLICT, once=False)),
    Scenario("DynamoDB unreachable for 10 s", burst("sequencer", FaultKind.UNAVAILABLE)),
    Scenario("gateway killed, its client goes to another", gateway(lambda process: process.kill()), _KILLED),
    Scenario("gateway cut off from AWS for a minute", gateway(lambda process: process.partition(_MINUTE))),
    Scenario("gateway stands still for a minute", gateway(lambda process: process.pause(_MINUTE))),
    *(
        Scenario(f"ephemeral of a dead client, {timeout // 1000} s", ephemeral(timeout, alone=True))
        for timeout in (4000, 10_000, 30_000)
    ),
    *(
        Scenario(f"... of a dead gateway, {timeout // 1000} s", ephemeral(timeout, alone=False))
        for timeout in (4000, 10_000, 30_000)
    ),
    Scenario("... and its reaper killed, 10 s", ephemeral(10_000, alone=False, reaper=FaultKind.KILL_BEFORE)),
)


async def measure(seed: int, scenario: Scenario) -> float:
    """Seconds."""
    cloud = Cloud(Faults(seed, {}))
    cloud.faults.active = False
    witness = Witness()
    deployment = Deployment(cloud, witness.sender)
    witness.attach(cloud, deployment.service)
    await deployment.create()
    slots = [Slot(cloud, deployment.service, f"gateway-{number}", mortal=False) for number in (1, 2)]
    keeping = [cloud.loop.create_task(slot.keep_up()) for slot in slots]
    while any(slot.gateway is None for slot in slots):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    writer = Client(cloud, slots, History(), "writer", 10_000, random.Random(f"{seed}/writer"))
    writer.preferred = slots[0]
    stage = Stage(cloud, slots, writer, seed)
    writer.process.start(writer.run())
    await must(writer, create("/register"))
    working = writer.process.start(stage.write())
    await asyncio.sleep(_WARM + random.random())
    stage.latencies.clear()
    shown = await scenario.strike(stage)
    if shown is None:
        await asyncio.sleep(_AFTER)
        shown = max(stage.latencies)
    for task in (*keeping, working):
        task.cancel()
    return shown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="recovery", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each scenario")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    missed = False
    print("| fault | median | longest | target |\n|---|---|---|---|")
    for scenario in SCENARIOS:
        with trusted(), contextlib.redirect_stdout(io.StringIO()):
            found = [run(seed, measure(seed, scenario), limit=1000.0) for seed in range(options.seeds)]
        missed |= scenario.limit is not None and max(found) >= scenario.limit
        target = "" if scenario.limit is None else f"{scenario.limit:.0f} s"
        print(
            f"| {scenario.name} | {statistics.median(found):.2f} s | {max(found):.2f} s | {target} |",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
