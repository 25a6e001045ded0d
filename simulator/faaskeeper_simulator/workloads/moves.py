"""Sessions that go from gateway to gateway with requests under way, while a forger speaks for them."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.wire.requests import GetData, Sync
from faaskeeper_simulator.harness.client import Client, ConnectionLost, SessionExpired
from faaskeeper_simulator.workloads.base import Workload, create, must, think

_NODES = 3


class Moves(Workload):
    name = "moves"
    forged = True

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for number in range(_NODES):
            await must(client, create(f"{self.root}/{number}", b"0"))

    async def run(self, client: Client, operations: int) -> None:
        while operations > 0:
            burst = client.chance.randint(3, 10)
            operations -= burst
            waiting = [client.submit(self._request(client)) for _ in range(burst)]
            await asyncio.sleep(0.2 * client.chance.random() ** 2)
            if client.chance.random() < 0.5:
                client.disconnect()
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionLost | SessionExpired):
                    raise outcome
            await think(client)

    def _request(self, client: Client) -> SetData | GetData | Delete | Sync | object:
        chance = client.chance
        path = f"{self.root}/{chance.randrange(_NODES)}"
        match chance.randrange(6):
            case 0 | 1:
                return SetData(path, f"{client.name}-{chance.getrandbits(40):x}".encode())
            case 2:
                return create(f"{path}/{client.name}-{chance.randrange(4)}", flags=1)
            case 3:
                return Delete(f"{path}/{client.name}-{chance.randrange(4)}")
            case 4:
                return Sync(path)
            case _:
                return GetData(path, watch=chance.random() < 0.5)
