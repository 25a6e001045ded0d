"""Data of every size: in the znode, beside it, in the bucket; growing and shrinking under the readers."""

from __future__ import annotations

from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.wire.requests import GetData, MultiRead
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_NODES = 3
_LONGEST = 5
"""Digits of the longest length."""
_BESIDE = 500
"""A length that puts data beside the node."""


class Large(Workload):
    name = "large"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for number in range(_NODES):
            await must(client, create(f"{self.root}/{number}", b"0"))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(operations):
            path = f"{self.root}/{client.chance.randrange(_NODES)}"
            match client.chance.randrange(8):
                case 0 | 1 | 2:
                    await attempt(client, SetData(path, self._data(client)))
                case 3:
                    await attempt(client, create(f"{path}/child", self._data(client)))
                case 4:
                    await attempt(client, Delete(f"{path}/child"))
                case 5:
                    await attempt(client, MultiRead((GetData(path), GetData(f"{path}/child"))))
                case _:
                    await attempt(client, GetData(path, watch=client.chance.random() < 0.3))
            await think(client)

    def _data(self, client: Client) -> bytes:
        length = int(10 ** client.chance.uniform(1, _LONGEST)) if client.chance.random() < 0.4 else _BESIDE
        return f"{client.name}-{client.chance.getrandbits(40):x}-".encode().ljust(length, b"#")
