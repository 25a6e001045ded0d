"""Functions: warm instances, timeouts, crashes, event source mappings, asynchronous and scheduled invocations."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest

from faaskeeper.blocks.errors import AwsError, NotFound
from faaskeeper_simulator.cloud import Cloud, Context, FaultKind, Faults, FunctionFailed, Instance, run
from faaskeeper_simulator.cloud.lambda_ import Handler
from faaskeeper_simulator.cloud_workload import TABLE, busy
from tests.simulator.test_cloud_sqs import send

SEEDS = 60


async def fifo_queue(cloud: Cloud, visibility: int = 10) -> str:
    created = await cloud.admin.call(
        "sqs",
        "create_queue",
        QueueName="q.fifo",
        Attributes={"FifoQueue": "true", "VisibilityTimeout": str(visibility)},
    )
    return created["QueueUrl"]


def test_an_instance_keeps_its_state_and_is_frozen_between_invocations() -> None:
    ticks: list[float] = []

    def start(instance: Instance) -> Handler:
        count = 0

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.1)
                ticks.append(asyncio.get_running_loop().time())

        async def handle(event: Any, context: Context) -> Any:
            nonlocal count
            count += 1
            if count == 1:
                asyncio.create_task(tick())  # noqa: RUF006
            await asyncio.sleep(0.5)
            return {"count": count, "left": context.get_remaining_time_in_millis()}

        return handle

    async def main() -> list[Any]:
        cloud = Cloud()
        cloud.functions.register("f", start, timeout=10)
        results: list[Any] = []
        for _ in range(3):
            results.append(await cloud.functions.invoke("f", {}))
            await asyncio.sleep(100)
        return results

    results = run(1, main())
    assert [result["count"] for result in results] == [1, 2, 3]
    assert all(9400 < result["left"] <= 9500 for result in results)
    assert 10 < len(ticks) < 20


def test_concurrent_invocations_have_instances_of_their_own() -> None:
    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> str:
            await asyncio.sleep(1)
            return instance.process.name

        return handle

    async def main() -> tuple[list[str], str]:
        cloud = Cloud()
        cloud.functions.register("f", start, concurrency=3)
        names = await asyncio.gather(*(cloud.functions.invoke("f", {}) for _ in range(3)))
        running = [asyncio.create_task(cloud.functions.invoke("f", {})) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(AwsError, match="TooManyRequestsException"):
            await cloud.functions.invoke("f", {})
        await asyncio.gather(*running)
        return names, await cloud.functions.invoke("f", {})

    names, later = run(1, main())
    assert len(set(names)) == 3
    assert later in names


def test_a_function_that_takes_too_long_is_killed_with_its_instance() -> None:
    reached: list[str] = []

    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> str:
            try:
                await asyncio.sleep(event["seconds"])
            finally:
                reached.append(instance.process.name)
            return instance.process.name

        return handle

    async def main() -> tuple[str, str, list[str]]:
        cloud = Cloud()
        cloud.functions.register("f", start, timeout=5)
        first = await cloud.functions.invoke("f", {"seconds": 1})
        with pytest.raises(FunctionFailed, match="Timedout"):
            await cloud.functions.invoke("f", {"seconds": 60})
        assert reached == [first]
        return first, await cloud.functions.invoke("f", {"seconds": 1}), list(reached)

    first, later, reached_in_time = run(1, main())
    assert first != later
    assert reached_in_time == [first, later]


def test_events_and_results_are_json() -> None:
    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> Any:
            event["seen"] = True
            return {1: event}

        return handle

    async def main() -> tuple[Any, Any]:
        cloud = Cloud()
        cloud.functions.register("f", start)
        event = {"n": 1}
        answer = await cloud.client("p").call("lambda", "invoke", FunctionName="f", Payload=json.dumps(event).encode())
        with pytest.raises(NotFound):
            await cloud.client("p").call("lambda", "invoke", FunctionName="g", Payload=b"{}")
        return event, json.loads(answer["Payload"])

    assert run(1, main()) == ({"n": 1}, {"1": {"n": 1, "seen": True}})


def test_a_failed_batch_comes_back_after_the_visibility_timeout() -> None:
    calls: list[tuple[float, list[str]]] = []

    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> None:
            calls.append((asyncio.get_running_loop().time(), [record["body"] for record in event["Records"]]))
            if len(calls) == 1:
                raise ValueError("once")

        return handle

    async def main() -> tuple[int, str]:
        cloud = Cloud()
        url = await fifo_queue(cloud)
        for number in range(3):
            await send(cloud.admin, url, str(number))
        cloud.functions.register("f", start, timeout=10)
        cloud.connect_queue(url, "f")
        await asyncio.sleep(60)
        return len(cloud.sqs.messages("q.fifo")), cloud.functions.failures[0].kind

    assert run(1, main()) == (0, "ValueError")
    (first, one), (second, two) = calls
    assert one == two == ["0", "1", "2"]
    assert 9.5 < second - first < 11


@pytest.mark.parametrize(
    ("report", "again"),
    [
        (None, []),
        ({}, []),
        ({"batchItemFailures": []}, []),
        ({"batchItemFailures": None}, []),
        ("third", ["2"]),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, ["0", "1", "2"]),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, ["0", "1", "2"]),
        ({"batchItemFailures": [{"id": "x"}]}, ["0", "1", "2"]),
    ],
    ids=str,
)
def test_partial_batch_responses(report: Any, again: list[str]) -> None:
    batches: list[list[str]] = []

    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> Any:
            batches.append([record["body"] for record in event["Records"]])
            if len(batches) > 1:
                return None
            if report == "third":
                return {"batchItemFailures": [{"itemIdentifier": event["Records"][2]["messageId"]}]}
            return report

        return handle

    async def main() -> None:
        cloud = Cloud()
        url = await fifo_queue(cloud)
        for number in range(3):
            await send(cloud.admin, url, str(number))
        cloud.functions.register("f", start, timeout=5)
        cloud.connect_queue(url, "f")
        await asyncio.sleep(60)
        assert cloud.sqs.messages("q.fifo") == []

    run(1, main())
    assert batches == [["0", "1", "2"], *([again] if again else [])]


def test_settings_that_aws_refuses() -> None:
    async def main() -> None:
        cloud = Cloud()
        url = await fifo_queue(cloud, visibility=5)

        def start(instance: Instance) -> Handler:
            raise AssertionError("never started")

        cloud.functions.register("f", start, timeout=6)
        with pytest.raises(ValueError, match="visibility timeout"):
            cloud.connect_queue(url, "f")
        cloud.functions.register("f", start, timeout=5)
        with pytest.raises(ValueError, match="batch size"):
            cloud.connect_queue(url, "f", batch_size=11)

    run(1, main())


def test_an_asynchronous_invocation_is_tried_three_times() -> None:
    times: list[float] = []

    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> None:
            times.append(asyncio.get_running_loop().time())
            raise ValueError(event["why"])

        return handle

    async def main() -> None:
        cloud = Cloud()
        cloud.functions.register("f", start)
        answer = await cloud.client("p").call(
            "lambda", "invoke", FunctionName="f", InvocationType="Event", Payload=b'{"why": "always"}'
        )
        assert answer["StatusCode"] == 202
        await asyncio.sleep(1000)

    run(1, main())
    assert len(times) == 3
    assert 45 < times[1] - times[0] < 75
    assert 90 < times[2] - times[1] < 150


def test_a_schedule_fires_each_time_perhaps_late_or_twice() -> None:
    def invocations(faults: Faults) -> list[float]:
        times: list[float] = []

        def start(instance: Instance) -> Handler:
            async def handle(event: Any, context: Context) -> None:
                times.append(asyncio.get_running_loop().time())

            return handle

        async def main() -> None:
            cloud = Cloud(faults)
            cloud.functions.register("f", start)
            cloud.functions.schedule("f", every=60)
            await asyncio.sleep(3600)

        run(1, main())
        return times

    calm = invocations(Faults.none())
    assert len(calm) == 60
    assert all(59 < b - a < 61 for a, b in itertools.pairwise(calm))
    busy_times = invocations(Faults.only(1, FaultKind.DOUBLE_INVOKE, FaultKind.LATE_SCHEDULE, rate=0.3))
    assert len(busy_times) > 65
    assert max(b - a for a, b in itertools.pairwise(busy_times)) > 61


def overlapping(seed: int, faults: Faults) -> tuple[bool, bool]:
    """Whether two instances had a message of the one group at once, and whether every message was handled."""
    running: dict[str, str] = {}
    overlapped = False
    handled: set[str] = set()

    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> None:
            nonlocal overlapped
            for record in event["Records"]:
                other = running.get(record["body"])
                overlapped = overlapped or (other is not None and other != instance.process.name)
                running[record["body"]] = instance.process.name
            await instance.aws.call("ssm", "get_parameter", Name="/p")
            await asyncio.sleep(1)
            for record in event["Records"]:
                running.pop(record["body"], None)
                handled.add(record["body"])

        return handle

    async def main() -> None:
        cloud = Cloud(faults)
        cloud.ssm.parameters["/p"] = "v"
        url = await fifo_queue(cloud)
        cloud.functions.register("f", start, timeout=10)
        cloud.connect_queue(url, "f")
        for number in range(10):
            await send(cloud.admin, url, str(number))
            await asyncio.sleep(0.5)
        await asyncio.sleep(1000)

    run(seed, main())
    return overlapped, len(handled) == 10


@pytest.mark.parametrize(("kind", "rate"), [(FaultKind.STALL, 0.2), (FaultKind.EARLY_REDELIVERY, 0.2)])
def test_two_instances_can_have_one_group_at_once(kind: FaultKind, rate: float) -> None:
    results = [overlapping(seed, Faults.only(seed, kind, rate=rate)) for seed in range(SEEDS)]
    assert any(overlapped for overlapped, _ in results)
    assert all(complete for _, complete in results)


def test_without_faults_a_group_has_one_instance_at_a_time() -> None:
    for seed in range(10):
        assert overlapping(seed, Faults.none()) == (False, True)


@pytest.mark.parametrize(("kind", "effects"), [(FaultKind.KILL_BEFORE, 0), (FaultKind.KILL_AFTER, 1)])
def test_an_instance_can_die_at_any_call(kind: FaultKind, effects: int) -> None:
    """It dies at its second call; nothing of it runs afterwards, and another instance gets the message."""

    def start(instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> None:
            try:
                for name in ("first", "second", "third"):
                    item = {"pk": {"S": name}, "sk": {"S": instance.process.name}}
                    await instance.aws.call("dynamodb", "put_item", TableName="t", Item=item)
            finally:
                finished.append(instance.process.name)

        return handle

    finished: list[str] = []

    async def main() -> list[str]:
        faults = Faults.none()
        faults.script = lambda site: kind if site.process == "f-1" and site.number == 2 else None
        cloud = Cloud(faults)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        url = await fifo_queue(cloud)
        cloud.functions.register("f", start, timeout=10)
        cloud.connect_queue(url, "f")
        await send(cloud.admin, url, "m")
        await asyncio.sleep(30)
        assert cloud.sqs.messages("q.fifo") == []
        assert [failure.kind for failure in cloud.functions.failures] == ["Runtime.ExitError"]
        assert finished == ["f-2"]
        return sorted(f"{item['sk']['S']} {item['pk']['S']}" for item in cloud.dynamodb.items("t"))

    written = run(1, main())
    assert written == ["f-1 first", *["f-1 second"] * effects, "f-2 first", "f-2 second", "f-2 third"]


def test_exactly_once_by_sequence_number_under_all_faults() -> None:
    """The pattern the sequencer rests on: a compare with the sequence number makes redelivery harmless."""
    kinds: set[FaultKind] = set()
    for seed in range(SEEDS):
        faults = Faults.all(seed)
        cloud = run(seed, busy(faults, rounds=5), limit=10_000)
        counter = next(item for item in cloud.dynamodb.items(TABLE) if item["pk"] == {"S": "counter"})
        assert int(counter["n"]["N"]) == cloud.sqs.named("test", "requests.fifo").accepted > 0
        kinds |= {fault.kind for fault in faults.trace}
    assert {FaultKind.KILL_AFTER, FaultKind.STALL, FaultKind.LOST_ANSWER, FaultKind.EARLY_REDELIVERY} <= kinds
