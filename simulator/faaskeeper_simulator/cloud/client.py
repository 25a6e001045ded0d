"""The seam ``faaskeeper.blocks.aws.Aws`` as one process sees it: latency, faults, and the SDK's retry.

A request takes effect at the service when it arrives there, whatever has become of its sender, and the answer
reaches the sender when its process runs.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError, CancellationReason, Throttled, TransactionCancelled, Unavailable

from . import latency, shapes
from .faults import FaultKind, Faults, Injected
from .loop import SimulationLoop
from .process import Killed, Process
from .service import At, Service
from .usage import Usage

CONNECT_TIMEOUT: Final = 3.0
READ_TIMEOUT: Final = 10.0
"""As ``faaskeeper.blocks.aws.BotoAws`` has it, beyond what the call itself asks to wait."""
_RETRIED: Final = (Throttled, Unavailable)

Outcome: TypeAlias = Response | AwsError
Tap: TypeAlias = Callable[[str, str, str, Mapping[str, Any], "At | Outcome | asyncio.Future[Any]"], None]
"""Told (process, service, operation, parameters, answer) of each call that took effect, when it does; of one that takes
effect later, when it arrives."""
Heard: TypeAlias = Callable[[str, Mapping[str, Any], Response], None]
"""Told (process, parameters, answer) of each synchronous invocation whose caller gets the answer, when it does."""


class Record(NamedTuple):
    """One call as it took effect: for the history that a failing run prints, and to compare runs."""

    time: float
    process: str
    service: str
    operation: str
    outcome: str


@dataclass(slots=True)
class Network:
    """What every client shares."""

    loop: SimulationLoop
    faults: Faults
    usage: Usage
    services: Mapping[str, Service]
    chance: random.Random
    sdk_attempts: int
    context: contextvars.Context = field(default_factory=contextvars.Context)
    history: deque[Record] = field(default_factory=lambda: deque[Record](maxlen=20_000))
    taps: list[Tap] = field(default_factory=list[Tap])
    heard: list[Heard] = field(default_factory=list[Heard])


class Client:
    """Aws for one process. The process being dead, calls raise Killed."""

    def __init__(
        self, network: Network, process: Process, *, ideal: bool = False, timeout: float = READ_TIMEOUT
    ) -> None:
        self.process = process
        self._timeout = timeout
        self._network = network
        self._ideal = ideal

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        network = self._network
        if self.process.dead or network.loop.closing:
            raise Killed(self.process.name)
        if service not in network.services:
            raise AwsError(service, operation, "NotSimulated", "this service is not simulated")
        shapes.check(service, operation, parameters)
        if operation == "transact_write_items" and "ClientRequestToken" not in parameters:
            parameters["ClientRequestToken"] = f"{network.chance.getrandbits(128):032x}"  # as the SDK does
        timeout = self._timeout + parameters.get("WaitTimeSeconds", 0)
        call = _Call(network, self.process, service, operation, parameters, ideal=self._ideal, timeout=timeout)
        return await call.start()


class _Call:
    """One call, with its retry. It outlives a caller that was cancelled, as a thread in the SDK does."""

    __slots__ = (
        "_attempt",
        "_fault",
        "_future",
        "_ideal",
        "_network",
        "_operation",
        "_parameters",
        "_process",
        "_return_delay",
        "_sent",
        "_service",
        "_timeout",
    )

    def __init__(
        self,
        network: Network,
        process: Process,
        service: str,
        operation: str,
        parameters: dict[str, Any],
        *,
        ideal: bool,
        timeout: float,
    ) -> None:
        self._network = network
        self._process = process
        self._service = service
        self._operation = operation
        self._parameters = parameters
        self._ideal = ideal
        self._timeout = timeout
        self._attempt = 0
        self._sent = 0.0
        self._return_delay = 0.0
        self._fault: Injected | None = None
        self._future: asyncio.Future[Response] = network.loop.create_future()

    def start(self) -> asyncio.Future[Response]:
        self._process.expect(self._future)
        self._send()
        return self._future

    def _send(self) -> None:
        network, process = self._network, self._process
        loop = network.loop
        now = self._sent = loop.time()
        self._attempt += 1
        if self._ideal:
            loop.call_soon(self._arrive, context=network.context)
            return
        synchronous = self._operation == "invoke" and self._parameters.get("InvocationType") != "Event"
        curve = latency.of_call(self._service, self._operation, synchronous=synchronous)
        travel = curve.at(network.chance.random()) * process.slowness
        outward = travel * (0.2 + 0.6 * network.chance.random())
        self._return_delay = travel - outward
        fault = self._fault = network.faults.at_call(
            process.name, self._service, self._operation, mortal=process.mortal
        )
        if process.cut_off(self._service):
            self._answer_at(now + CONNECT_TIMEOUT, self._unavailable("cut off"))
            return
        if fault is not None:
            kind = fault.kind
            if kind is FaultKind.KILL_BEFORE:
                loop.call_soon(process.kill, context=network.context)  # soon: the caller must be waiting by then
                return
            if kind is FaultKind.UNAVAILABLE:
                self._answer_at(now + self._patience(), self._unavailable("no connection"))
                return
            if kind is FaultKind.THROTTLE:
                self._answer_at(now + travel, self._throttled())
                return
            if kind is FaultKind.LATE_EFFECT:
                self._answer_at(now + outward + self._patience(), self._unavailable("gave up"))
                outward += fault.seconds
            elif kind is FaultKind.STALL:
                process.pause(fault.seconds)
            elif kind is FaultKind.DELAY:
                if network.faults.share() < 0.5:
                    outward += fault.seconds
                else:
                    self._return_delay += fault.seconds
        loop.call_at(now + outward, self._arrive, context=network.context)

    def _arrive(self) -> None:
        network = self._network
        network.usage.calls[f"{self._service}.{self._operation}"] += 1
        active = network.faults.active
        network.faults.active = active and not self._ideal
        try:
            answer = network.services[self._service].call(self._operation, self._parameters, self._sent)
        except AwsError as error:
            self._leave(network.loop.time(), error)
            return
        finally:
            network.faults.active = active
        for tap in network.taps:
            tap(self._process.name, self._service, self._operation, self._parameters, answer)
        if isinstance(answer, At):
            self._leave(answer.when, answer.result)
        elif isinstance(answer, asyncio.Future):
            answer.add_done_callback(self._leave_later, context=network.context)
            self._answer_at(max(network.loop.time(), self._sent + self._timeout), self._unavailable("no answer"))
        else:
            self._leave(network.loop.time(), answer)

    def _leave_later(self, answer: asyncio.Future[Response]) -> None:
        error = answer.exception()
        if error is not None and not isinstance(error, AwsError):
            raise error
        self._leave(self._network.loop.time(), error if error is not None else answer.result())

    def _leave(self, when: float, outcome: Outcome) -> None:
        """The service answers at ``when``."""
        network = self._network
        shown = outcome.code if isinstance(outcome, AwsError) else "ok"
        network.history.append(Record(when, self._process.name, self._service, self._operation, shown))
        kind = self._fault.kind if self._fault is not None else None
        if kind is FaultKind.LATE_EFFECT:
            return  # the caller has given up, or will have
        if kind is FaultKind.KILL_AFTER:
            network.loop.call_at(
                when + self._return_delay * network.faults.share(), self._process.kill, context=network.context
            )
            return
        if kind is FaultKind.LOST_ANSWER:
            self._answer_at(when + self._patience(), self._unavailable("no answer"))
            return
        self._answer_at(when + self._return_delay, outcome)

    def _answer_at(self, when: float, outcome: Outcome) -> None:
        self._network.loop.call_at(when, self._receive, outcome, context=self._process.context)

    def _receive(self, outcome: Outcome) -> None:
        """In the calling process: the answer, unless a partition swallows it; then what the SDK makes of it."""
        network, process = self._network, self._process
        now = network.loop.time()
        if process.cut_off(self._service) and not isinstance(outcome, Unavailable):
            self._answer_at(max(now, self._sent + self._timeout), self._unavailable("no answer while cut off"))
            return
        if isinstance(outcome, _RETRIED) and self._attempt < network.sdk_attempts:
            network.loop.call_later(network.chance.random(), self._send, context=process.context)
            return
        process.answered(self._future)
        if self._future.done():
            return
        if isinstance(outcome, AwsError):
            self._future.set_exception(outcome)
        else:
            if self._operation == "invoke":
                for heard in network.heard:
                    heard(process.name, self._parameters, outcome)
            self._future.set_result(outcome)

    def _patience(self) -> float:
        """How long a caller waits for what does not come: a reset connection shows at once, silence at a timeout."""
        share = self._network.faults.share()
        if share < 0.6:
            return 0.001 + 0.2 * share
        return CONNECT_TIMEOUT if share < 0.8 else self._timeout

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(self._service, self._operation, "EndpointConnectionError", why)

    def _throttled(self) -> AwsError:
        if self._operation == "transact_write_items":
            count = len(self._parameters["TransactItems"])
            struck = int(self._network.faults.share() * count)
            reasons = [CancellationReason("ThrottlingError" if index == struck else "None") for index in range(count)]
            return TransactionCancelled(self._operation, tuple(reasons))
        return Throttled(self._service, self._operation, "ThrottlingException", "Rate exceeded")
