"""A short round of ``make torture-cloud``, with another seed each time, which a failure prints."""

from __future__ import annotations

import asyncio
import secrets

from tests.simulation.checker import check
from tests.simulation.harness.report import report
from tests.simulation.harness.witness import Witness
from tests.torture.round import Storm, torture


def test_a_storm_on_the_embedded_cloud() -> None:
    run = asyncio.run(torture(Storm(secrets.randbelow(1 << 40), seconds=8, operations=30, pace=0.7)))
    violations = check(run)
    assert not violations, report(run, violations)
    assert isinstance(run.witness, Witness)
    assert run.witness.commits, "nothing was committed"
    assert run.troubles, "nothing went wrong"
