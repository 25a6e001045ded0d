"""The gateway on a TCP port."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import cast

from faaskeeper_client.gateway.connection import Connection
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.status import answer
from faaskeeper_client.wire.frames import Command

_BACKLOG = 1024
_MAX_UNREAD_BYTES = 64_000_000
"""Bytes that wait for a client that does not read. No reply is made for such a one, but events come all the same."""


class Server:
    """Listens for clients of a gateway that has been started."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """The address it listens on, for TLS only if there is a context; port 0 takes a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self._gateway), host, port, backlog=_BACKLOG, ssl=tls)
        address = self._server.sockets[0].getsockname()
        self._gateway.port = address[1]
        self._gateway.secure = tls is not None
        return address[0], address[1]

    def close(self) -> None:
        """Takes no more clients; those that are connected are the gateway's to drop."""
        if self._server is not None:
            self._server.close()


class _Client(asyncio.Protocol):
    """One socket."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = transport.get_extra_info("peername")
        self._connection = self._gateway.connect(self, (peer[0], peer[1]) if peer else ("", 0))

    def data_received(self, data: bytes) -> None:
        assert self._connection is not None
        assert self._transport is not None
        self._connection.feed(data)
        if self._connection.overloaded and self._transport.is_reading():
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connection.close()

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.writable.clear()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.writable.set()

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            self._transport.abort()
        self._transport.write(data)

    def answer(self, command: Command) -> None:
        self.send(answer(self._gateway, command))
        assert self._connection is not None
        self._connection.close()

    def drained(self) -> None:
        if self._transport is not None and not self._transport.is_reading() and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
