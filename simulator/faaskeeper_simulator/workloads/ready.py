"""The configuration swap of the ZooKeeper paper: the writer deletes "ready", changes many znodes, makes it again.

A reader that saw "ready", and was told of no change of it until it had read them all, read one configuration: the
event comes before anything that is newer.
"""

from __future__ import annotations

import asyncio

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.wire.requests import Exists, GetData
from faaskeeper_simulator.harness.client import Client, ConnectionLost, SessionExpired
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_PARTS = 4


class Ready(Workload):
    name = "ready"

    @property
    def _ready(self) -> str:
        return f"{self.root}/ready"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        self._wrong: list[str] = []
        self._generation = 0
        self._writer: Client | None = None
        for number in range(_PARTS):
            await must(client, create(f"{self.root}/{number}", b"0"))
        await must(client, create(self._ready))

    async def run(self, client: Client, operations: int) -> None:
        writes = self._writer is None or self._writer.process.dead
        if writes:
            self._writer = client
        for _ in range(max(1, operations // (_PARTS + 2))):
            await (self._write(client) if writes else self._read(client))
            await think(client)

    async def _write(self, client: Client) -> None:
        """All requests under way at once; the order of the session is enough. Where one is lost, so are those behind
        it: nothing is ready then until the next swap."""
        self._generation += 1
        data = str(self._generation).encode()
        requests = [client.submit(Delete(self._ready))]
        requests += [client.submit(SetData(f"{self.root}/{number}", data)) for number in range(_PARTS)]
        requests.append(client.submit(create(self._ready)))
        await asyncio.gather(*requests, return_exceptions=True)

    async def _read(self, client: Client) -> None:
        changed = asyncio.Event()
        before = client.on_event
        client.on_event = lambda kind, path: changed.set() if path == self._ready else None
        connection = client.attachment
        found = await attempt(client, Exists(self._ready, watch=True))
        if found is not None and found.reply is not None and found.reply.code is Code.OK:
            requests = [client.submit(GetData(f"{self.root}/{number}")) for number in range(_PARTS)]
            values: list[bytes | None] = []
            for request in requests:
                try:
                    call = await request
                except (ConnectionLost, SessionExpired):
                    break
                if call.reply is not None and not changed.is_set():
                    values.append(call.reply.data)
            # on another connection the event may come later, with setWatches
            if len(values) == _PARTS and len(set(values)) > 1 and client.attachment is connection:
                self._wrong.append(f"{client.name} at {client.now:.6f} read {values} while ready since {found}")
        client.on_event = before

    def check(self, history: History) -> list[str]:
        return self._wrong
