"""The lock of the ZooKeeper recipes: the lowest of ephemeral sequence nodes holds it, each of the others watches the
one before. Its czxid is a fencing token, by which a resource refuses holders of the past."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind
from faaskeeper.znode.operations import Delete, SetData
from faaskeeper_client.wire.requests import Exists, GetChildren, GetData
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.history import Call, History
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think


class Locks(Workload):
    name = "locks"

    @property
    def _resource(self) -> str:
        return f"{self.root}/resource"

    @property
    def _queue(self) -> str:
        return f"{self.root}/queue"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        await must(client, create(self._resource, b"0"))
        await must(client, create(self._queue))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(max(1, operations // 8)):
            await self._hold(client)
            await think(client)

    async def _hold(self, client: Client) -> None:
        made = await attempt(client, create(f"{self._queue}/{client.name}-", flags=3))
        if made is None or made.reply is None or made.reply.path is None or made.reply.stat is None:
            await self._clean(client)
            return
        path, token = made.reply.path, made.reply.stat.czxid
        sessions = client.sessions
        while client.sessions == sessions:
            listing = await attempt(client, GetChildren(self._queue))
            if listing is None or listing.reply is None or listing.reply.names is None:
                continue
            waiting = sorted(listing.reply.names, key=lambda name: name[-10:])
            mine = path.rsplit("/", 1)[1]
            if mine not in waiting:
                return  # of a session that is over
            if waiting[0] == mine:
                await self._use(client, token)
                await self._clean(client)
                return
            await self._gone(client, f"{self._queue}/{waiting[waiting.index(mine) - 1]}")

    async def _clean(self, client: Client) -> None:
        """Leaves the queue, also with nodes that the client was never told it has."""
        while True:
            listing = await attempt(client, GetChildren(self._queue))
            if listing is None or listing.reply is None or listing.reply.names is None:
                continue
            mine = [name for name in listing.reply.names if name.startswith(f"{client.name}-")]
            if not mine:
                return
            for name in mine:
                await attempt(client, Delete(f"{self._queue}/{name}"))

    async def _gone(self, client: Client, path: str) -> None:
        """Until the event comes, the connection is lost for long, or nothing has come for a while."""
        gone = asyncio.Event()
        before = client.on_event
        client.on_event = lambda kind, where: gone.set() if (kind, where) == (EventKind.DELETED, path) else None
        found = await attempt(client, Exists(path, watch=True))
        if found is not None and found.reply is not None and found.reply.code is Code.OK:
            try:
                async with asyncio.timeout(30):
                    await gone.wait()
            except TimeoutError:
                pass
        client.on_event = before

    async def _use(self, client: Client, token: int) -> None:
        for _ in range(3):
            found = await attempt(client, GetData(self._resource))
            if found is None or found.reply is None or found.reply.stat is None:
                return
            if int(found.reply.data or b"0") > token:
                return  # a later holder was here: this one's session must be over
            await attempt(client, SetData(self._resource, str(token).encode(), found.reply.stat.version))

    def check(self, history: History) -> list[str]:
        """Tokens never go back in the resource's own order of versions."""
        written: dict[int, tuple[int, Call]] = {}
        for call in history.calls:
            if not isinstance(call.body, SetData) or call.body.path != self._resource:
                continue
            if call.reply is not None and call.reply.stat is not None:
                assert isinstance(call.body.data, bytes)
                written[call.reply.stat.version] = (int(call.body.data), call)
        wrong: list[str] = []
        highest = 0
        for version in sorted(written):
            token, call = written[version]
            if token < highest:
                wrong.append(f"a holder of the past wrote after token {highest}: {call}")
            highest = max(highest, token)
        return wrong
