"""Watches of every kind, set, removed and set anew on other connections, while multis change the same znodes often."""

from __future__ import annotations

from faaskeeper.znode.operations import Create, Delete, Multi, SetData
from faaskeeper_client.wire.requests import AddWatch, Exists, GetChildren, GetData, RemoveWatches, WatcherType
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_NODES = 3


class Watchers(Workload):
    name = "watchers"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for number in range(_NODES):
            await must(client, create(f"{self.root}/{number}", b"0"))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(operations):
            chance = client.chance
            path = f"{self.root}/{chance.randrange(_NODES)}"
            match chance.choices(range(8), (4, 2, 2, 1, 1, 2, 4, 1))[0]:
                case 0:
                    client.submit(AddWatch(chance.choice((self.root, path)), recursive=True))
                case 1:
                    client.submit(RemoveWatches(chance.choice((self.root, path)), WatcherType.ANY))
                case 2:
                    client.submit(GetData(path, watch=True))
                case 3:
                    client.submit(Exists(f"{path}/child", watch=True))
                case 4:
                    client.submit(GetChildren(path, watch=True))
                case 5:
                    client.submit(AddWatch(f"{path}/child", recursive=False))
                case 6:
                    await attempt(client, self._change(client, path))
                case _:
                    client.disconnect()
            await think(client, 0.1)

    def _change(self, client: Client, path: str) -> Multi | SetData:
        data = f"{client.name}-{client.chance.getrandbits(40):x}".encode()
        parts: list[Create | Delete | SetData] = [SetData(path, data), SetData(path, data)]
        match client.chance.randrange(4):
            case 0:
                parts.append(create(f"{path}/child", data))
            case 1:
                parts.append(Delete(f"{path}/child"))
            case 2:
                return parts[0]  # type: ignore[return-value]
            case _:
                pass
        return Multi(tuple(parts))
