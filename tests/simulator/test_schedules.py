"""Whole schedules: some that nobody has seen before, and what a seed promises."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from faaskeeper_simulator.harness.plan import Plan
from faaskeeper_simulator.harness.world import execute
from faaskeeper_simulator.schedules import digest, try_seed

SLICE = 60
"""Schedules: some 15 s on an idle core. ``make schedules`` runs more."""


def test_a_fresh_slice(capsys: pytest.CaptureFixture[str]) -> None:
    base = secrets.randbelow(1 << 40)
    with capsys.disabled():
        print(f"\nsimulated schedules of seeds {base} to {base + SLICE - 1}")
    failed = [report for seed in range(base, base + SLICE) for report in try_seed(seed).failed]
    assert not failed, "\n".join(failed)


def test_a_seed_means_one_schedule() -> None:
    """In every process, whatever else it ran before and whatever Python's hashes of text are."""
    seeds = (1, 7)
    here = [digest(execute(Plan.random(seed))) for seed in reversed(seeds)]
    program = (
        f"from faaskeeper_simulator.schedules import *\nfor seed in {seeds}: print(digest(execute(Plan.random(seed))))"
    )
    for hashes in ("1", "2"):
        answer = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.split() == here[::-1]
