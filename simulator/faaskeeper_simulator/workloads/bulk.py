"""Multis and sessions' ends that are larger than a transaction of DynamoDB: all or nothing all the same."""

from __future__ import annotations

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Delete, Multi, SetData
from faaskeeper_client.wire.requests import GetChildren, GetData, MultiRead
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.history import Call, History
from faaskeeper_simulator.harness.wire import Reply
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_CHILDREN = 60
"""With its edge each makes two items: more than a transaction's hundred."""


class Bulk(Workload):
    name = "bulk"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for name in ("ab", "other"):
            await must(client, create(f"{self.root}/{name}", b"0"))

    async def run(self, client: Client, operations: int) -> None:
        for number in range(max(2, operations // 6)):
            folder = f"{self.root}/{client.name}"
            data = f"{client.name}-{number}-{client.sessions}".encode()
            match client.chance.randrange(5):
                case 0:
                    paths = [f"{folder}-{number}", *(f"{folder}-{number}/{n}" for n in range(_CHILDREN))]
                    marks = (SetData(f"{self.root}/ab", data), SetData(f"{self.root}/other", data))
                    await attempt(client, Multi((*(create(path, data) for path in paths), *marks)))
                case 1:
                    parts = tuple(create(f"{self.root}/ab/e", flags=3) for _ in range(_CHILDREN))
                    await attempt(client, Multi(parts))
                case 2:
                    listing = await attempt(client, GetChildren(f"{folder}-{client.chance.randrange(number + 1)}"))
                    if listing is not None and listing.reply is not None and listing.reply.code is Code.OK:
                        parent = listing.body.path  # type: ignore[union-attr]
                        names = listing.reply.names or ()
                        await attempt(client, Multi(tuple(Delete(f"{parent}/{name}") for name in names)))
                case 3:
                    await attempt(client, self._marks())
                case _:
                    await attempt(client, GetChildren(self.root, watch=True))
            await think(client)

    async def finish(self, client: Client) -> None:
        await attempt(client, self._marks())

    def check(self, history: History) -> list[str]:
        """Both marks are of the same multi."""
        audits = [call for call in history.calls if call.body == self._marks() and call.reply is not None]
        return [f"half a multi: {call}" for call in audits if len({part.data for part in _parts(call)}) > 1]

    def _marks(self) -> MultiRead:
        return MultiRead((GetData(f"{self.root}/ab"), GetData(f"{self.root}/other")))


def _parts(call: Call) -> tuple[Reply, ...]:
    assert call.reply is not None
    return call.reply.results or ()
