"""A directory with many children, made and removed by the dozen while others list it."""

from __future__ import annotations

from faaskeeper.znode.operations import Create, Delete, Multi
from faaskeeper_client.wire.requests import GetChildren, MultiRead
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_CHILDREN = 60


class Wide(Workload):
    name = "wide"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        await must(client, Multi(tuple(create(f"{self.root}/{number:04d}") for number in range(_CHILDREN // 2))))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(operations // 2):
            chance = client.chance
            match chance.randrange(5):
                case 0:
                    await attempt(client, GetChildren(self.root, watch=True))
                case 1:
                    await attempt(client, MultiRead((GetChildren(self.root),)))
                case 2:
                    await attempt(client, GetChildren(self.root))
                case _:
                    numbers = chance.sample(range(_CHILDREN), chance.randint(1, 3))
                    parts: list[Create | Delete] = []
                    for number in numbers:
                        path = f"{self.root}/{number:04d}"
                        parts.append(create(path) if chance.random() < 0.5 else Delete(path))
                    await attempt(client, Multi(tuple(parts)) if len(parts) > 1 else parts[0])
            await think(client, 0.1)
