"""Few znodes, many clients, every kind of request: single and in bursts, with and without watches."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.model import OPEN_ACL, Acl
from faaskeeper.znode.operations import Check, Create, Delete, Multi, SetAcl, SetData
from faaskeeper_client.wire.requests import (
    AddWatch,
    Body,
    Exists,
    GetAcl,
    GetChildren,
    GetData,
    MultiRead,
    RemoveWatches,
    Sync,
    WatcherType,
)
from faaskeeper_simulator.harness.client import Client, ConnectionLost, SessionExpired
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_NAMES = 4
_LONGEST_BURST = 8
_LENGTHS = (0, 8, 8, 8, 60, 200, 900, 1500, 4000)
"""Of data: inline, beside the node, and in the bucket."""


class Registers(Workload):
    name = "registers"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        # a gateway that is told of the whole subtree is told of what it forgot to ask for, too
        self._recursive = self.chance.random() < 0.3
        for number in range(_NAMES):
            await must(client, create(f"{self.root}/{number}"))

    async def run(self, client: Client, operations: int) -> None:
        while operations > 0:
            burst = 1 if client.chance.random() < 0.6 else client.chance.randint(2, _LONGEST_BURST)
            operations -= burst
            if burst == 1:
                await attempt(client, self._request(client))
            else:
                waiting = [client.submit(self._request(client)) for _ in range(burst)]
                for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                    if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionLost | SessionExpired):
                        raise outcome
            await think(client)

    def _request(self, client: Client) -> Body:
        chance = client.chance
        path = f"{self.root}/{chance.randrange(_NAMES)}"
        if chance.random() < 0.3:
            path = f"{path}/{chance.randrange(2)}"
        version = -1 if chance.random() < 0.8 else chance.randrange(4)
        watch = chance.random() < 0.5
        match chance.choices(range(14), (14, 14, 8, 2, 4, 14, 8, 8, 2, 3, 2, 2, 1, 2))[0]:
            case 0:
                return SetData(path, self._data(client), version)
            case 1:
                return create(path, self._data(client), chance.choice((0, 0, 0, 1, 2, 3)))
            case 2:
                return Delete(path, version)
            case 3:
                return SetAcl(path, (*OPEN_ACL, Acl(1, "ip", "10.0.0.1")), version)
            case 4:
                return Multi(tuple(self._part(client) for _ in range(chance.randint(1, 4))))
            case 5:
                return GetData(path, watch)
            case 6:
                return Exists(path, watch)
            case 7:
                return GetChildren(chance.choice((self.root, path)), watch)
            case 8:
                return GetAcl(path)
            case 9:
                return MultiRead((GetData(path), GetChildren(self.root), GetData(f"{self.root}/0")))
            case 10:
                return Sync(path)
            case 11:
                return AddWatch(path, recursive=False)
            case 12 if self._recursive:
                return AddWatch(self.root, recursive=True)
            case _:
                return RemoveWatches(path, WatcherType.ANY)

    def _part(self, client: Client) -> Create | Delete | SetData | Check:
        chance = client.chance
        path = f"{self.root}/{chance.randrange(_NAMES)}"
        match chance.randrange(5):
            case 0:
                return create(path, self._data(client))
            case 1:
                return Delete(path)
            case 2:
                return Check(path)
            case _:
                return SetData(path, self._data(client))

    def _data(self, client: Client) -> bytes | None:
        """Never the same twice, so that reads tell which write they saw."""
        length = client.chance.choice(_LENGTHS)
        if not length:
            return None
        return f"{client.name}-{client.chance.getrandbits(40):x}".encode().ljust(length, b".")
