"""A client's way to a gateway: bytes both ways in order, late, and cut off when one of the two dies.

In place of a socket and ``faaskeeper_client.gateway.server``: less to run for each request, and an address of its own
for each connection.
"""

from __future__ import annotations

from typing import Protocol

from faaskeeper_client.gateway.connection import Connection
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.wire.frames import Command
from faaskeeper_simulator.cloud import Process
from faaskeeper_simulator.cloud.loop import SimulationLoop


class Receiver(Protocol):
    """The client's end; called in the client's process."""

    def received(self, data: bytes) -> None: ...

    def lost(self) -> None:
        """Called once, after the last bytes."""
        ...


class Link:
    """``client`` and ``server`` are the processes at its ends."""

    def __init__(self, loop: SimulationLoop, client: Process, server: Process, receiver: Receiver) -> None:
        self._loop = loop
        self._client = client
        self._server = server
        self._receiver = receiver
        self._connection: Connection | None = None
        self._open_at_server = False
        self._open_at_client = True
        self._latest_out = 0.0
        self._latest_in = 0.0
        server.when_killed(self._reset)
        client.when_killed(self.close)

    def open(self, gateway: Gateway, address: str) -> None:
        self._to_server(self._accept, gateway, address)

    # the client's end

    def write(self, data: bytes) -> None:
        if self._open_at_client:
            self._to_server(self._feed, data)

    def close(self) -> None:
        """By the client, or by its kernel after its death."""
        if self._open_at_client:
            self._open_at_client = False
            self._to_server(self._hang_up)

    # the gateway's end (faaskeeper_client.gateway.connection.Client)

    def _accept(self, gateway: Gateway, address: str) -> None:
        self._open_at_server = True
        self._connection = gateway.connect(self._Ending(self), (address, 40_000))

    def _feed(self, data: bytes) -> None:
        if self._connection is not None and self._open_at_server:
            self._connection.feed(data)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()

    class _Ending:
        def __init__(self, link: Link) -> None:
            self._link = link

        def send(self, data: bytes) -> None:
            self._link._to_client(data)

        def answer(self, command: Command) -> None:
            raise AssertionError(f"nobody asked for {command}")

        def drained(self) -> None:
            """Clients here have fewer requests under way than a gateway takes on."""

        def close(self) -> None:
            self._link._open_at_server = False
            self._link._to_client(None)

    # the wire

    def _reset(self) -> None:
        """The gateway was killed; its kernel says so."""
        self._to_client(None)

    def _to_server(self, callback: object, *args: object) -> None:
        sockets = self._loop.sockets
        self._latest_out = max(self._latest_out, sockets.arrival(self._client, self._server))
        self._loop.call_at(self._latest_out, callback, *args, context=self._server.context)  # type: ignore[arg-type]

    def _to_client(self, data: bytes | None) -> None:
        sockets = self._loop.sockets
        self._latest_in = max(self._latest_in, sockets.arrival(self._server, self._client))
        self._loop.call_at(self._latest_in, self._deliver, data, context=self._client.context)

    def _deliver(self, data: bytes | None) -> None:
        if not self._open_at_client:
            return
        if data is not None:
            self._receiver.received(data)
        else:
            self._open_at_client = False
            self._receiver.lost()
