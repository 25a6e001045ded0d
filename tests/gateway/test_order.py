"""What a session sees, and in which order: Z2 to Z4 through the protocol."""

from __future__ import annotations

from faaskeeper.storage.aws import BotoAws

from .ensemble import ensemble, run
from .wire import CHANGED, OK


def test_smoke(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            one, two = await whole.gateway(), await whole.gateway()
            a, b = await one.connect(), await two.connect()
            assert (await a.create("/x", b"1")).error == OK
            assert (await b.get("/x", watch=True)).data == b"1"
            assert (await a.set("/x", b"2")).error == OK
            await b.event(CHANGED, "/x")

    run(scenario())
