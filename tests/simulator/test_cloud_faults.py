"""The faults themselves: on record, replayable from the seed, and to be switched off one by one."""

from __future__ import annotations

import asyncio
import time

import pytest

from faaskeeper_simulator.cloud import RATES, Cloud, FaultKind, Faults, run
from faaskeeper_simulator.cloud.faults import ORDINARY
from faaskeeper_simulator.cloud_workload import busy, trace


def test_a_seed_replays() -> None:
    for seed in range(5):
        assert trace(seed) == trace(seed)
        assert trace(seed, Faults.swarm(seed)) == trace(seed, Faults.swarm(seed))
    assert trace(1) != trace(2)


def test_calm_is_calm() -> None:
    cloud = run(1, busy(Faults.none()))
    assert cloud.faults.trace == []
    assert cloud.functions.failures == []
    counter = next(item for item in cloud.dynamodb.items("things") if item["pk"] == {"S": "counter"})
    assert counter["n"] == {"N": "40"}


def test_every_kind_strikes_and_says_so() -> None:
    seen: set[FaultKind] = set()
    for seed in range(30):
        faults = Faults.all(seed, 3.0)
        run(seed, busy(faults, rounds=5), limit=10_000)
        seen |= {fault.kind for fault in faults.trace}
        for fault in faults.trace:
            assert str(fault).startswith(f"#{fault.number} ")
            assert fault.where
    standard_queues_and_schedules = {FaultKind.DUPLICATE, FaultKind.DOUBLE_INVOKE, FaultKind.LATE_SCHEDULE}
    none_here = {FaultKind.PARTIAL_BATCH, FaultKind.NEW_QUEUE, FaultKind.LOST_HINT}
    assert seen == set(FaultKind) - ORDINARY - standard_queues_and_schedules - none_here


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_ANSWER, FaultKind.KILL_AFTER, FaultKind.STALL, FaultKind.CONFLICT, FaultKind.SLOW_COMMIT]
)
def test_a_kind_can_be_switched_off(kind: FaultKind) -> None:
    for seed in range(5):
        faults = Faults.all(seed, 3.0).without(kind)
        run(seed, busy(faults, rounds=5), limit=10_000)
        assert faults.trace
        assert kind not in {fault.kind for fault in faults.trace}


def test_a_single_fault_can_be_suppressed() -> None:
    def faults_of(faults: Faults) -> list[tuple[int, FaultKind, float]]:
        run(3, busy(faults, rounds=5), limit=10_000)
        return [(fault.number, fault.kind, fault.time) for fault in faults.trace]

    everything = faults_of(Faults.all(3))
    assert len(everything) > 5
    number = everything[3][0]
    less = faults_of(Faults.all(3).skipping([number]))
    assert less[:3] == everything[:3]
    assert number not in {fault[0] for fault in less}
    none = faults_of(Faults.all(3).skipping(range(1, 10_000)))
    assert none == []


def test_swarms_differ_in_their_kinds() -> None:
    swarms = [frozenset(Faults.swarm(seed).rates) for seed in range(20)]
    assert len(set(swarms)) == 20
    assert set().union(*swarms) == set(RATES)


def test_faults_can_end_for_the_rest_of_a_run() -> None:
    async def main() -> int:
        faults = Faults.only(1, FaultKind.UNAVAILABLE, rate=1.0)
        cloud = Cloud(faults)
        cloud.dynamodb.create_table("t", ("pk", "S"))
        faults.active = False
        await cloud.client("p").call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": "a"}})
        return len(faults.trace)

    assert run(1, main()) == 0


def test_faults_of_processes_spare_those_that_are_not_mortal() -> None:
    async def main() -> tuple[bool, bool]:
        cloud = Cloud(Faults.only(1, FaultKind.KILL_AFTER, rate=1.0))
        cloud.ssm.parameters["/p"] = "v"
        spared, struck = cloud.process("harness"), cloud.process("gateway", mortal=True)

        async def read(name: str) -> None:
            await cloud.client(name).call("ssm", "get_parameter", Name="/p")

        await spared.start(read("harness"))
        struck.start(read("gateway"))
        await asyncio.sleep(1)
        return spared.dead, struck.dead

    assert run(1, main()) == (False, True)


def test_wall_clocks_disagree_by_up_to_minutes() -> None:
    async def main() -> list[float]:
        cloud = Cloud(Faults.only(1, FaultKind.CLOCK_SKEW, rate=1.0))
        clocks = [cloud.process(f"p{number}").clock() for number in range(20)]
        return [clock - clocks[0] for clock in clocks]

    differences = run(1, main())
    assert max(differences) - min(differences) > 10


def test_a_slow_process_takes_its_time() -> None:
    async def main(factor: float) -> float:
        cloud = Cloud()
        cloud.ssm.parameters["/p"] = "v"
        cloud.process("p").slow(factor)
        await cloud.client("p").call("ssm", "get_parameter", Name="/p")
        return cloud.loop.time()

    assert run(1, main(100.0)) == pytest.approx(100 * run(1, main(1.0)))  # pyright: ignore[reportUnknownMemberType]


def test_thousands_of_schedules_are_affordable() -> None:
    """Some 20,000 calls a second on an idle core; a tenth of that is asked for, for busy and measured machines."""
    begun = time.process_time()
    calls = sum(sum(run(seed, busy(Faults.none(), rounds=25)).usage.calls.values()) for seed in range(10))
    assert calls / (time.process_time() - begun) > 2_000
