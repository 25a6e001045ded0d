"""The simulated Lambda: instances that stay warm, freeze between invocations, time out and crash."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, NotFound, Throttled

from . import latency
from .faults import FaultKind, Faults
from .loop import SimulationLoop
from .process import Process
from .service import EPOCH, Answer
from .usage import Usage

MAX_EVENT: Final = 6 * 1024 * 1024
MAX_ASYNCHRONOUS_EVENT: Final = 1024 * 1024
ASYNCHRONOUS_RETRY_DELAYS: Final = (60.0, 120.0)
MAX_EVENT_AGE: Final = 21_600.0

Handler: TypeAlias = Callable[[Any, "Context"], Awaitable[Any]]


class FunctionFailed(Exception):
    """The invocation raised, timed out, or its instance died; ``kind`` says which."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Context:
    """The second argument of a handler."""

    function_name: str
    aws_request_id: str
    memory_limit_in_mb: int
    invoked_function_arn: str
    _remaining: Callable[[], float]

    def get_remaining_time_in_millis(self) -> int:
        return int(self._remaining() * 1000)


@dataclass(slots=True, eq=False)
class Instance:
    """One warm execution environment: a process, its seam to AWS, and what ``start`` made at the cold start."""

    process: Process
    aws: Aws
    handler: Handler | None = None
    busy: bool = False
    done: asyncio.Future[Any] | None = None


@dataclass(slots=True, eq=False)
class Function:
    """``start`` runs at each cold start, in the new instance, and returns the handler. ``timeout`` in seconds,
    ``memory`` in MB, ``concurrency`` the most instances at once."""

    name: str
    start: Callable[[Instance], Handler]
    timeout: float
    memory: int
    concurrency: int
    instances: list[Instance] = field(default_factory=list[Instance])
    started: int = 0


@dataclass(slots=True)
class Lambda:
    loop: SimulationLoop
    faults: Faults
    usage: Usage
    make_instance: Callable[[str], Instance]
    chance: random.Random = field(init=False)
    failures: list[FunctionFailed] = field(default_factory=list[FunctionFailed])
    """Every failed invocation, for assertions."""
    _functions: dict[str, Function] = field(default_factory=dict[str, Function])
    _tasks: dict[asyncio.Task[None], None] = field(default_factory=dict[asyncio.Task[None], None])

    def __post_init__(self) -> None:
        self.chance = self.loop.stream("lambda")

    def register(
        self,
        name: str,
        start: Callable[[Instance], Handler],
        *,
        timeout: float = 15.0,
        memory: int = 512,
        concurrency: int = 100,
    ) -> Function:
        function = self._functions[name] = Function(name, start, timeout, memory, concurrency)
        return function

    def processes(self) -> list[Process]:
        """Of every instance."""
        return [instance.process for function in self._functions.values() for instance in function.instances]

    def function(self, name: str) -> Function:
        """By name or ARN. Raises NotFound."""
        function = self._functions.get(name.rpartition(":")[2])
        if function is None:
            raise NotFound("lambda", "invoke", "ResourceNotFoundException", f"Function not found: {name}")
        return function

    def call(self, operation: str, parameters: dict[str, Any], sent: float) -> Answer:
        """Invoke. Raises AwsError."""
        if operation != "invoke":
            raise AwsError("lambda", operation, "NotSimulated", "this operation is not simulated")
        function = self.function(parameters["FunctionName"])
        payload = parameters.get("Payload", b"{}")
        asynchronous = parameters.get("InvocationType", "RequestResponse") == "Event"
        limit = MAX_ASYNCHRONOUS_EVENT if asynchronous else MAX_EVENT
        if len(payload) > limit:
            raise AwsError(
                "lambda", operation, "RequestTooLargeException", f"{len(payload)} bytes; {limit} are allowed"
            )
        event = json.loads(payload)
        if asynchronous:
            self.invoke_later(function.name, event)
            return {"StatusCode": 202, "Payload": b""}
        return self._spawn_result(self._answer(function.name, event))

    async def _answer(self, name: str, event: Any) -> dict[str, Any]:
        try:
            result = await self.invoke(name, event)
        except FunctionFailed as failure:
            error = {"errorType": failure.kind, "errorMessage": str(failure)}
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": json.dumps(error).encode()}
        return {"StatusCode": 200, "Payload": json.dumps(result).encode()}

    async def invoke(self, name: str, event: Any) -> Any:
        """Runs one invocation and returns its result. Raises FunctionFailed, and Throttled at the concurrency limit."""
        function = self.function(name)
        instance, delay = self._instance(function)
        instance.busy = True
        done = instance.done = self.loop.create_future()
        process = instance.process
        begun = self.loop.time() + delay
        deadline = begun + function.timeout
        context = Context(
            function.name,
            f"{self.chance.getrandbits(64):016x}",
            function.memory,
            f"arn:aws:lambda:us-east-1:000000000000:function:{function.name}",
            lambda: max(0.0, deadline - self.loop.time()),
        )
        event = json.loads(json.dumps(event))

        def crash() -> None:
            _fail(done, "Runtime.ExitError", f"{process.name} died")

        process.when_killed(crash)
        process.resume()
        process.post(self._begin, function, instance, event, context, delay=delay)
        timer = self.loop.call_at(deadline, self._time_out, instance, done)
        try:
            return await done
        except FunctionFailed as failure:
            self.failures.append(failure)
            raise
        finally:
            timer.cancel()
            process.forget_when_killed(crash)
            self._retire(function, instance, self.loop.time() - begun)

    def _instance(self, function: Function) -> tuple[Instance, float]:
        """An instance for the next invocation, and how long until its handler starts. Raises Throttled."""
        delay = latency.FUNCTION_START.at(self.chance.random())
        idle = [instance for instance in function.instances if not instance.busy]
        room = len(function.instances) - len(idle) < function.concurrency
        if not room:
            raise Throttled("lambda", "invoke", "TooManyRequestsException", f"{function.name} at its concurrency limit")
        if idle and not self.faults.happens(FaultKind.COLD_START, function.name):
            return self.chance.choice(idle), delay
        function.started += 1
        instance = self.make_instance(f"{function.name}-{function.started}")
        function.instances.append(instance)
        return instance, delay + latency.COLD_START.at(self.chance.random())

    def _begin(self, function: Function, instance: Instance, event: Any, context: Context) -> None:
        """In the instance's process."""
        done = instance.done
        assert done is not None
        instance.process.start(self._run(function, instance, event, context, done), name=context.aws_request_id)

    async def _run(
        self, function: Function, instance: Instance, event: Any, context: Context, done: asyncio.Future[Any]
    ) -> None:
        try:
            if instance.handler is None:
                instance.handler = function.start(instance)
            result = await instance.handler(event, context)
            result = json.loads(json.dumps(result))
        except Exception as error:
            failure = FunctionFailed(type(error).__name__, str(error))
            failure.__cause__ = error
            if not done.done():
                done.set_exception(failure)
        else:
            if not done.done():
                done.set_result(result)
        instance.process.pause()  # frozen until the next invocation, background tasks included

    def _time_out(self, instance: Instance, done: asyncio.Future[Any]) -> None:
        """Ends the invocation and its instance. While the host stalls, so does whoever enforces the timeout."""
        if done.done():
            return
        now = self.loop.time()
        if instance.process.paused_until > now:
            again = instance.process.paused_until + self.chance.random() ** 4
            self.loop.call_at(again, self._time_out, instance, done)
            return
        _fail(done, "Sandbox.Timedout", f"{instance.process.name} timed out")
        instance.process.kill()

    def _retire(self, function: Function, instance: Instance, seconds: float) -> None:
        instance.busy = False
        if instance.process.dead:
            function.instances.remove(instance)
        self.usage.add("lambda.request")
        self.usage.add("lambda.gb_s", max(0.001, seconds) * function.memory / 1024)

    def invoke_later(self, name: str, event: Any, *, delay: float = 0.0) -> None:
        """Asynchronous invocation: at least once, twice again after failures."""
        self._spawn(self._invoke_with_retries(name, event, delay))
        doubled = self.faults.strike(FaultKind.DOUBLE_INVOKE, name)
        if doubled is not None:
            self._spawn(self._invoke_with_retries(name, event, delay + doubled.seconds))

    async def _invoke_with_retries(self, name: str, event: Any, delay: float) -> None:
        await asyncio.sleep(delay + latency.INVOKE.at(self.chance.random()))
        given_up = self.loop.time() + MAX_EVENT_AGE
        retries = list(ASYNCHRONOUS_RETRY_DELAYS)
        backoff = 1.0
        while self.loop.time() < given_up:
            try:
                await self.invoke(name, event)
                return
            except FunctionFailed:
                if not retries:
                    return
                await asyncio.sleep(retries.pop(0) * (0.8 + 0.4 * self.chance.random()))
            except Throttled:
                await asyncio.sleep(backoff)
                backoff = min(300.0, backoff * 2)

    def schedule(self, name: str, every: float) -> None:
        """Invokes the function every so many seconds, at least once each, perhaps late."""
        self._spawn(self._run_schedule(name, every))

    async def _run_schedule(self, name: str, every: float) -> None:
        due = self.loop.time() + every * self.chance.random()
        while True:
            await asyncio.sleep(max(0.0, due - self.loop.time()))
            late = self.faults.strike(FaultKind.LATE_SCHEDULE, name)
            event: dict[str, Any] = {
                "source": "aws.events",
                "detail-type": "Scheduled Event",
                "time": EPOCH + due,
                "detail": {},
            }
            self.invoke_later(name, event, delay=late.seconds if late is not None else 0.0)
            due += every

    def _spawn(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = self.loop.create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._tasks.pop(task, None))

    def _spawn_result(self, coroutine: Any) -> asyncio.Future[Any]:
        return self.loop.create_task(coroutine)


def _fail(done: asyncio.Future[Any], kind: str, message: str) -> None:
    if not done.done():
        done.set_exception(FunctionFailed(kind, message))
