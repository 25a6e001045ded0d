"""What storage is asked while programs poll a configuration node, with memory and without: ``python -m bench.polls``.

1,000 sessions at one gateway read it once a second each; another gateway changes it once in the middle of the second
minute. Then one session reads while another gateway writes nine times as often. In virtual time, at AWS's latencies.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
from collections import Counter
from collections.abc import Sequence

from faaskeeper.znode.operations import SetData
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES
from faaskeeper_client.wire.requests import GetData
from faaskeeper_simulator import cloud as simulated
from faaskeeper_simulator.cloud import Cloud
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.deployment import Deployment, trusted
from faaskeeper_simulator.harness.gateways import Slot
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.harness.witness import Witness
from faaskeeper_simulator.workloads.base import create

SESSIONS = 1000
_TIMEOUT = 40_000
_PATH = "/configuration"
_DATA = b"x" * 100
_ROUNDS = 60


def main() -> None:
    print(f"{'requests of the gateway to DynamoDB':48} {'without':>9} {'with memory':>12}")
    rows = [simulated.run(1, _measure(cache_bytes), limit=100_000.0) for cache_bytes in (0, DEFAULT_CACHE_BYTES)]
    for name in rows[0]:
        print(f"{name:48} {rows[0][name]:9} {rows[1][name]:12}")


async def _measure(cache_bytes: int) -> dict[str, int]:
    with trusted(), contextlib.redirect_stdout(io.StringIO()):
        cloud, witness = Cloud(), Witness()
        asked: Counter[str] = Counter()
        deployment = Deployment(cloud, witness.sender)
        witness.attach(cloud, deployment.service)

        def tap(process: str, service: str, operation: str, parameters: object, answer: object) -> None:
            if service == "dynamodb":
                asked[process] += 1

        cloud.network.taps.append(tap)
        await deployment.create()
        slots = [
            Slot(cloud, deployment.service, name, mortal=False, cache_bytes=cache_bytes) for name in ("here", "there")
        ]
        running = [cloud.loop.create_task(slot.keep_up()) for slot in slots]
        history = History()

        def client(name: str, slot: Slot) -> Client:
            made = Client(cloud, [slot], history, name, _TIMEOUT, random.Random(name))
            made.process.start(made.run())
            return made

        writer = client("writer", slots[1])
        await writer.call(create(_PATH, _DATA))
        pollers = [client(f"poller-{number}", slots[0]) for number in range(SESSIONS)]
        for poller in pollers:
            await poller.call(GetData(_PATH, False))
        rows: dict[str, int] = {}

        async def count(what: str, readers: Sequence[Client], changes: Sequence[int]) -> None:
            before = asked["here"]
            for second in range(_ROUNDS):
                began = cloud.loop.time()
                writes = [writer.call(SetData(_PATH, _DATA, -1)) for _ in range(changes[second])]
                await asyncio.gather(*(reader.call(GetData(_PATH, False)) for reader in readers), *writes)
                await asyncio.sleep(max(0.0, began + 1 - cloud.loop.time()))
            rows[what] = asked["here"] - before

        await count(f"{SESSIONS:,} sessions read it each second, one minute", pollers, [0] * _ROUNDS)
        once = [int(second == _ROUNDS // 2) for second in range(_ROUNDS)]
        await count("the same, and it is changed once", pollers, once)
        await count("one session reads it each second", pollers[:1], [0] * _ROUNDS)
        await count("one session reads it, 9 writes to each read", pollers[:1], [9] * _ROUNDS)
        for task in running:
            task.cancel()
        return rows


if __name__ == "__main__":
    main()
