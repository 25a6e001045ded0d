"""What every workload is to the harness."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from typing import ClassVar

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL
from faaskeeper.znode.operations import Create
from faaskeeper_client.wire.requests import Body
from faaskeeper_simulator.harness.client import Client, ConnectionLost, SessionExpired
from faaskeeper_simulator.harness.history import Call, History


class Workload(ABC):
    """Works below ``root``. ``prepare`` runs once, in calm; then ``run`` once for each client, in the storm.

    ``check`` returns what is wrong about the history in the workload's own terms, beyond what the checker sees.
    """

    name: ClassVar[str]
    forged: ClassVar[bool] = False
    """Whether a forger interferes (``harness.forger``)."""

    def __init__(self, root: str, chance: random.Random) -> None:
        self.root = root
        self.chance = chance

    async def prepare(self, client: Client) -> None:
        await must(client, create(self.root))

    @abstractmethod
    async def run(self, client: Client, operations: int) -> None:
        """About so many requests. Ends when they are made, whatever became of them."""

    async def finish(self, client: Client) -> None:
        """In the calm after the storm, by one client: reads what ``check`` wants to know."""
        return

    def check(self, history: History) -> list[str]:
        return []


def create(path: str, data: bytes | None = b"", flags: int = 0, ttl: int | None = None) -> Create:
    return Create(path, data, OPEN_ACL, flags, ttl)


async def must(client: Client, body: Body) -> Call:
    """Until it succeeds, or is found to have succeeded before."""
    while True:
        call = await attempt(client, body)
        if call is not None and call.reply is not None:
            if call.reply.code in (Code.OK, Code.NODE_EXISTS):
                return call
            raise AssertionError(f"{call}")


async def attempt(client: Client, body: Body) -> Call | None:
    """None if the outcome is unknown, or the session over."""
    try:
        return await client.call(body)
    except (ConnectionLost, SessionExpired):
        return None


async def think(client: Client, longest: float = 0.5) -> None:
    """Between requests: mostly nothing, sometimes a while."""
    if client.chance.random() < 0.5:
        await asyncio.sleep(longest * client.chance.random() ** 3)
