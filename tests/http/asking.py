"""A gateway with an HTTP port, and somebody who asks it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.addresses import Address
from faaskeeper_client.http.gateway_view import LocalGateway
from faaskeeper_client.http.options import HttpOptions
from faaskeeper_client.http.port import HttpPort
from faaskeeper_client.http.usage import CountedAws
from tests.gateway.ensemble import Served, ensemble

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Asking:
    def __init__(self, client: aiohttp.ClientSession, served: Served, address: Address) -> None:
        self._client = client
        self.served = served
        self.address = address

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, headers)

    async def post(self, path: str, body: Any = None, *, origin: str | None = "", **headers: str) -> Answer:
        """``origin``: the port's own unless given, none if None."""
        if origin is not None:
            headers["Origin"] = origin or f"http://{self.address}"
        return await self._ask("POST", path, headers, json=body)

    async def _ask(self, method: str, path: str, headers: dict[str, str], **how: Any) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._client.request(method, f"http://{self.address}{path}", headers=named, **how) as response:
            return Answer(response.status, dict(response.headers), await response.text())


@asynccontextmanager
async def asking(aws: BotoAws, **options: Any) -> AsyncGenerator[Asking]:
    async with ensemble(aws) as whole:
        served = await whole.gateway(CountedAws)
        assert isinstance(served.aws, CountedAws)
        address = Address(LOOPBACK, 0)
        port = HttpPort(LocalGateway(served.gateway), served.aws.usage, HttpOptions(address, **options))
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            try:
                yield Asking(client, served, await port.start())
            finally:
                await port.stop()
