"""The charts of docs/performance.md and docs/cost.md, made of what was measured and counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import latency
from bench.compare.virtual import SESSIONS, Virtual
from faaskeeper_client import prices
from faaskeeper_client.plotting import Axis, Series, chart

_SHARES = (0.5, 0.9, 0.99)
_DAYS = prices.SECONDS_A_MONTH / 86_400
_WRITES = tuple(round(10 ** (power / 10)) for power in range(20, 71))
"""A day: from a hundred to ten million."""


def latencies(file: Path, direct: Virtual, queued: Virtual) -> None:
    """Of sets: which part of them took at most how long."""
    name = "set, 1 kB"
    chart(
        file,
        "A set of 1 kB, AWS us-east-1",
        Axis("milliseconds", "log", (2, 5, 10, 20, 50, 100, 200), "{:.0f}".format, 2, 300),
        Axis("sets that took at most so long", "linear", (0, 0.25, 0.5, 0.75, 0.9, 1), "{:.0%}".format, 0, 1.01),
        [
            _distribution("FaaSKeeper, direct call", direct.seconds[name]),
            _distribution("FaaSKeeper, by the queue", queued.seconds[name]),
            Series("FaaSKeeper as published (p50, p90, p99)", latency.PUBLISHED[name], _SHARES, measured=True),
            Series("ZooKeeper, three machines (p50, p90, p99)", latency.ZOOKEEPER[name], _SHARES, measured=True),
        ],
    )


def throughput(file: Path, direct: Virtual, queued: Virtual) -> None:
    chart(
        file,
        "Sets a second, over two gateways",
        Axis("sessions that write at once", "log", SESSIONS, "{:.0f}".format),
        Axis("sets a second", "log", (10, 20, 50, 100, 200, 500, 1000, 2000), "{:,.0f}".format),
        [
            Series("direct calls", SESSIONS, direct.rates, measured=True),
            Series("by the queue", SESSIONS, queued.rates, measured=True),
        ],
    )


def costs(file: Path) -> None:
    """A month, by sets of 100 B a day, one at a time, beside what is paid with none."""
    tier = prices.STANDARD
    queued = prices.operation("set")
    called = prices.add(
        {"write unit": queued.write_units, "read unit": queued.read_units},
        prices.invocation(tier.sequencer_memory, prices.METRIC_BYTES),
    )
    still = prices.most(prices.idle(tier)) + prices.most(prices.gateway(tier, 40))
    chart(
        file,
        "A month of tier standard, and of an ensemble",
        Axis("sets a day", "log", [10.0**power for power in range(2, 8)], "{:,.0f}".format),
        Axis("dollars a month", "log", (5, 10, 20, 50, 100, 200, 500, 1000, 2000), "${:,.0f}".format),
        [
            Series("direct calls", _WRITES, _bill(still, prices.dollars(called))),
            Series("by the queue", _WRITES, _bill(still, queued.dollars(tier))),
            Series("ZooKeeper on three t4g.small", _WRITES, [prices.ENSEMBLE] * len(_WRITES)),
        ],
    )


def _bill(still: float, each: float) -> Sequence[float]:
    return [still + _DAYS * writes * each for writes in _WRITES]


def _distribution(label: str, seconds: Sequence[float]) -> Series:
    ordered = sorted(seconds)
    shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
    return Series(label, [1000 * each for each in ordered], shares)
