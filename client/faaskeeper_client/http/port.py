"""The HTTP port of a gateway: what is served where."""

from __future__ import annotations

import json
from html import escape
from typing import cast

from aiohttp import web

from faaskeeper.blocks.errors import AwsError
from faaskeeper_client.addresses import Address
from faaskeeper_client.http import admin
from faaskeeper_client.http.console import MAX_BODY_BYTES, Console
from faaskeeper_client.http.gateway_view import GatewayView
from faaskeeper_client.http.guard import guard, protect, refuse
from faaskeeper_client.http.metrics import CONTENT_TYPE, Metrics
from faaskeeper_client.http.options import HttpOptions
from faaskeeper_client.http.usage import Usage

_LONGEST_SHUTDOWN = 1.0
"""Seconds that open answers are given at the end."""


class HttpPort:
    """Serves a gateway's figures, and its console. ``usage`` is what the gateway has asked of AWS."""

    def __init__(self, gateway: GatewayView, usage: Usage, options: HttpOptions) -> None:
        self._gateway = gateway
        self._metrics = Metrics(gateway, usage)
        self._options = options
        self._console = Console(gateway, usage, options.write) if options.has_console else None
        self._runner: web.AppRunner | None = None

    async def start(self) -> Address:
        """Where it listens; port 0 takes a free one. Raises OSError."""
        names = frozenset(name.lower() for name in self._options.names)
        application = web.Application(middlewares=[guard(names)], client_max_size=MAX_BODY_BYTES)
        application.on_response_prepare.append(protect)
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/health/live", self._live),
                web.get("/metrics", self._show_metrics),
                web.get("/commands", self._list_commands),
                web.get("/commands/", self._list_commands),
                web.get("/commands/{name:.+}", self._command),
            ]
        )
        if self._console is not None:
            application.add_routes(self._console.routes())
            self._console.start()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_LONGEST_SHUTDOWN)
        await self._runner.setup()
        listen = self._options.listen
        site = web.TCPSite(self._runner, listen.host, listen.port)
        try:
            await site.start()
        except BaseException:
            await self.stop()
            raise
        host, port = cast(tuple[str, int], self._runner.addresses[0][:2])
        return Address(host, port)

    async def stop(self) -> None:
        if self._console is not None:
            await self._console.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, request: web.Request) -> web.Response:
        """200 while the gateway has its service, else 503: clients should go to another one."""
        serving = self._gateway.snapshot().serving
        return web.json_response({"serving": serving}, status=200 if serving else 503)

    async def _live(self, request: web.Request) -> web.Response:
        """The process is well, whatever its service is: to begin it anew would help nobody."""
        return web.json_response({"live": True})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _list_commands(self, request: web.Request) -> web.Response:
        links = [f'<a href="/commands/{escape(name)}">{escape(name)}</a>\n<br/>\n' for name in admin.primary_names()]
        return web.Response(text="".join(links), content_type="text/html")

    async def _command(self, request: web.Request) -> web.Response:
        try:
            answer = await admin.run(self._gateway, request.match_info["name"], request.query)
        except AwsError as error:
            return refuse(503, f"AWS does not answer: {error}", command=request.match_info["name"])
        return web.json_response(answer, dumps=lambda value: json.dumps(value, indent=2) + "\n")
