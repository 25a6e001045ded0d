"""Leader election by one ephemeral node: who makes it leads, and writes its term; the others wait for its end."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind
from faaskeeper.znode.operations import Check, Delete, Multi, SetData
from faaskeeper_client.wire.requests import Exists, GetData
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think


class Election(Workload):
    name = "election"

    @property
    def _leader(self) -> str:
        return f"{self.root}/leader"

    @property
    def _term(self) -> str:
        return f"{self.root}/term"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        await must(client, create(self._term, b"0 nobody"))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(max(1, operations // 5)):
            made = await attempt(client, create(self._leader, client.name.encode(), flags=1))
            if made is not None and made.reply is not None and made.reply.code is Code.OK:
                await self._lead(client)
            else:
                await self._follow(client)
            await think(client)

    async def _lead(self, client: Client) -> None:
        found = await attempt(client, GetData(self._term))
        if found is not None and found.reply is not None and found.reply.stat is not None:
            term = int((found.reply.data or b"0").split()[0]) + 1
            text = f"{term} {client.name} {client.sessions}".encode()
            # only while it leads: the leader's node is its own, and of this very election
            await attempt(client, Multi((Check(self._leader, 0), SetData(self._term, text, found.reply.stat.version))))
        await think(client)
        if client.chance.random() < 0.7:
            await attempt(client, Delete(self._leader))
        else:
            client.disconnect()

    async def _follow(self, client: Client) -> None:
        changed = asyncio.Event()
        before = client.on_event
        client.on_event = lambda kind, path: (
            changed.set() if (kind, path) == (EventKind.DELETED, self._leader) else None
        )
        found = await attempt(client, Exists(self._leader, watch=True))
        if found is not None and found.reply is not None and found.reply.code is Code.OK:
            try:
                async with asyncio.timeout(20):
                    await changed.wait()
            except TimeoutError:
                pass
        client.on_event = before

    def check(self, history: History) -> list[str]:
        """Every term has one leader, and the terms count without gaps."""
        leaders: dict[int, bytes] = {}
        wrong: list[str] = []
        for call in history.calls:
            if isinstance(call.body, GetData) and call.body.path == self._term and call.reply is not None:
                data, stat = call.reply.data, call.reply.stat
                if data is not None and stat is not None:
                    term = int(data.split()[0])
                    if leaders.setdefault(term, data) != data or term != stat.version:
                        wrong.append(f"term {term} of {leaders[term]!r} and {data!r} at version {stat.version}")
        return wrong
