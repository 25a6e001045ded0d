"""Many schedules: ``python -m faaskeeper_simulator.schedules --seeds 1000``, or ``make schedules SEEDS=1000``.

Prints what was tried; a schedule that fails, with what shrinking left of it, ends in a non-zero exit status.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256

from faaskeeper_simulator.checker import check
from faaskeeper_simulator.harness.plan import Plan
from faaskeeper_simulator.harness.report import report
from faaskeeper_simulator.harness.shrink import shrink
from faaskeeper_simulator.harness.world import Run, execute


@dataclass(slots=True)
class Summary:
    """Of one schedule, or of many together."""

    schedules: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    workloads: Counter[str] = field(default_factory=Counter[str])
    failed: list[str] = field(default_factory=list[str])

    def add(self, other: Summary) -> None:
        self.schedules += other.schedules
        self.seconds += other.seconds
        self.counts += other.counts
        self.faults += other.faults
        self.workloads += other.workloads
        self.failed += other.failed

    def __str__(self) -> str:
        lines = [f"{self.schedules} schedules, {self.seconds:.0f} s of CPU, {len(self.failed)} failed"]
        for title, counter in (("", self.counts), ("faults: ", self.faults), ("workloads: ", self.workloads)):
            lines.append(title + ", ".join(f"{number} {name}" for name, number in counter.most_common()))
        return "\n".join(lines)


def summarize(run: Run) -> Summary:
    summary = Summary(1)
    calls = run.history.calls
    summary.counts.update(
        {
            "requests": len(calls),
            "answers": sum(call.answered is not None for call in calls),
            "events": sum(
                len([frame for frame in each.frames if hasattr(frame, "kind")]) for each in run.history.connections
            ),
            "connections": len(run.history.connections),
            "transactions": len(run.witness.commits) if run.witness is not None else 0,
            "AWS calls": run.calls,
            "virtual seconds": int(run.ended),
        }
    )
    summary.faults.update(str(fault.kind) for fault in run.faults.trace)
    summary.faults.update(str(kind) for _, kind, _ in run.troubles)
    summary.workloads.update(run.plan.workloads)
    return summary


def try_seed(seed: int) -> Summary:
    """Runs and checks the schedule of ``seed``; with a failure, once more with what can be left out left out."""
    began = time.process_time()
    run = execute(Plan.random(seed))
    violations = check(run)
    summary = summarize(run)
    if violations:
        summary.failed.append(report(run, violations))
    summary.seconds = time.process_time() - began
    return summary


def digest(run: Run) -> str:
    """Of all that happened: two runs with one digest are one schedule."""
    content = [*run.records, *run.history.connections, *run.history.calls, *run.faults.trace, *run.troubles]
    return sha256("\n".join(map(str, content)).encode()).hexdigest()


def never_collect() -> None:
    """A schedule leaves 5 MB of garbage, and a process ends before that is too much: cheaper than to look for it."""
    gc.disable()


def fails(plan: Plan) -> bool:
    return bool(check(execute(plan)))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="schedules", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--base", type=int, help="the first seed; at random if not given")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--shrink", type=int, default=100, metavar="RUNS", help="tries to make a failure smaller")
    parser.add_argument("--every", type=int, default=1000, help="schedules between two reports")
    options = parser.parse_args(arguments)
    base = secrets.randbelow(1 << 40) if options.base is None else options.base
    print(f"seeds {base} to {base + options.seeds - 1}", flush=True)
    total = Summary()
    failed: list[int] = []
    with multiprocessing.get_context("spawn").Pool(options.jobs, never_collect, maxtasksperchild=50) as pool:
        seeds = range(base, base + options.seeds)
        for seed, summary in zip(seeds, pool.imap(try_seed, seeds, chunksize=5), strict=True):
            total.add(summary)
            if summary.failed:
                failed.append(seed)
                print("\n".join(summary.failed), flush=True)
            if total.schedules % options.every == 0:
                print(f"... {total}", flush=True)
    print(total)
    for seed in failed[:3] if options.shrink else ():
        small = shrink(Plan.random(seed), fails, runs=options.shrink)
        run = execute(small, verbose=True)
        print(f"=== seed {seed}, shrunk\n{report(run, check(run))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
