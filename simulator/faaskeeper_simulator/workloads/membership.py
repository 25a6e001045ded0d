"""Group membership: each member an ephemeral node, members leave and die, the others watch the group."""

from __future__ import annotations

from faaskeeper.znode.operations import Delete
from faaskeeper_client.wire.requests import GetChildren, GetEphemerals
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.workloads.base import Workload, attempt, create, think


class Membership(Workload):
    name = "membership"

    async def run(self, client: Client, operations: int) -> None:
        mine = f"{self.root}/{client.name}"
        for number in range(operations // 2):
            if client.chance.random() < 0.5:
                await attempt(client, create(f"{mine}-{client.sessions}-{number}", flags=1))
            else:
                await attempt(client, GetChildren(self.root, watch=True))
            if client.chance.random() < 0.15:
                await attempt(client, Delete(f"{mine}-{client.sessions}-{client.chance.randrange(number + 1)}"))
            if client.chance.random() < 0.1:
                await attempt(client, GetEphemerals(""))
            if client.chance.random() < 0.05:
                client.disconnect()
            await think(client, 2.0)

    async def finish(self, client: Client) -> None:
        await attempt(client, GetChildren(self.root))
