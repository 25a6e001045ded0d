"""What schedules found and no mutant brings back; the rest of what was found is in mutants/README.md."""

from __future__ import annotations

import asyncio

from faaskeeper_client.gateway.liveness import Liveness
from faaskeeper_simulator.checker import check
from faaskeeper_simulator.cloud import Cloud, run
from faaskeeper_simulator.harness.deployment import Deployment
from faaskeeper_simulator.harness.plan import Plan
from faaskeeper_simulator.harness.world import execute


def test_seed_2000152_stays_mended() -> None:
    """A gateway that had stood still began anew and waited for ever for the end of its beats: asyncio.wait_for of
    Python 3.11 swallows a cancellation that comes together with what it waits for."""
    assert check(execute(Plan.random(2_000_152))) == []


def test_seed_3000636_stays_mended() -> None:
    """A receive whose answer was lost kept from a gateway, for half a minute, that a session had moved away: it went on
    answering, also after the session's end."""
    assert check(execute(Plan.random(3_000_636))) == []


def test_beats_end_when_cancelled_together_with_a_call_for_one() -> None:
    """As seed 2000152 showed it, whatever its schedule has become."""

    async def main() -> bool:
        cloud = Cloud()
        deployment = Deployment(cloud, lambda _: "")
        await deployment.create()
        liveness = Liveness(cloud.client("gateway"), deployment.service, "00", cloud.loop.time)
        beating = cloud.loop.create_task(liveness.run())
        await asyncio.sleep(1.0)
        liveness.hold(1, 4000)
        beating.cancel()
        await asyncio.wait([beating], timeout=60.0)
        return beating.cancelled()

    assert run(1, main())
