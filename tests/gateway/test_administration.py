"""What an administrator hears of a gateway at work, by four-letter words on the port of its clients."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from faaskeeper.blocks.aws import BotoAws

from .ensemble import Served, ensemble, run
from .wire import OK


async def ask(served: Served, word: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(word.encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


async def figures(served: Served) -> dict[str, float]:
    lines = (line.split("\t") for line in (await ask(served, "mntr")).splitlines()[2:])
    return {name.removeprefix("zk_"): float(value) for name, value in lines}


def test_latencies_are_those_of_the_clients_until_they_are_reset(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with ensemble(aws) as whole:
            served = await whole.gateway()
            zk = await served.connect()

            async def slow(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "send_message":
                    served.ahead += 3

            served.tap.before = slow
            assert (await zk.create("/a")).error == OK
            served.tap.before = None
            assert (await zk.get("/a")).error == OK
            seen = await figures(served)
            assert seen["max_latency"] >= 3000
            assert seen["min_latency"] < seen["avg_latency"] < seen["max_latency"]
            # the handshake too, as in ZooKeeper
            assert (seen["packets_received"], seen["packets_sent"]) == (3, 3)

            (client,) = (line for line in (await ask(served, "cons")).splitlines() if f"sid={zk.session:#x}" in line)
            assert "recved=3,sent=3,sid=" in client
            assert ",lop=GETD," in client
            assert f",maxlat={seen['max_latency']:.0f})" in client
            assert re.search(r",lcxid=0x[1-9a-f]", client)

            assert await ask(served, "crst") == "Connection stats reset.\n"
            assert "recved=0,sent=0," in await ask(served, "cons")
            assert (await figures(served))["max_latency"] == seen["max_latency"]
            assert await ask(served, "srst") == "Server stats reset.\n"
            again = await figures(served)
            assert (again["packets_received"], again["max_latency"], again["avg_latency"]) == (0, 0, 0)

    run(scenario())
