"""This service beside a real ZooKeeper, and in virtual time beside published figures: ``make compare``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.compare import charts, real, virtual
from faaskeeper_client.plotting import NoPlotting, need

_PLOTS = Path(__file__).parents[2] / "docs" / "plots"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make compare", description=__doc__)
    parser.add_argument("only", nargs="?", choices=("real", "virtual"), help="one of the two alone")
    parser.add_argument("--plots", type=Path, default=_PLOTS, help="the folder for the charts (docs/plots)")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    if options.only != "real":
        _virtual(options.plots)
    if options.only != "virtual":
        _real()
    return 0


def _virtual(folder: Path) -> None:
    direct, queued = virtual.measure(direct=True), virtual.measure(direct=False)
    print("In virtual time, at latencies measured on AWS; ms, p50 and p99")
    for name in direct.seconds:
        each = ", ".join(
            f"{label} {_shown(way.seconds[name])}" for label, way in (("direct", direct), ("queued", queued))
        )
        print(f"  {name:12} {each}")
    print("Sets a second by sessions, direct and queued")
    for sessions, one, other in zip(virtual.SESSIONS, direct.rates, queued.rates, strict=True):
        print(f"  {sessions:4} {one:7.0f} {other:7.0f}")
    try:
        need()
    except NoPlotting as reason:
        print(f"charts: left out: {reason}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    charts.latencies(folder / "latency.svg", direct, queued)
    charts.throughput(folder / "throughput.svg", direct, queued)
    charts.costs(folder / "cost.svg")
    print(f"charts: latency.svg, throughput.svg and cost.svg in {folder}")


def _real() -> None:
    print(f"\nOn this machine, stock kazoo; one client: ms, p50 and p99; {real.CLIENTS} clients: operations a second")
    for name, measured in real.measure():
        if isinstance(measured, str):
            print(f"{name}: {measured}")
            continue
        print(name)
        for operation, seconds in measured.alone.items():
            print(f"  {operation:20} {_shown(seconds)}   {len(seconds) / sum(seconds):8.0f} a second")
        for operation, rate in measured.together.items():
            print(f"  {operation:20} {rate:8.0f} a second, {real.CLIENTS} clients", flush=True)


def _shown(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99))
    return f"{p50:8.2f} {p99:8.2f}"


if __name__ == "__main__":
    sys.exit(main())
