"""What AWS charges, what each piece of work asks of AWS, and what that comes to: the one source of every figure in
docs, README, bench and demo.

Prices are of us-east-1, on demand, arm64, 2026, without a free tier. What is asked was counted (``make bench`` counts
it again and compares), but for what is called an assumption here: how long functions run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MILLION: Final = 1_000_000
HOURS_A_MONTH: Final = 730
SECONDS_A_MONTH: Final = HOURS_A_MONTH * 3600

PRICES: Mapping[str, float] = MappingProxyType(
    {
        "write unit": 0.625 / MILLION,
        "read unit": 0.125 / MILLION,
        "FIFO request": 0.50 / MILLION,
        "request": 0.40 / MILLION,
        "invocation": 0.20 / MILLION,
        "GB-second": 0.0000133334,
        "PUT": 5.0 / MILLION,
        "GET": 0.40 / MILLION,
        "log byte": 0.50 / 1_000_000_000,
        "trace": 5.0 / MILLION,
        "key request": 0.03 / 10_000,
        "poller hour": 0.00925,
        "endpoint hour": 0.01,
        "alarm metric month": 0.10,
        "dashboard month": 3.0,
        "key month": 1.0,
        "custom metric month": 0.30,
        "table GB month": 0.25,
        "recovery GB month": 0.20,
        "bucket GB month": 0.023,
        "free": 0.0,
    }
)
"""Dollars by unit. An SQS request is one call of up to 64 KB, a write unit 1 KB, a read unit 4 KB."""

ENSEMBLE: Final = 41.60
"""Dollars a month of three t4g.small with 20 GB of gp3 each, which run ZooKeeper."""

FUNCTION_SECONDS: Final = 0.05
"""An assumption: for how long an invocation runs, whatever its memory. It is what a batch takes at the calibrated
latencies of DynamoDB and SQS; a function waits for them most of the time."""
REPORT_BYTES: Final = 530
"""An assumption, by the examples in Lambda's guide: of what Lambda itself logs of an invocation (its start and its
report)."""
METRIC_BYTES: Final = 560
"""Of the line with its metrics that an invocation of the sequencer prints, and what CloudWatch adds to an event."""

LONG_POLL: Final = 20
"""Seconds."""
LEAST_POLLERS: Final = 2
MOST_POLLERS: Final = 5
"""An assumption: how many long polls Lambda keeps at an idle queue, by its guide on scaling ("as few as 2", and five
where a maximum concurrency is set, as it is for timers)."""
JANITOR_INTERVAL: Final = 60
KEEP_WARM_INTERVAL: Final = 300
"""Seconds."""
JANITOR_RUN: Mapping[str, float] = MappingProxyType({"read unit": 1.5})
"""What a run asks of storage that finds nothing to do."""
RELAXED_TIMEOUT: Final = 600
"""Seconds for which a gateway may stand still that guards no ephemeral; else half the shortest session timeout."""
BEATS_PER_TIMEOUT: Final = 3
LOOKS_PER_TIMEOUT: Final = 3
"""Of the shortest session timeout."""

Amounts = Mapping[str, float]
"""How much of each unit of PRICES."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What of a tier costs money; ``faaskeeper_cdk.Tier`` decides, and a test compares. Memory is in MB."""

    name: str
    sequencer_memory: int = 1024
    worker_memory: int = 512
    tracing: bool = False
    alarm_metrics: int = 30
    customer_managed_key: bool = False
    keeps_warm: bool = True
    recovery: bool = True
    max_read_units: int | None = None
    max_write_units: int | None = None


TIERS: Mapping[str, Tier] = MappingProxyType(
    {
        tier.name: tier
        for tier in (
            Tier(
                "development",
                512,
                256,
                alarm_metrics=0,
                keeps_warm=False,
                recovery=False,
                max_read_units=1_000,
                max_write_units=500,
            ),
            Tier("standard", max_read_units=20_000, max_write_units=10_000),
            Tier("critical", 1769, 1024, tracing=True, customer_managed_key=True),
        )
    }
)
DEVELOPMENT, STANDARD, CRITICAL = TIERS.values()


def add(*parts: Amounts) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for unit, amount in part.items():
            total[unit] = total.get(unit, 0.0) + amount
    return total


def times(amounts: Amounts, factor: float) -> dict[str, float]:
    return {unit: factor * amount for unit, amount in amounts.items()}


def dollars(amounts: Amounts) -> float:
    """Raises KeyError for what is no unit of PRICES."""
    return sum(PRICES[unit] * amount for unit, amount in amounts.items())


def invocation(memory: int, logged: int = 0) -> dict[str, float]:
    """One run of a function of that many MB which itself prints so many bytes."""
    return {"invocation": 1, "GB-second": memory / 1024 * FUNCTION_SECONDS, "log byte": REPORT_BYTES + logged}


def timer(tier: Tier) -> dict[str, float]:
    """One delayed message: sent, received and deleted; the reaper reads an item and moves the timer's number."""
    return add({"request": 3, "read unit": 1, "write unit": 1}, invocation(tier.worker_memory))


@dataclass(frozen=True, slots=True)
class Work:
    """``calls`` to storage of the function that commits, and ``items`` of its one transaction, the head included."""

    calls: int = 0
    items: int = 0
    write_units: float = 0
    read_units: float = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a client, alone, with 100 bytes of data unless its name says otherwise.

    ``runs`` are invocations of a function that commits: of the direct function, or of the sequencer, to which a message
    on the FIFO queue then leads, and from which a message on a reply queue comes back; each message is sent, received
    and deleted. ``by_queue`` is the work where it is another by the queue. ``timers`` are delayed messages that come
    due, ``other_requests`` SQS requests besides.
    """

    name: str
    direct: Work
    by_queue: Work | None = None
    runs: int = 0
    puts: int = 0
    gets: int = 0
    timers: int = 0
    other_requests: int = 0

    def work(self, *, by_call: bool) -> Work:
        return self.direct if by_call or self.by_queue is None else self.by_queue

    def amounts(self, tier: Tier, *, by_call: bool = True) -> dict[str, float]:
        work = self.work(by_call=by_call)
        return add(
            {
                "write unit": work.write_units,
                "read unit": work.read_units,
                "PUT": self.puts,
                "GET": self.gets,
                "request": self.other_requests,
            },
            {} if by_call else {"FIFO request": 3 * self.runs, "request": 3 * self.runs},
            times(invocation(tier.sequencer_memory, METRIC_BYTES), self.runs),
            times(timer(tier), self.timers),
        )

    def dollars(self, tier: Tier, *, by_call: bool = True) -> float:
        """Without traces, of which there are at most one an invocation."""
        return dollars(self.amounts(tier, by_call=by_call))


OPERATIONS: tuple[Operation, ...] = (
    Operation("create", Work(2, 4, 8, 3), runs=1),
    Operation("set", Work(2, 2, 4, 2), runs=1),
    Operation("set, fires a watch", Work(3, 3, 6, 3), runs=1),
    Operation("delete", Work(2, 4, 8, 3), runs=1),
    Operation("create, ephemeral", Work(2, 5, 10, 3), runs=1, timers=1),
    Operation("create, sequential", Work(2, 4, 8, 3), runs=1),
    Operation("set, 4 kB", Work(2, 3, 12, 2), runs=1),
    Operation("set, 100 kB", Work(2, 4, 8, 2), runs=1, puts=1),
    Operation("failed write (node exists)", Work(2, 0, 0, 7), Work(2, 1, 2, 3), runs=1),
    Operation("get", Work(read_units=1)),
    Operation("get, new watch", Work(write_units=1)),
    Operation("get, 100 kB", Work(read_units=1), gets=1),
    Operation("get by the other gateway, first sight", Work(read_units=2), gets=1),
    Operation("getChildren of 1000", Work(read_units=8)),
    Operation("connect and close", Work(7, 7, 19, 31), Work(5, 7, 19, 18), runs=2, timers=2, other_requests=3),
)
"""As ``bench.operations`` counts and names them. "First sight" is of a write that its gateway has not heard of. The
first ephemeral of a session arms a timer."""


def operation(name: str) -> Operation:
    """Raises KeyError."""
    return {each.name: each for each in OPERATIONS}[name]


@dataclass(frozen=True, slots=True)
class Line:
    """A month of ``what``, in dollars, from ``least`` to ``most``."""

    what: str
    least: float
    most: float


def idle(tier: Tier) -> list[Line]:
    """A month in which nobody is connected, without storage."""
    polls = SECONDS_A_MONTH / LONG_POLL
    least = add({"FIFO request": LEAST_POLLERS * polls}, {"request": MOST_POLLERS * polls})
    most = add({"FIFO request": MOST_POLLERS * polls}, {"request": MOST_POLLERS * polls})
    runs = SECONDS_A_MONTH / JANITOR_INTERVAL
    janitor = times(add(JANITOR_RUN, invocation(tier.worker_memory)), runs)
    lines = [
        Line("Lambda's polling of the two queues", dollars(least), dollars(most)),
        Line("the janitor, once a minute", dollars(janitor), dollars(janitor)),
    ]
    if tier.keeps_warm:
        warm = 2 * dollars(times(invocation(tier.sequencer_memory), SECONDS_A_MONTH / KEEP_WARM_INTERVAL))
        lines.append(Line("keeping sequencer and direct function warm, every five minutes", warm, warm))
    if tier.alarm_metrics:
        alarms = dollars({"alarm metric month": tier.alarm_metrics, "dashboard month": 1})
        lines.append(Line("alarms and a dashboard", alarms, alarms))
    if tier.customer_managed_key:
        lines.append(
            Line("a key, more with each of its first two rotations", *(dollars({"key month": n}) for n in (1, 3)))
        )
    return lines


def gateway(tier: Tier, session_timeout: float | None = None) -> list[Line]:
    """A month of one connected gateway. ``session_timeout`` (s) is the shortest of sessions that own ephemerals or
    watch, None if there are none."""
    still = RELAXED_TIMEOUT if session_timeout is None else min(RELAXED_TIMEOUT, session_timeout / 2)
    parts = {
        "waiting for replies (long polls of 20 s)": {"request": SECONDS_A_MONTH / LONG_POLL},
        "beats": {"write unit": SECONDS_A_MONTH * BEATS_PER_TIMEOUT / still},
        "timers": times(timer(tier), SECONDS_A_MONTH / still),
    }
    if session_timeout is not None:
        parts["looking at the head"] = {"read unit": SECONDS_A_MONTH * LOOKS_PER_TIMEOUT / session_timeout}
    return [Line(what, dollars(amounts), dollars(amounts)) for what, amounts in parts.items()]


def storage_and_recovery(tier: Tier, gigabytes: float) -> float:
    """Dollars a month of data in the tables."""
    recovery = {"recovery GB month": gigabytes} if tier.recovery else {}
    return dollars(add({"table GB month": gigabytes}, recovery))


def break_even(tier: Tier, name: str, gateways: int, session_timeout: float | None = None) -> float:
    """How many of that operation a month, directly, cost with ``gateways`` as much as three servers do; below 0 if
    being idle costs more."""
    rest = ENSEMBLE - most(idle(tier)) - gateways * most(gateway(tier, session_timeout))
    return rest / operation(name).dollars(tier)


def most(lines: list[Line]) -> float:
    return sum(line.most for line in lines)


def at_ceiling(tier: Tier) -> float | None:
    """A month in which each of the three tables takes what its ceilings allow, all the time; None without ceilings."""
    if tier.max_read_units is None or tier.max_write_units is None:
        return None
    second = {"read unit": 3.0 * tier.max_read_units, "write unit": 3.0 * tier.max_write_units}
    return dollars(times(second, SECONDS_A_MONTH))
