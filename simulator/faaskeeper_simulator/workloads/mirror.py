"""A persistent recursive watch mirrors a subtree, as Curator's caches do: what an event names is read again."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.wire.requests import AddWatch, GetChildren, GetData
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_BRANCHES = 3
_PATIENCE = 60


class Mirror(Workload):
    name = "mirror"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        self._mirror: dict[str, bytes | None] = {}
        self._mirroring: Client | None = None
        self._different = ""
        for number in range(_BRANCHES):
            await must(client, create(f"{self.root}/{number}", b"0"))

    async def run(self, client: Client, operations: int) -> None:
        if self._mirroring is None:
            self._mirroring = client
            client.process.start(self._follow(client))
        for _ in range(operations):
            chance = client.chance
            path = f"{self.root}/{chance.randrange(_BRANCHES)}"
            data = f"{client.name}-{chance.getrandbits(40):x}".encode()
            match chance.randrange(4):
                case 0:
                    await attempt(client, create(f"{path}/{chance.randrange(3)}", data))
                case 1:
                    await attempt(client, Delete(f"{path}/{chance.randrange(3)}"))
                case _:
                    await attempt(client, SetData(path, data))
            await think(client)

    async def _follow(self, client: Client) -> None:
        """After each loss of the connection from the beginning, as persistent watches tell nothing of that time."""
        changed: asyncio.Queue[str] = asyncio.Queue()
        client.on_event = lambda kind, path: changed.put_nowait(path)
        while True:
            connection = client.attachment
            loaded = connection is not None and await self._load(client)
            while loaded and client.attachment is connection:
                try:
                    path = await asyncio.wait_for(changed.get(), 1.0)
                except TimeoutError:
                    continue
                await self._read(client, path)
            await asyncio.sleep(0.1)

    async def finish(self, client: Client) -> None:
        """Within a while the mirror shows what is there."""
        for _ in range(_PATIENCE):
            await asyncio.sleep(1.0)
            if self._mirroring is None or self._mirroring.process.dead:
                return
            self._different = await self._compare(client)
            if not self._different:
                return

    async def _compare(self, client: Client) -> str:
        paths, found = [self.root], dict[str, bytes | None]()
        while paths:
            path = paths.pop()
            data, listing = await attempt(client, GetData(path)), await attempt(client, GetChildren(path))
            if data is None or data.reply is None or listing is None or listing.reply is None:
                return "not read"
            found[path] = data.reply.data
            paths += [f"{path}/{name}" for name in listing.reply.names or ()]
        return "" if found == self._mirror else f"the mirror shows {self._mirror}, there is {found}"

    async def _load(self, client: Client) -> bool:
        if await attempt(client, AddWatch(self.root, recursive=True)) is None:
            return False
        self._mirror.clear()
        paths = [self.root]
        while paths:
            path = paths.pop()
            if not await self._read(client, path):
                return False
            listing = await attempt(client, GetChildren(path))
            if listing is None or listing.reply is None:
                return False
            paths += [f"{path}/{name}" for name in listing.reply.names or ()]
        return True

    async def _read(self, client: Client, path: str) -> bool:
        found = await attempt(client, GetData(path))
        if found is None or found.reply is None:
            return False
        if found.reply.code is Code.OK:
            self._mirror[path] = found.reply.data
        else:
            self._mirror.pop(path, None)
        return True

    def check(self, history: History) -> list[str]:
        return [self._different] if self._different else []
