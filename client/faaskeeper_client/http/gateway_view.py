"""What the HTTP port needs of a gateway, and how it gets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from faaskeeper.storage.sessions import list_ephemerals
from faaskeeper_client.gateway.connection import Client
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.status import snapshot
from faaskeeper_client.gateway.tasks import gather
from faaskeeper_client.wire.four_letter import Snapshot
from faaskeeper_client.wire.statistics import Statistics

_QUERIES_AT_ONCE = 16


class Line(Protocol):
    """A connection with the gateway, from the client's end."""

    def feed(self, data: bytes) -> None:
        """Bytes for the gateway."""
        ...

    def close(self) -> None: ...


class GatewayView(Protocol):
    def snapshot(self) -> Snapshot:
        """The gateway as it is now."""
        ...

    async def ephemerals(self) -> Mapping[int, list[str]]:
        """Paths of the ephemerals that this gateway's sessions own, by session id; only of sessions that own any.
        Takes one Query for each session that may own some. Raises AwsError."""
        ...

    def reset_statistics(self) -> None: ...

    def reset_connection_statistics(self) -> None: ...

    def connect(self, client: Client, address: tuple[str, int]) -> Line:
        """A connection of its own. ``address`` is what ACLs of the scheme ``ip`` see."""
        ...


class LocalGateway:
    """A gateway in this process, on the event loop that runs."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def snapshot(self) -> Snapshot:
        return snapshot(self._gateway)

    async def ephemerals(self) -> Mapping[int, list[str]]:
        life = self._gateway.life

        async def owned(session: int) -> tuple[int, list[str]]:
            return session, await list_ephemerals(life.bulk, life.service, session)

        found = await gather(map(owned, life.liveness.owners), _QUERIES_AT_ONCE)
        return {session: sorted(paths) for session, paths in found if paths}

    def reset_statistics(self) -> None:
        self._gateway.statistics = self._gateway.statistics.reset()

    def reset_connection_statistics(self) -> None:
        for connection in self._gateway.connections:
            connection.statistics = Statistics()

    def connect(self, client: Client, address: tuple[str, int]) -> Line:
        return self._gateway.connect(client, address)
