"""A way to the embedded cloud on which every request and answer can be seen, held up, changed or lost."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias, cast
from urllib.parse import urlsplit

from faaskeeper_client.local.cloud import HOST, CloudSession, EmbeddedCloud

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Cut(Exception):
    """Raised by an exchange: the connection ends without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    target: str
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """Of a request in JSON."""
        return cast(dict[str, Any], json.loads(self.body or b"{}"))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Forward: TypeAlias = Callable[[Request], Answer]
Exchange: TypeAlias = Callable[[Request, Forward], Answer]
"""What becomes of a request; called in a thread of each connection. Raises Cut."""


class Proxy:
    """An HTTP server in front of an embedded cloud, as a context manager. ``who`` names its users."""

    def __init__(self, cloud: EmbeddedCloud, who: str, exchange: Exchange) -> None:
        self._cloud = cloud
        self._connections: set[socket.socket] = set()
        handler = partial(_Connection, urlsplit(cloud.endpoint_url).netloc, exchange, self._connections)
        self._server = ThreadingHTTPServer((HOST, 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"proxy-{who}", daemon=True)

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}"

    def session(self) -> CloudSession:
        return CloudSession(self.endpoint_url, self._cloud.account, self._cloud.region)

    def lead_functions_here(self, named: str = "") -> None:
        """From now on the deployed functions whose names contain ``named`` take this way."""
        client = self._cloud.session().client("lambda")
        for function in client.list_functions()["Functions"]:
            if named in function["FunctionName"]:
                variables = function.get("Environment", {}).get("Variables", {})
                client.update_function_configuration(
                    FunctionName=function["FunctionName"],
                    Environment={"Variables": variables | {"AWS_ENDPOINT_URL": self.endpoint_url}},
                )

    def sever(self) -> None:
        """Cuts all connections under way; what they had asked for is done all the same."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Connection(BaseHTTPRequestHandler):
    """One connection to the emulator for each of a client's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, upstream: str, exchange: Exchange, connections: set[socket.socket], *arguments: Any) -> None:
        self._upstream = http.client.HTTPConnection(upstream, timeout=60)
        self._exchange = exchange
        self._connections = connections
        super().__init__(*arguments)

    def setup(self) -> None:
        super().setup()
        self._connections.add(self.connection)

    def handle_one_request(self) -> None:
        # the client went away, as those do whose process is killed, or is sent away
        with suppress(ConnectionError, Cut):
            super().handle_one_request()
            return
        self.close_connection = True

    def finish(self) -> None:
        self._connections.discard(self.connection)
        self._upstream.close()
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, format: str, *arguments: Any) -> None:
        return

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, self.headers.get("X-Amz-Target", ""), body)
        answer = self._exchange(request, partial(self._forward, dict(self.headers.items())))
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

    def _forward(self, headers: Mapping[str, str], request: Request) -> Answer:
        # signatures are not checked by the emulator
        passed = {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        self._upstream.request(request.method, request.path, request.body, passed)
        response = self._upstream.getresponse()
        body = response.read()
        kept = tuple((name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP)
        return Answer(response.status, kept, body)
