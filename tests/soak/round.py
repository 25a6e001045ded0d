"""One round: a fresh embedded cloud with its functions, gateways as processes, clients on sockets; then a storm, then
calm; then the simulation's checker over all that clients, queues and tables saw."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from faaskeeper.protocol.service import Service
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.proxy import Answer, Forward, Proxy, Request
from faaskeeper_client.wire.requests import Sync
from faaskeeper_simulator.cloud.service import Committed
from faaskeeper_simulator.harness.chaos import Chaos
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.harness.plan import WORKLOADS, Plan
from faaskeeper_simulator.harness.witness import Witness
from faaskeeper_simulator.harness.world import Run
from faaskeeper_simulator.workloads.base import attempt
from faaskeeper_simulator.workloads.catalog import make
from tests.soak.faults import Faults
from tests.soak.processes import Ground, Slot, TcpClient

CALM = 120.0
"""Seconds in which everything must come to rest once the storm is over."""
FUNCTIONS = ("Sequencer", "Direct", "Notifier", "Reaper", "Janitor")
_LAST = 10.0
"""Seconds in which workloads may still end by themselves."""
_NAME = "torture"
_TIMEOUTS = (4000, 6000, 10_000)
_PAUSES = (0.05, 8.0)


class Trouble(StrEnum):
    """What befalls processes and networks."""

    FUNCTION_KILL = "function killed"
    FUNCTION_PAUSE = "function stopped and continued"
    GATEWAY_KILL = "gateway killed"
    GATEWAY_PAUSE = "gateway stopped and continued"
    GATEWAY_CUT = "gateway cut off from AWS"
    CONNECTIONS_CUT = "connections to AWS cut"
    CLIENT_CUT = "client's connection cut"
    CLIENT_KILL = "client killed"
    JANITOR = "janitor runs"


@dataclass(frozen=True, slots=True)
class Storm:
    """``seed`` decides who does what and what goes wrong how often, not when: the machine does. ``seconds`` is how
    long faults go on at most."""

    seed: int
    seconds: float = 20.0
    gateways: int = 2
    clients: int = 5
    operations: int = 60
    pace: float = 1.0
    """Mean seconds from one trouble to the next."""


async def torture(storm: Storm) -> Run:
    workloads = tuple(random.Random(f"{storm.seed}/plan").sample(WORKLOADS, 2))
    # the chaos tells the checker that nothing need be prompt
    plan = Plan(
        storm.seed,
        workloads,
        storm.gateways,
        storm.clients,
        storm.operations,
        _TIMEOUTS,
        chaos=tuple(Chaos),
        pace=storm.pace,
    )
    run = Run(plan, History(), plan.faults())
    with tempfile.TemporaryDirectory(prefix="torture-") as folder, ExitStack() as stack:
        cloud = stack.enter_context(EmbeddedCloud())
        # messages of an instance that is killed stay away for as long as this
        run.service = cloud.deploy(_NAME, sequencer_timeout=4, requests_visibility=4)
        await _Round(storm, run, cloud, Path(folder), stack).play()
    return run


class _Round:
    def __init__(self, storm: Storm, run: Run, cloud: EmbeddedCloud, folder: Path, stack: ExitStack) -> None:
        assert run.service is not None
        self._storm = storm
        self._run = run
        self._cloud = cloud
        self._service: Service = run.service
        self._seen = _Seen(self._service)
        self._chance = random.Random(f"{storm.seed}/troubles")
        self._faults: dict[str, Faults] = {}
        self._proxies: dict[str, Proxy] = {}
        for function in FUNCTIONS:
            self._proxy(stack, function.lower()).lead_functions_here(function)
        self._slots: list[Slot] = []
        for number in range(1, storm.gateways + 1):
            name = f"gateway-{number}"
            environment = cloud.environment() | {"AWS_ENDPOINT_URL": self._proxy(stack, name).endpoint_url}
            chance = random.Random(f"{storm.seed}/{name}")
            self._slots.append(Slot(name, _NAME, environment, folder / name, chance))
        self._ground = Ground()
        self._began = time.monotonic()

    def _proxy(self, stack: ExitStack, who: str) -> Proxy:
        faults = self._faults[who] = Faults(self._storm.seed, who, self._trouble)
        exchange = self._seen.exchange(who, faults.exchange)
        proxy = self._proxies[who] = stack.enter_context(Proxy(self._cloud, who, exchange))
        return proxy

    def _trouble(self, kind: str, what: str) -> None:
        self._run.troubles.append((time.monotonic(), kind, what))  # type: ignore[arg-type]

    async def play(self) -> None:
        run, storm = self._run, self._storm
        keeping = [asyncio.create_task(slot.keep_up()) for slot in self._slots]
        try:
            run.workloads = [
                make(name, f"/{name}", random.Random(f"{storm.seed}/{name}")) for name in run.plan.workloads
            ]
            setup = self._client("setup")
            for workload in run.workloads:
                await setup.process.start(workload.prepare(setup))
            setup.process.kill()
            clients = [self._client(f"c{number}") for number in range(storm.clients)]
            working = [
                client.process.start(run.workloads[number % len(run.workloads)].run(client, storm.operations))
                for number, client in enumerate(clients)
            ]
            self._let_loose(True)
            troubles = asyncio.create_task(self._troubles(clients))
            await self._ended(working, clients, storm.seconds)
            self._let_loose(False)
            troubles.cancel()
            await asyncio.gather(troubles, return_exceptions=True)
            self._mend()
            await self._ended(working, clients, _LAST)
            for task in working:
                task.cancel()  # recipes wait for each other by the half minute
            await asyncio.gather(*working, return_exceptions=True)
            self._notice("workloads", working, clients)
            await self._rest(clients)
            await asyncio.to_thread(self._collect)
            for client in clients:
                client.process.kill()
        finally:
            self._mend()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            for slot in self._slots:
                run.log.extend(f"{time.monotonic()} {slot.name}: {line}" for line in _text(slot.log).splitlines())

    def _client(self, name: str) -> Client:
        chance = random.Random(f"{self._storm.seed}/{name}")
        timeout = chance.choice(self._run.plan.timeouts)
        client = TcpClient(self._ground, self._slots, self._run.history, name, timeout, chance)  # type: ignore[arg-type]
        client.process.start(client.run())
        return client

    def _let_loose(self, active: bool) -> None:
        for faults in self._faults.values():
            faults.active = active

    # what befalls them

    async def _troubles(self, clients: list[Client]) -> None:
        kinds = [kind for kind in Trouble if self._chance.random() < 0.7]
        while kinds:
            await asyncio.sleep(self._chance.expovariate(1 / self._storm.pace))
            await self._strike(self._chance.choice(kinds), clients)

    async def _strike(self, kind: Trouble, clients: list[Client]) -> None:
        chance = self._chance
        slot, client = chance.choice(self._slots), chance.choice(clients)
        low, high = _PAUSES
        seconds = low * (high / low) ** chance.random()
        what = slot.name
        match kind:
            case Trouble.FUNCTION_KILL | Trouble.FUNCTION_PAUSE:
                # looks through all processes
                workers = await asyncio.to_thread(self._cloud.workers, "ServiceFunctions")
                if not workers:
                    return
                worker = chance.choice(workers)
                what = worker.function
                if kind is Trouble.FUNCTION_KILL:
                    worker.kill()
                else:
                    _signal(worker.pid, signal.SIGSTOP)
                    self._ground.loop.call_later(seconds, _signal, worker.pid, signal.SIGCONT)
            case Trouble.GATEWAY_KILL:
                slot.kill()
            case Trouble.GATEWAY_PAUSE:
                slot.pause()
                self._ground.loop.call_later(seconds, slot.resume)
            case Trouble.GATEWAY_CUT:
                self._faults[slot.name].cut_until = time.monotonic() + seconds
                self._proxies[slot.name].sever()
            case Trouble.CONNECTIONS_CUT:
                what = chance.choice(sorted(self._proxies))
                self._proxies[what].sever()
            case Trouble.CLIENT_CUT:
                what = client.name
                client.disconnect()
            case Trouble.CLIENT_KILL:
                if sum(not each.process.dead for each in clients) < 3:
                    return
                what = client.name
                client.process.kill()
            case Trouble.JANITOR:
                what = ""
                await asyncio.to_thread(self._run_janitor)
        self._trouble(str(kind), f"{what} {seconds:.3f} s")

    def _run_janitor(self) -> None:
        client = self._cloud.session().client("lambda")
        for function in client.list_functions()["Functions"]:
            if "Janitor" in function["FunctionName"]:
                client.invoke(FunctionName=function["FunctionName"], InvocationType="Event", Payload=b"{}")

    def _mend(self) -> None:
        for faults in self._faults.values():
            faults.cut_until = 0.0
        for slot in self._slots:
            slot.resume()
        for worker in self._cloud.workers("ServiceFunctions"):
            _signal(worker.pid, signal.SIGCONT)

    # the end

    async def _rest(self, clients: list[Client]) -> None:
        """Everybody hears of everything, every other client goes, and its session ends."""
        living = [client for client in clients if not client.process.dead]
        for workload in self._run.workloads:
            await self._calmly(living[:1], workload.finish)
        await self._calmly(living, lambda client: attempt(client, Sync("/")))
        for client in living[1::2]:
            client.process.kill()
        until = time.monotonic() + CALM
        left = ""
        while time.monotonic() < until:
            await asyncio.sleep(1.0)
            left = await asyncio.to_thread(self._left_over, living)
            if not left:
                return
        self._run.stuck = self._run.stuck or left

    def _left_over(self, clients: list[Client]) -> str:
        """Requests that were not applied, and sessions of nobody, but for those that may stay for the longest time
        that a gateway may stand still: such without ephemerals, of gateways that are gone (``Liveness``)."""
        if waiting := self._waiting():
            return waiting
        items = self._scan(self._service.sessions)
        live = {client.session for client in clients if not client.process.dead}
        owners = {_session(item) for item in items if item["part"]["S"].startswith("eph#")}
        extra = owners - live
        return f"sessions of nobody: {[hex(session) for session in sorted(extra)]}" if extra else ""

    def _waiting(self) -> str:
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        client = self._cloud.session().client("sqs")
        found = client.get_queue_attributes(QueueUrl=self._service.requests, AttributeNames=list(names))
        waiting = {name: number for name, number in found["Attributes"].items() if name in names and number != "0"}
        return f"requests in the queue: {waiting}" if waiting else ""

    async def _calmly(self, clients: list[Client], work: Callable[[Client], Coroutine[Any, Any, object]]) -> None:
        tasks = [client.process.start(work(client)) for client in clients]
        await self._ended(tasks, clients, CALM)
        self._notice("last requests", tasks, clients)

    async def _ended(self, tasks: list[asyncio.Task[Any]], clients: list[Client], seconds: float) -> None:
        """Until all are done whose client still lives."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and _pending(tasks, clients):  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def _notice(self, what: str, tasks: list[asyncio.Task[Any]], clients: list[Client]) -> None:
        pending = _pending(tasks, clients)
        if pending:
            self._run.stuck = self._run.stuck or f"{what} of {', '.join(pending)} did not end in {CALM} s of calm"
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                self._run.errors.append(f"workload: {task.exception()!r}")

    def _collect(self) -> None:
        run, service = self._run, self._service
        while True:
            # sessions still end meanwhile: what is looked at must be one state, and what made it
            sent, commits = len(self._seen.witness.sent), len(self._seen.witness.commits)
            run.items = {name: self._scan(getattr(service, name)) for name in ("znodes", "sessions", "ledger")}
            run.witness = replace(self._seen.witness, sent=self._seen.witness.sent[:sent])
            run.witness.commits = sorted(self._seen.witness.commits, key=lambda commit: commit.head.zxid)
            seen = len(self._seen.witness.sent), len(self._seen.witness.commits)
            if not self._waiting() and seen == (sent, commits):
                break
        s3 = self._cloud.session().client("s3")
        run.blobs = dict(self._seen.blobs)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=service.blobs):
            for entry in page.get("Contents", []):
                run.blobs[entry["Key"]] = s3.get_object(Bucket=service.blobs, Key=entry["Key"])["Body"].read()
        run.ended = time.monotonic() - self._began
        run.calls = self._seen.calls
        run.errors += self._seen.errors
        found = self._cloud.session().client("sqs").receive_message(QueueUrl=service.dead_letters)
        run.errors += [f"dead letter: {message['Body'][:500]}" for message in found.get("Messages", [])]

    def _scan(self, table: str) -> list[dict[str, Any]]:
        client = self._cloud.session().client("dynamodb")
        pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]


class _Seen:
    """What went through the proxies, as the simulation's witness takes it."""

    def __init__(self, service: Service) -> None:
        self.blobs: dict[str, bytes] = {}
        self.calls = 0
        self.errors: list[str] = []
        self.witness = Witness(service, blob=lambda key: self.blobs[key])

    def exchange(self, who: str, spoil: Callable[[Request, Forward], Answer]) -> Callable[[Request, Forward], Answer]:
        def exchange(request: Request, forward: Forward) -> Answer:
            def forwarded(request: Request) -> Answer:
                began = time.monotonic()
                if function := _invoked(request):
                    # what it does before it fails counts too
                    self.witness.tap(who, "lambda", "invoke", {"FunctionName": function, "Payload": request.body}, {})
                answer = forward(request)
                try:
                    self._look(who, request, answer, began)
                except Exception as error:  # what it cannot read is news for the report, no matter for the emulator
                    self.errors.append(f"{who}: {request.target} {request.body[:300]!r}: {error!r}")
                return answer

            answer = spoil(request, forwarded)
            if answer.status == 200 and (function := _invoked(request)):
                failed = {name: value for name, value in answer.headers if name.lower() == "x-amz-function-error"}
                heard = {"Payload": answer.body} | ({"FunctionError": failed} if failed else {})
                self.witness.hear(who, {"FunctionName": function, "Payload": request.body}, heard)
            return answer

        return exchange

    def _look(self, who: str, request: Request, answer: Answer, began: float) -> None:
        self.calls += 1
        if answer.status != 200:
            return
        match request.target.rpartition(".")[2]:
            case "TransactWriteItems":
                self.witness.tap(
                    who, "dynamodb", "transact_write_items", _decoded(request.fields), Committed(began, {}, began)
                )
            case "UpdateItem":
                self.witness.tap(who, "dynamodb", "update_item", request.fields, {})
            case "SendMessage":
                self.witness.tap(who, "sqs", "send_message", request.fields, json.loads(answer.body))
            case "" if request.method == "PUT":
                self.blobs[request.path.partition("?")[0].split("/", 2)[2]] = request.body
            case _:
                pass


def _invoked(request: Request) -> str:
    """The function that the request invokes, "" if it is another."""
    found = re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", request.path)
    return unquote(found[1]) if found else ""


def _decoded(document: Any) -> Any:
    """With the binary attributes of items as bytes, as boto3 has them."""
    if isinstance(document, dict):
        fields = cast(dict[str, Any], document)
        if list(fields) == ["B"]:
            return {"B": base64.b64decode(fields["B"])}
        return {name: _decoded(value) for name, value in fields.items()}
    return [_decoded(value) for value in cast(list[Any], document)] if isinstance(document, list) else document


def _pending(tasks: list[asyncio.Task[Any]], clients: list[Client]) -> list[str]:
    return [
        client.name for task, client in zip(tasks, clients, strict=True) if not task.done() and not client.process.dead
    ]


def _session(item: dict[str, Any]) -> int:
    return int(item["id"]["S"].removeprefix("session#"), 16)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
