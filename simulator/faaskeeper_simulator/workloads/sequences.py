"""Sequence nodes: no number twice, and none left out that ZooKeeper would not leave out."""

from __future__ import annotations

import asyncio

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Create, Delete, Multi
from faaskeeper_client.wire.requests import GetChildren
from faaskeeper_simulator.harness.client import Client, ConnectionLost, SessionExpired
from faaskeeper_simulator.harness.history import History
from faaskeeper_simulator.workloads.base import Workload, attempt, create, think

_SEQUENTIAL = (2, 3)


class Sequences(Workload):
    name = "sequences"

    async def run(self, client: Client, operations: int) -> None:
        made: list[str] = []
        while operations > 0:
            burst = client.chance.randint(1, 4)
            operations -= burst
            waiting = [client.submit(self._request(client, made)) for _ in range(burst)]
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(outcome, ConnectionLost | SessionExpired):
                    continue
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome.reply is not None and outcome.reply.path is not None:
                    made.append(outcome.reply.path)
            await think(client)

    def _request(self, client: Client, made: list[str]) -> Create | Delete | Multi | GetChildren:
        chance = client.chance
        match chance.choices(range(5), (10, 2, 2, 2, 2))[0]:
            case 0:
                return create(f"{self.root}/n", flags=chance.choice(_SEQUENTIAL))
            case 1 if made:
                return Delete(chance.choice(made))
            case 2 if made:
                # takes a number that is still to come, so that somebody will find it taken
                taken = int(made[-1][-10:]) + chance.randint(1, 3)
                return create(f"{self.root}/n{taken:010d}")
            case 3:
                flags = chance.choice(_SEQUENTIAL)
                return Multi(tuple(create(f"{self.root}/n", flags=flags) for _ in range(chance.randint(2, 4))))
            case _:
                return GetChildren(self.root, watch=chance.random() < 0.5)

    async def finish(self, client: Client) -> None:
        await attempt(client, GetChildren(self.root))

    def check(self, history: History) -> list[str]:
        """Twice only if it was deleted in between; it never is made twice, for the numbers only grow."""
        made: dict[str, str] = {}
        wrong: list[str] = []
        for call in history.calls:
            if call.reply is None or call.reply.code is not Code.OK:
                continue
            parts = call.body.operations if isinstance(call.body, Multi) else (call.body,)
            results = call.reply.results if isinstance(call.body, Multi) else (call.reply,)
            for part, result in zip(parts, results or (), strict=True):
                if isinstance(part, Create) and part.flags in _SEQUENTIAL and result.path is not None:
                    if part.path != f"{self.root}/n":
                        continue
                    if result.path in made:
                        wrong.append(f"{result.path} was made by {made[result.path]} and by {call}")
                    made[result.path] = str(call)
        return wrong
