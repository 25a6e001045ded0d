"""Container and TTL znodes, which the janitor takes away when nobody needs them."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.wire.requests import Exists, GetChildren
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.workloads.base import Workload, attempt, create, think

_NODES = 3
_CONTAINER, _TTL, _TTL_SEQUENTIAL = 4, 5, 6


class Expiring(Workload):
    name = "expiring"

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(operations):
            chance = client.chance
            path = f"{self.root}/{chance.randrange(_NODES)}"
            match chance.randrange(8):
                case 0:
                    await attempt(client, create(f"{path}c", flags=_CONTAINER))
                case 1:
                    await attempt(client, create(f"{path}c/child", flags=chance.choice((0, 1))))
                case 2:
                    await attempt(client, Delete(f"{path}c/child"))
                case 3:
                    flags = chance.choice((_TTL, _TTL_SEQUENTIAL))
                    await attempt(client, create(f"{path}t", b"", flags, ttl=chance.choice((100, 5000, 60_000))))
                case 4:
                    await attempt(client, SetData(f"{path}t", client.name.encode()))
                case 5:
                    await attempt(client, Exists(f"{path}{chance.choice('ct')}", watch=True))
                case 6:
                    await attempt(client, GetChildren(self.root, watch=True))
                case _:
                    await asyncio.sleep(5 * chance.random())
            await think(client)
