"""A short round of ``make soak``, with another seed each time, which a failure prints."""

from __future__ import annotations

import asyncio
import secrets

from faaskeeper_simulator.checker import check
from faaskeeper_simulator.harness.report import report
from faaskeeper_simulator.harness.witness import Witness
from tests.soak.round import Storm, torture


def test_a_storm_on_the_embedded_cloud() -> None:
    run = asyncio.run(torture(Storm(secrets.randbelow(1 << 40), seconds=8, operations=30, pace=0.7)))
    violations = check(run)
    assert not violations, report(run, violations)
    assert isinstance(run.witness, Witness)
    assert run.witness.commits, "nothing was committed"
    assert run.troubles, "nothing went wrong"
