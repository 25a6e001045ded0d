"""Configuration that everybody polls and few change: reads of every kind, most of which memory may answer."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.model import OPEN_ACL, Acl
from faaskeeper.znode.operations import Delete, Multi, SetAcl, SetData
from faaskeeper_client.wire.requests import (
    Body,
    Exists,
    GetAcl,
    GetChildren,
    GetData,
    MultiRead,
    Sync,
)
from faaskeeper_simulator.harness.client import Client, ConnectionLost, SessionExpired
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_NODES = 3
_READS_PER_OPERATION = 4
_LENGTHS = (0, 8, 60, 900, 4000)
_SECRET = "secret"
"""A znode whose ACL changes. Nobody watches it: who may not read it is not told of its events, and keeps the watch."""
_HIDDEN = (Acl(31, "digest", "nobody:none"),)


class Polls(Workload):
    name = "polls"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for number in range(_NODES):
            await must(client, create(f"{self.root}/{number}", b"0"))
        await must(client, create(f"{self.root}/{_SECRET}", b"0"))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(operations):
            if client.chance.random() < 0.15:
                await attempt(client, self._change(client))
            else:
                await self._poll(client)
            await think(client, 0.3)

    async def _poll(self, client: Client) -> None:
        """One after the other, or together."""
        reads = [self._read(client) for _ in range(client.chance.randint(1, _READS_PER_OPERATION))]
        if client.chance.random() < 0.6:
            for read in reads:
                await attempt(client, read)
            return
        waiting = [client.submit(read) for read in reads]
        if client.chance.random() < 0.3:
            waiting.insert(0, client.submit(self._change(client)))
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionLost | SessionExpired):
                raise outcome

    def _path(self, client: Client) -> str:
        path = f"{self.root}/{client.chance.randrange(_NODES)}"
        return f"{path}/child" if client.chance.random() < 0.3 else path

    def _read(self, client: Client) -> Body:
        chance = client.chance
        path, watch = self._path(client), chance.random() < 0.3
        match chance.choices(range(7), (10, 4, 4, 2, 2, 1, 2))[0]:
            case 0:
                return GetData(path, watch)
            case 1:
                return Exists(path, watch)
            case 2:
                return GetChildren(chance.choice((self.root, path)), watch, chance.random() < 0.5)
            case 3:
                return GetAcl(path)
            case 4:
                return MultiRead((GetData(path), GetChildren(path), GetData(f"{self.root}/0")))
            case 5:
                return Sync(path)
            case _:
                return GetData(f"{self.root}/{_SECRET}")

    def _change(self, client: Client) -> Body:
        chance = client.chance
        path = self._path(client)
        data = f"{client.name}-{chance.getrandbits(40):x}".encode().ljust(chance.choice(_LENGTHS), b".")
        match chance.choices(range(5), (6, 3, 2, 1, 2))[0]:
            case 0:
                return SetData(path, data)
            case 1:
                return create(path, data)
            case 2:
                return Delete(path)
            case 3:
                return SetAcl(f"{self.root}/{_SECRET}", chance.choice((OPEN_ACL, _HIDDEN)))
            case _:
                return Multi((SetData(f"{self.root}/0", data), SetData(f"{self.root}/1", data)))
