"""Direct and queued writes in virtual time, at AWS's measured latencies, as ``make latency`` runs them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import latency
from faaskeeper_simulator import cloud as simulated
from faaskeeper_simulator.harness.deployment import trusted

SESSIONS = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class Virtual:
    """``seconds`` of each operation, by name, and sets a second by number of sessions."""

    seconds: Mapping[str, Sequence[float]]
    rates: Sequence[float]


def measure(*, direct: bool) -> Virtual:
    """The same in every run."""
    with contextlib.redirect_stdout(io.StringIO()):  # metrics, also of what ends with the run
        return simulated.run(latency.SEED, _measure(direct))


async def _measure(direct: bool) -> Virtual:
    with trusted():
        stage, one, other, _ = await latency.stage(direct=direct)
        rows = await latency.single(one, other, latency.WRITES_AND_READS)
        together = [await latency.together(stage, number, rounds=20) for number in SESSIONS]
    return Virtual(dict(rows), [rate for _, rate, _, _ in together])
