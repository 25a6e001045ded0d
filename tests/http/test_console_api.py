"""What the console's pages ask, asked by hand: pages of children, bad input, who may do what."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.addresses import Address
from faaskeeper_client.http.gateway_view import LocalGateway
from faaskeeper_client.http.options import HttpOptions
from faaskeeper_client.http.port import HttpPort
from faaskeeper_client.http.usage import Usage
from tests.gateway.ensemble import run
from tests.gateway.wire import OK

from .asking import asking


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_children_come_in_pages(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/many")).error == OK
            made = await asyncio.gather(*(zk.create(f"/many/{number:03}") for number in range(230)))
            assert {reply.error for reply in made} == {OK}
            names: list[str] = []
            left: list[int] = []
            while not left or left[-1]:
                page = (await asked.get(f"/api/children?path=/many&after={names[-1] if names else ''}")).json
                names += [child["name"] for child in page["children"]]
                left.append(page["left"])
                assert page["total"] == 230
            assert (names, left) == ([f"{number:03}" for number in range(230)], [130, 30, 0])
            found = (await asked.get("/api/children?path=/many&part=22")).json
            assert [child["name"] for child in found["children"]] == ["022", "122", *(f"22{n}" for n in range(10))]

    run(scenario())


def test_bad_input_gets_one_sentence(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws, write=True) as asked:
            made: dict[str, Any] = {"path": "/a", "kind": "persistent", "data": encoded(b"x")}
            assert (await asked.post("/api/create", made)).json == {"path": "/a"}
            node: dict[str, Any] = {"path": "/a", "version": 0, "data": encoded(b"y")}
            for name, body, status, words in (
                ("create", made, 409, "there is a znode of that name already"),
                ("create", made | {"path": "a"}, 400, "'a' is not the path of a znode"),
                ("create", made | {"path": "/no/where"}, 404, "there is no such znode"),
                ("create", made | {"kind": "ephemeral"}, 400, "'ephemeral' is no kind: persistent, container, ttl are"),
                ("create", made | {"kind": "container", "sequential": True}, 400, "a container cannot be sequential"),
                ("create", made | {"kind": "ttl", "ttl": 0}, 400, "a TTL is a number of milliseconds"),
                ("set", node | {"version": 7}, 409, "the znode has changed since you opened it"),
                ("set", node | {"version": -1}, 400, "version is the one that was seen"),
                ("set", node | {"data": "%"}, 400, "data is not base64"),
                ("set", node | {"data": encoded(bytes(1_048_575))}, 400, "that is too much: 1048575 bytes"),
                (
                    "set",
                    node | {"data": encoded(bytes(10_000_000))},
                    400,
                    "that is too much: a znode has 1048575 bytes",
                ),
                ("set", ["not", "an", "object"], 400, "what came is no JSON object"),
                ("delete", {"path": "/nowhere", "version": 0}, 404, "there is no such znode"),
                ("sign-in", {"user": "", "password": ""}, 400, "'' is no user"),
            ):
                answer = await asked.post(f"/api/{name}", body)
                assert (answer.status, answer.json["error"][: len(words)]) == (status, words)
            assert (await asked.get("/api/node?path=a//b")).status == 400
            assert (await asked.get("/api/node?path=/a")).json["data"] == encoded(b"x")
            ttl = {"path": "/t-", "kind": "ttl", "ttl": 60_000, "sequential": True, "data": None}
            assert (await asked.post("/api/create", ttl)).json["path"].startswith("/t-00000")
            assert (await asked.post("/api/create", made | {"path": "/c", "kind": "container"})).status == 200

    run(scenario())


def test_only_its_own_pages_may_write_and_only_if_it_was_told(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            body = {"path": "/a", "kind": "persistent", "data": None}
            assert "begin the gateway with --http-write" in (await asked.post("/api/create", body)).json["error"]
            assert (await asked.post("/api/create", body, origin="http://evil.example")).status == 403
            assert (await asked.post("/api/create", body, origin=None)).status == 403
            page = await asked.get("/")
            assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
            assert page.headers["X-Content-Type-Options"] == "nosniff"
            signed = await asked.post("/api/sign-in", {"user": "ann", "password": "sesame"})
            cookie = signed.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert "sesame" not in cookie

            # beyond this machine there is a console only if it was asked for
            for console, status in ((False, 404), (True, 200)):
                options = HttpOptions(Address("0.0.0.0", 0), console=console)
                port = HttpPort(LocalGateway(asked.served.gateway), Usage(), options)
                address = await port.start()
                async with aiohttp.ClientSession() as client:
                    for path, wanted in (("", status), ("api/node", status), ("health", 200), ("metrics", 200)):
                        async with client.get(f"http://127.0.0.1:{address.port}/{path}") as answer:
                            assert answer.status == wanted
                await port.stop()

    run(scenario())


def test_a_session_lasts_as_long_as_somebody_looks(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            sessions = asked.served.gateway.life.sessions
            assert len(sessions) == 0
            assert (await asked.get("/api/node")).status == 200
            assert len(sessions) == 1
            # the gateway drops its clients, as when it begins anew: the next question finds another session
            for connection in list(asked.served.gateway.connections):
                connection.close()
            assert (await asked.get("/api/node")).status == 200
            assert len(asked.served.gateway.connections) == 1

    run(scenario())
