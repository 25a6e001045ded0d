"""Money moves between accounts by multi: whoever reads all accounts at once finds the same sum (atomicity)."""

from __future__ import annotations

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Multi, SetData
from faaskeeper_client.wire.requests import GetData, MultiRead
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.workloads.base import Workload, attempt, create, must, think

_ACCOUNTS = 6
_EACH = 100


class Transfers(Workload):
    name = "transfers"

    async def prepare(self, client: Client) -> None:
        await super().prepare(client)
        for path in self._paths():
            await must(client, create(path, str(_EACH).encode()))

    async def run(self, client: Client, operations: int) -> None:
        for _ in range(operations // 2):
            if client.chance.random() < 0.3:
                await attempt(client, self._audit())
            else:
                await self._transfer(client)
            await think(client)

    async def _transfer(self, client: Client) -> None:
        source, target = client.chance.sample(self._paths(), 2)
        found = [await attempt(client, GetData(path)) for path in (source, target)]
        parts: list[SetData] = []
        amount = client.chance.randint(1, 10)
        for path, call, change in zip((source, target), found, (-amount, amount), strict=True):
            if call is None or call.reply is None or call.reply.code is not Code.OK or call.reply.stat is None:
                return
            balance = int(call.reply.data or b"0") + change
            parts.append(SetData(path, str(balance).encode(), call.reply.stat.version))
        await attempt(client, Multi(tuple(parts)))

    async def finish(self, client: Client) -> None:
        await attempt(client, self._audit())

    def check(self, history: History) -> list[str]:
        wrong: list[str] = []
        for call in history.calls:
            if call.body == self._audit() and call.reply is not None and call.reply.results is not None:
                total = sum(int(result.data or b"0") for result in call.reply.results)
                if total != _ACCOUNTS * _EACH:
                    wrong.append(f"the accounts hold {total}: {call}")
        return wrong

    def _audit(self) -> MultiRead:
        return MultiRead(tuple(GetData(path) for path in self._paths()))

    def _paths(self) -> list[str]:
        return [f"{self.root}/{number}" for number in range(_ACCOUNTS)]
