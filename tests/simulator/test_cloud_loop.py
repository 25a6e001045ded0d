"""Virtual time, processes, and one seed that decides everything."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import secrets
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from faaskeeper_simulator.cloud import (
    Cloud,
    Deadlock,
    Killed,
    Livelock,
    OutOfTime,
    Process,
    SimulationError,
    SimulationLoop,
    run,
    running_loop,
)

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(str(ROOT / folder) for folder in ("simulator", "lambda_src"))


def test_an_hour_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return running_loop().time()

    begun = time.monotonic()
    assert run(1, main()) == 3600
    assert time.monotonic() - begun < 10


def test_timeouts_are_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        return running_loop().time()

    assert run(1, main()) == 5


def test_a_deadlock_names_what_waits() -> None:
    async def wait_for_nobody() -> None:
        await running_loop().create_future()

    async def main() -> None:
        await asyncio.create_task(wait_for_nobody(), name="the lonely one")

    with pytest.raises(Deadlock, match=r"the lonely one of the cloud at .*wait_for_nobody"):
        run(1, main())


def test_a_program_that_does_not_end_runs_out_of_time() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1)

    with pytest.raises(OutOfTime, match="100"):
        run(1, main(), limit=100)


def test_a_program_that_spins_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulationLoop, "callbacks_at_one_instant", 10_000)

    async def main() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Livelock):
        run(1, main())


def test_threads_are_refused() -> None:
    async def main() -> None:
        await asyncio.to_thread(print, "never")

    with pytest.raises(SimulationError, match="threads"):
        run(1, main())


def test_what_nobody_handles_is_kept() -> None:
    async def fail() -> None:
        raise ValueError("nobody looks")

    async def main() -> list[str]:
        asyncio.create_task(fail())  # noqa: RUF006
        await asyncio.sleep(1)
        return [str(context["exception"]) for context in running_loop().unhandled]

    assert run(1, main()) == ["nobody looks"]


def test_python_s_own_randomness_comes_from_the_seed() -> None:
    async def main() -> tuple[float, str, bytes]:
        return random.random(), str(uuid.uuid4()), secrets.token_bytes(8)

    assert run(1, main()) == run(1, main()) != run(2, main())
    assert os.urandom(8) != os.urandom(8)
    assert secrets.token_bytes(8) != run(1, main())[2]


def test_sets_of_tasks_have_the_same_order_in_every_run() -> None:
    async def main(ballast: int) -> list[str]:
        kept = [object() for _ in range(ballast)]
        tasks = [asyncio.create_task(asyncio.sleep(1), name=str(number)) for number in range(50)]
        kept.clear()
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    assert run(1, main(0)) == run(1, main(1000)) == run(1, main(12345))


def test_a_mistake_of_the_simulation_itself_ends_the_run() -> None:
    def fail() -> None:
        raise AssertionError("a bug in the cloud")

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, fail)
        await asyncio.sleep(10)

    with pytest.raises(AssertionError, match="a bug in the cloud"):
        run(1, main())


def order_of(seed: int) -> list[str]:
    async def main() -> list[str]:
        cloud = Cloud()
        seen: list[str] = []

        async def step(name: str) -> None:
            seen.append(name)

        tasks = [cloud.process(f"p{number % 2}").start(step(f"p{number % 2}.{number}")) for number in range(8)]
        await asyncio.gather(*tasks)
        return seen

    return run(seed, main())


def test_processes_interleave_by_the_seed_and_each_keeps_its_order() -> None:
    orders = [order_of(seed) for seed in range(20)]
    for order in orders:
        for process in ("p0", "p1"):
            mine = [name for name in order if name.startswith(process)]
            assert mine == sorted(mine)
    assert {order[0] for order in orders} == {"p0.0", "p1.1"}
    assert orders == [order_of(seed) for seed in range(20)]


def test_a_paused_process_stands_still_and_then_catches_up_in_order() -> None:
    async def main() -> tuple[list[tuple[str, float]], float]:
        cloud = Cloud()
        seen: list[tuple[str, float]] = []
        process = cloud.process("gateway")

        async def tick() -> None:
            for number in range(4):
                await asyncio.sleep(1)
                seen.append((f"tick {number}", cloud.loop.time()))

        task = process.start(tick())
        await asyncio.sleep(1.5)
        process.pause(60)
        await asyncio.sleep(10)
        stopped = len(seen)
        await task
        return seen, stopped

    seen, stopped = run(1, main())
    assert stopped == 1
    assert seen == [("tick 0", 1.0), ("tick 1", 61.5), ("tick 2", 62.5), ("tick 3", 63.5)]


def test_nothing_of_a_killed_process_runs_again() -> None:
    async def main() -> tuple[list[str], list[object]]:
        cloud = Cloud()
        cloud.dynamodb.create_table("t", ("pk", "S"))
        seen: list[str] = []
        process = cloud.process("gateway")

        async def work() -> None:
            try:
                await asyncio.sleep(10)
                seen.append("went on")
            except BaseException:
                seen.append("noticed")
                raise
            finally:
                seen.append("cleaned up")
                await cloud.client(process).call(
                    "dynamodb", "put_item", TableName="t", Item={"pk": {"S": "a farewell"}}
                )

        process.start(work())
        await asyncio.sleep(1)
        process.kill()
        await asyncio.sleep(100)
        return list(seen), list(cloud.dynamodb.items("t"))

    assert run(1, main()) == ([], [])


def test_a_request_outlives_its_sender() -> None:
    async def main() -> list[object]:
        cloud = Cloud()
        cloud.dynamodb.create_table("t", ("pk", "S"))
        process = cloud.process("gateway")
        client = cloud.client(process)

        async def put() -> None:
            await client.call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": "a"}})

        process.start(put())
        await asyncio.sleep(0.0001)
        process.kill()
        with pytest.raises(Killed):
            await put()
        await asyncio.sleep(1)
        return list(cloud.dynamodb.items("t"))

    assert run(1, main()) == [{"pk": {"S": "a"}}]


def test_a_partition_ends_calls_as_the_sdk_would() -> None:
    async def main() -> tuple[float, int]:
        cloud = Cloud(sdk_attempts=1)
        cloud.dynamodb.create_table("t", ("pk", "S"))
        process = cloud.process("gateway")
        process.partition(60)
        with pytest.raises(Exception, match="cut off"):
            await cloud.client(process).call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": "a"}})
        failed = cloud.loop.time()
        process.heal()
        await cloud.client(process).call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": "b"}})
        return failed, len(cloud.dynamodb.items("t"))

    assert run(1, main()) == (3.0, 1)


def test_a_partition_from_one_service_leaves_the_others() -> None:
    async def main() -> int:
        cloud = Cloud()
        cloud.dynamodb.create_table("t", ("pk", "S"))
        process = cloud.process("gateway")
        process.partition(60, "sqs")
        await cloud.client(process).call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": "a"}})
        with pytest.raises(Exception, match="cut off"):
            await cloud.client(process).call("sqs", "create_queue", QueueName="q")
        return len(cloud.dynamodb.items("t"))

    assert run(1, main()) == 1


def test_tasks_that_are_left_end_without_effect_or_noise(capsys: pytest.CaptureFixture[str]) -> None:
    reached: list[str] = []

    async def main() -> None:
        cloud = Cloud()
        cloud.dynamodb.create_table("t", ("pk", "S"))
        client = cloud.client("gateway")

        async def forever() -> None:
            try:
                while True:  # noqa: ASYNC110
                    await asyncio.sleep(1)
            finally:
                await client.call("dynamodb", "put_item", TableName="t", Item={"pk": {"S": "late"}})
                reached.append("the call had an effect")

        cloud.process("gateway").start(forever())
        await asyncio.sleep(2)

    run(1, main())
    assert not reached
    assert capsys.readouterr().err == ""


def test_a_run_is_the_same_in_every_python_process() -> None:
    """The hashes of text, and with them the order of sets, differ between the two."""
    program = "from faaskeeper_simulator.cloud_workload import digest; print(digest(7))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": f"{ROOT / 'simulator'}{os.pathsep}{ROOT / 'lambda_src'}",
            },
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_the_tasks_of_killed_processes_stay_until_the_end() -> None:
    """Were they collected, their ``finally`` blocks would run in the midst of the run."""

    async def main() -> tuple[list[str], list[object]]:
        cloud = Cloud()
        cloud.ssm.parameters["/p"] = "v"
        ran: list[str] = []

        async def call(process: Process) -> None:
            try:
                await cloud.client(process).call("ssm", "get_parameter", Name="/p")
            finally:
                ran.append("cleaned up")

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ran.append("cleaned up")

        async def live_and_die(process: Process) -> None:
            # until then somebody must hold them, as asyncio itself does not
            alive = process.start(call(process)), process.start(wait())
            await asyncio.sleep(0.001)
            process.kill()
            del alive

        for number in range(20):
            await live_and_die(cloud.process(f"p{number}"))
        gc.collect()
        await asyncio.sleep(10)
        gc.collect()
        return list(ran), list(cloud.loop.unhandled)

    assert run(1, main()) == ([], [])
