"""What the functions tell CloudWatch: what happened, once."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from faaskeeper.blocks.metrics import NAMESPACE
from faaskeeper.blocks.queues import send_timer
from faaskeeper.protocol.timers import GatewayTimer, encode_timer
from faaskeeper.storage.ledger import read_head
from faaskeeper.znode.operations import CloseSession, ExpireSession

from .world import World, create, run


class Emitted:
    """What was printed since it was last asked: counts added up, levels as they were last."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self) -> Counter[str]:
        found = Counter[str]()
        for line in self._capsys.readouterr().out.splitlines():
            document = json.loads(line) if line.startswith('{"_aws"') else {}
            for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
                assert directive["Namespace"] == NAMESPACE
                for name in (metric["Name"] for metric in directive["Metrics"]):
                    found[name] = document[name] + (found[name] if name != "Sessions" else 0)
        return found


@pytest.fixture
def emitted(capsys: pytest.CaptureFixture[str]) -> Emitted:
    return Emitted(capsys)


def test_a_gateway_dies_once_and_so_do_its_sessions(world: World, emitted: Emitted) -> None:
    async def work() -> None:
        await world.gateway("dying", 2, stand_still=1000)
        await world.commit(create("/e", flags=1), session=2, gateway="dying")
        for _ in range(2):
            timer = GatewayTimer("dying", 1, 0)
            await send_timer(world.aws, world.service, encode_timer(timer), 1)
        assert emitted()["Sessions"] == 2
        seen = 0
        while seen < 4:  # both timers of the gateway, and each then sends one for its session
            seen += await world.timers(5)
        world.reaper_metrics.emit("world", world.now)
        counted = emitted()
        assert (counted["ExpiredGateways"], counted["ExpiredSessions"], counted["Sessions"]) == (1, 1, 1)

    run(work())


@pytest.mark.parametrize(("silent", "expired"), [(True, 1), (False, 0)])
def test_who_is_silent_expires_and_who_leaves_does_not(
    world: World, emitted: Emitted, silent: bool, expired: int
) -> None:
    async def work() -> None:
        await world.commit(CloseSession(silent=silent))
        counted = emitted()
        assert (counted["ExpiredSessions"], counted["Sessions"]) == (expired, 0)
        head = await read_head(world.aws, world.service)
        assert head is not None
        assert head.sessions == 0

    run(work())


def test_an_expiry_of_who_came_back_counts_for_nothing(world: World, emitted: Emitted) -> None:
    async def work() -> None:
        await world.commit(ExpireSession(7), gateway="")
        assert emitted()["ExpiredSessions"] == 0

    run(work())
