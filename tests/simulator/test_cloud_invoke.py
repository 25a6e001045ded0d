"""A synchronous invocation as its caller sees it: every fate, and what the function did meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from faaskeeper.blocks.errors import AwsError, NotFound, Throttled, Unavailable
from faaskeeper_simulator.cloud import Cloud, Context, FaultKind, Faults, Instance, run
from faaskeeper_simulator.cloud.lambda_ import MAX_EVENT, Handler

Did = list[tuple[str, float]]


class Stage:
    """A function that answers after so many seconds with its instance's name, and puts down when it was done."""

    def __init__(self, fault: FaultKind | tuple[FaultKind, float] | None = None, **options: Any) -> None:
        self.cloud = Cloud(Faults.none())
        self.cloud.faults.script = lambda site: fault if site.operation == "invoke" and site.number == 1 else None
        self.did: Did = []
        self.cloud.functions.register("f", self._start, **{"timeout": 5.0, **options})
        self.aws = self.cloud.client("caller")

    def _start(self, instance: Instance) -> Handler:
        async def handle(event: Any, context: Context) -> Any:
            await asyncio.sleep(event.get("seconds", 0))
            if event.get("fails"):
                raise ValueError("as asked")
            self.did.append((instance.process.name, asyncio.get_running_loop().time()))
            return instance.process.name

        return handle

    async def invoke(self, name: str = "f", **event: Any) -> Any:
        answer = await self.aws.call("lambda", "invoke", FunctionName=name, Payload=json.dumps(event).encode())
        return answer.get("FunctionError"), json.loads(answer["Payload"])


def test_the_answer_is_the_functions() -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.invoke() == (None, "f-1")
        assert await stage.invoke() == (None, "f-1")  # the instance, frozen in between, is revived

    run(1, main())


@pytest.mark.parametrize(
    ("event", "kind"),
    [({"fails": True}, "ValueError"), ({"seconds": 8}, "Sandbox.Timedout")],
    ids=["error", "time-out"],
)
def test_a_function_that_fails_is_an_answer(event: dict[str, Any], kind: str) -> None:
    async def main() -> None:
        stage = Stage()
        failed, answer = await stage.invoke(**event)
        assert failed == "Unhandled"
        assert answer["errorType"] == kind
        assert not stage.did

    run(1, main())


def test_an_instance_that_is_killed_is_an_answer() -> None:
    async def main() -> None:
        stage = Stage()
        call = asyncio.ensure_future(stage.invoke(seconds=2))
        await asyncio.sleep(1.5)
        (instance,) = stage.cloud.functions.function("f").instances
        instance.process.kill()
        assert (await call)[0] == "Unhandled"
        assert not stage.did
        assert await stage.invoke() == (None, "f-2")

    run(1, main())


def test_what_never_ran() -> None:
    async def main() -> None:
        stage = Stage(concurrency=1)
        with pytest.raises(NotFound):
            await stage.invoke("g")
        with pytest.raises(AwsError, match="RequestTooLargeException"):
            await stage.invoke(padding="x" * MAX_EVENT)
        first = asyncio.ensure_future(stage.invoke(seconds=2))
        await asyncio.sleep(0.5)
        with pytest.raises(Throttled):
            await stage.invoke()
        await first
        assert len(stage.did) == 1

    run(1, main())


def test_two_callers_have_two_instances() -> None:
    async def main() -> None:
        stage = Stage()
        answers = await asyncio.gather(*(stage.invoke(seconds=1) for _ in range(2)))
        assert {name for _, name in answers} == {"f-1", "f-2"}

    run(1, main())


@pytest.mark.parametrize("fault", [FaultKind.LOST_ANSWER, (FaultKind.LATE_EFFECT, 30.0)], ids=["lost", "late"])
def test_who_gets_no_answer_does_not_know(fault: FaultKind | tuple[FaultKind, float]) -> None:
    """A late copy runs after its caller has given up, and after the copy that was made instead."""

    async def main() -> None:
        stage = Stage(fault)
        with pytest.raises(Unavailable):
            await stage.invoke()
        given_up = asyncio.get_running_loop().time()
        await stage.invoke()
        again = asyncio.get_running_loop().time()
        await asyncio.sleep(60)
        first, second = sorted(time for _, time in stage.did)
        if fault is FaultKind.LOST_ANSWER:
            assert first < given_up < second
        else:
            assert given_up < first < again < second

    run(1, main())
