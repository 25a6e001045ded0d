"""Runs one schedule, from an empty cloud to quiescence."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from faaskeeper.protocol.service import Service
from faaskeeper_client.wire.requests import Sync
from faaskeeper_simulator import cloud as simulated
from faaskeeper_simulator.cloud import Cloud, Faults, SimulationError
from faaskeeper_simulator.harness.chaos import Chaos, Troubles
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.deployment import Deployment, trusted
from faaskeeper_simulator.harness.forger import Forger
from faaskeeper_simulator.harness.gateways import Slot
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.harness.plan import Plan
from faaskeeper_simulator.harness.witness import Witness
from faaskeeper_simulator.workloads.base import Workload, attempt
from faaskeeper_simulator.workloads.catalog import make

STORM = 240.0
"""Virtual seconds after which faults end, whatever the clients have done by then."""


@dataclass(slots=True)
class Run:
    """A schedule that ended, for the checker. ``stuck`` says what did not come to rest; the items are what storage
    held then."""

    plan: Plan
    history: History
    faults: Faults
    service: Service | None = None
    witness: Witness | None = None
    workloads: list[Workload] = field(default_factory=list[Workload])
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    alive: set[int] = field(default_factory=set[int])
    stuck: str = ""
    errors: list[str] = field(default_factory=list[str])
    troubles: list[tuple[float, Chaos, str]] = field(default_factory=list[tuple[float, Chaos, str]])
    log: deque[str] = field(default_factory=lambda: deque[str](maxlen=3000))
    records: Iterable[Any] = ()
    ended: float = 0.0
    calls: int = 0


def execute(plan: Plan, *, verbose: bool = False) -> Run:
    """``verbose`` keeps what the code under test logs below warnings, too."""
    run = Run(plan, History(), plan.faults())
    with _heard(run, verbose), trusted(), contextlib.redirect_stdout(io.StringIO()):
        try:
            simulated.run(plan.seed, _World(run).play(), limit=STORM + 2 * plan.patience + 1000.0)
        except SimulationError as error:
            run.stuck = run.stuck or str(error)
    return run


class _World:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._plan = run.plan

    async def play(self) -> None:
        run, plan = self._run, self._plan
        cloud = self._cloud = Cloud(run.faults)
        run.records = cloud.network.history
        cloud.faults.active = False
        witness = run.witness = Witness()
        deployment = Deployment(cloud, witness.sender, direct=plan.direct)
        run.service = deployment.service
        witness.attach(cloud, deployment.service)
        await deployment.create()
        self._slots = [
            Slot(
                cloud,
                deployment.service,
                f"gateway-{number}",
                mortal=plan.mortal,
                cache_bytes=plan.cache_bytes,
            )
            for number in range(1, plan.gateways + 1)
        ]
        keeping = [cloud.loop.create_task(slot.keep_up()) for slot in self._slots]
        run.workloads = [
            make(name, f"/{name}", random.Random(f"{plan.seed}/{name}")) for name in dict.fromkeys(plan.workloads)
        ]
        await self._prepare()
        clients = [self._client(f"c{number}") for number in range(plan.clients)]
        troubles = Troubles(cloud, plan.chaos, plan.pace, self._slots, clients)
        working = [
            client.process.start(run.workloads[number % len(run.workloads)].run(client, plan.operations))
            for number, client in enumerate(clients)
        ]
        cloud.faults.active = True
        storm = cloud.loop.create_task(troubles.run())
        forging = [
            cloud.process("forger").start(Forger(cloud, deployment.service, clients, workload.root).run())
            for workload in run.workloads
            if workload.forged
        ]
        await self._ended(working, clients, STORM)
        cloud.faults.active = False
        for task in (storm, *forging):
            task.cancel()
        troubles.mend()
        run.troubles = troubles.done
        await self._ended(working, clients, plan.patience)
        self._notice("workloads", working, clients)
        await self._rest(clients)
        self._collect(clients)
        for task in keeping:
            task.cancel()

    def _client(self, name: str) -> Client:
        chance = random.Random(f"{self._plan.seed}/{name}")
        timeout = chance.choice(self._plan.timeouts)
        client = Client(self._cloud, self._slots, self._run.history, name, timeout, chance)
        client.process.start(client.run())
        return client

    async def _prepare(self) -> None:
        client = self._client("setup")
        for workload in self._run.workloads:
            await client.process.start(workload.prepare(client))
        client.process.kill()

    async def _ended(self, tasks: list[asyncio.Task[None]], clients: list[Client], seconds: float) -> None:
        """Until all are done whose client still lives."""
        until = self._cloud.loop.time() + seconds
        while self._cloud.loop.time() < until and any(self._pending(tasks, clients)):  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    def _pending(self, tasks: list[asyncio.Task[None]], clients: list[Client]) -> list[str]:
        return [
            client.name
            for task, client in zip(tasks, clients, strict=True)
            if not task.done() and not client.process.dead
        ]

    def _notice(self, what: str, tasks: list[asyncio.Task[None]], clients: list[Client]) -> None:
        pending = self._pending(tasks, clients)
        if pending:
            text = f"{what} of {', '.join(pending)} did not end in {self._plan.patience} s of calm"
            self._run.stuck = self._run.stuck or text
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                self._run.errors.append(f"workload: {task.exception()!r}")

    async def _rest(self, clients: list[Client]) -> None:
        """Everybody hears of everything, every other client goes, and its session ends."""
        living = [client for client in clients if not client.process.dead]
        for workload in self._run.workloads:
            if living:
                await self._run_calmly([living[0]], lambda client, workload=workload: workload.finish(client))
        await self._run_calmly(living, lambda client: attempt(client, Sync("/")))
        for client in living[1::2]:
            client.process.kill()
        until = self._cloud.loop.time() + self._plan.patience
        while self._cloud.loop.time() < until:
            await asyncio.sleep(1.0)
            if not self._cloud.sqs.messages("requests.fifo") and not self._left_over(clients):
                return
        extra = self._left_over(clients)
        self._run.stuck = self._run.stuck or (
            f"{len(self._cloud.sqs.messages('requests.fifo'))} requests in the queue, sessions of nobody: "
            f"{[hex(session) for session in sorted(extra)]}"
        )

    async def _run_calmly(self, clients: list[Client], make_work: Any) -> None:
        tasks = [client.process.start(make_work(client)) for client in clients]
        await self._ended(tasks, clients, self._plan.patience)
        self._notice("last requests", tasks, clients)

    def _sessions(self) -> set[int]:
        return {_session_of(item) for item in self._cloud.dynamodb.items("sessions") if "password_hash" in item}

    def _left_over(self, clients: list[Client]) -> set[int]:
        """Sessions of nobody, but for those that may stay for the longest time that a gateway may stand still: such
        without ephemerals, of gateways that are gone (``Liveness``)."""
        items = self._cloud.dynamodb.items("sessions")
        own = {
            int(item["id"]["S"].removeprefix("session#"), 16) for item in items if item["part"]["S"].startswith("eph#")
        }
        up = {slot.gateway.life.id for slot in self._slots if slot.gateway is not None}
        mine = {
            int(item["id"]["S"].removeprefix("session#"), 16)
            for item in items
            if "password_hash" in item and item["gateway"]["S"] in up
        }
        return (self._sessions() - self._live(clients)) & (own | mine)

    def _live(self, clients: list[Client]) -> set[int]:
        return {client.session for client in clients if not client.process.dead and client.session}

    def _collect(self, clients: list[Client]) -> None:
        run, cloud = self._run, self._cloud
        assert run.service is not None
        run.items = {name: cloud.dynamodb.items(name) for name in ("znodes", "sessions", "ledger")}
        run.blobs = cloud.s3.objects(run.service.blobs)
        run.alive = self._live(clients)
        run.ended = cloud.loop.time()
        run.calls = sum(cloud.usage.calls.values())
        run.errors += _unexpected(cloud)
        if cloud.sqs.messages("dead-letters"):
            run.errors.append(f"dead letters: {[message.body[:200] for message in cloud.sqs.messages('dead-letters')]}")


def _session_of(item: dict[str, Any]) -> int:
    return int(item["id"]["S"].removeprefix("session#"), 16)


_EXPECTED_FAILURES = frozenset(
    {
        "Runtime.ExitError",
        "Sandbox.Timedout",
        "Stalled",
        "Unfinished",
        "Unavailable",
        "Throttled",
        "Conflict",
        "TransactionCancelled",
        "DeclaredDead",
        "OutcomeLost",
    }
)
"""What faults may make a function or a gateway fail with."""


def _unexpected(cloud: Cloud) -> list[str]:
    found = [
        f"function failed: {failure}" for failure in cloud.functions.failures if failure.kind not in _EXPECTED_FAILURES
    ]
    for context in cloud.loop.unhandled:
        found.append(f"unhandled: {context.get('message')}: {context.get('exception')!r}")
    return found


class _Recorder(logging.Handler):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        process = simulated.process.CURRENT.get()
        now = asyncio.get_running_loop().time() if asyncio._get_running_loop() else 0.0
        text = f"{now:12.6f} {process.name if process else '-'} {record.levelname} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({record.exc_info[1]!r})"
            if record.levelno >= logging.ERROR and type(record.exc_info[1]).__name__ not in _EXPECTED_FAILURES:
                self._run.errors.append(text)
        self._run.log.append(text)


@contextmanager
def _heard(run: Run, verbose: bool) -> Generator[None]:
    logger = logging.getLogger()
    handler = _Recorder(run)
    before, handlers = logger.level, logger.handlers
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.handlers = handlers
        logger.setLevel(before)
