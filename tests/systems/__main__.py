"""Systems that others run on ZooKeeper, unmodified, on the embedded cloud: ``make systems``.

What is not installed is left out, with what would bring it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from tests.foreign import NotHere, Wrong
from tests.systems.celery import celery
from tests.systems.patroni import patroni, patroni_moves
from tests.systems.spark import spark
from tests.systems.stage import Stage, stage
from tests.systems.suites import taskflow, tooz

SYSTEMS: Sequence[Callable[[Stage], str]] = (
    patroni,
    patroni_moves,
    spark,
    tooz,
    taskflow,
    celery,
)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if no system that is here found anything wrong."""
    names = [system.__name__ for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="make systems", description=__doc__)
    parser.add_argument("system", nargs="*", choices=[*names, []], help=f"those to run ({', '.join(names)})")
    parser.add_argument("--idle", type=float, default=60, help="seconds for which an idle system is counted (60)")
    options = parser.parse_args(arguments)
    wrong = False
    with stage(options.idle) as place:
        for system in SYSTEMS:
            if options.system and system.__name__ not in options.system:
                continue
            began = time.monotonic()
            try:
                result = f"{system(place)} ({time.monotonic() - began:.0f} s)"
            except NotHere as reason:
                result = f"left out: {reason}"
            except Wrong as error:
                wrong, result = True, f"WRONG: {error}"
            print(f"{system.__name__}: {result}", flush=True)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
