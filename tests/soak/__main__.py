"""``python -m tests.soak --minutes 10``, or ``make soak MINUTES=10``: rounds on the embedded cloud, each
with another seed, until the time is over. Prints what was tried; a violation ends in a non-zero exit status."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time

from faaskeeper_simulator.checker import check
from faaskeeper_simulator.harness.report import report
from faaskeeper_simulator.schedules import Summary, summarize
from tests.soak.round import Storm, torture


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="of the first round; at random if not given")
    parser.add_argument("--seconds", type=float, default=20.0, help="of storm in each round")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1 << 40) if options.seed is None else options.seed
    total = Summary()
    began = time.monotonic()
    while time.monotonic() < began + 60 * options.minutes:
        run = asyncio.run(torture(Storm(seed, options.seconds, gateways=2 + seed % 2)))
        violations = check(run)
        summary = summarize(run)
        summary.counts["seconds"] = summary.counts.pop("virtual seconds")
        if violations:
            summary.failed.append(report(run, violations))
            print(summary.failed[0])
        total.add(summary)
        print(f"seed {seed}: {', '.join(run.plan.workloads)}, {len(violations)} violations", flush=True)
        seed += 1
    total.seconds = time.process_time()
    print(f"{time.monotonic() - began:.0f} s; {total}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
