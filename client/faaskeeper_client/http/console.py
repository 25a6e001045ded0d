"""What the console's pages ask: the tree, sessions and figures, as JSON; and changes as they happen.

The tree is asked of ZooKeeper by the visitor's own session, so whatever ACLs say holds here too. Session ids and zxids
are hexadecimal text: JavaScript has no integers of their size.
"""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from struct import Struct
from typing import Any

from aiohttp import web
from kazoo.protocol.serialization import Create, Delete, Exists, GetACL, GetData, SetData
from kazoo.security import OPEN_ACL_UNSAFE

from faaskeeper.blocks.errors import AwsError
from faaskeeper.znode import paths
from faaskeeper.znode.create_mode import CREATE_MODES, MAX_TTL_MS
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import EventKind, ZnodeKind
from faaskeeper_client.http.figures import figures
from faaskeeper_client.http.gateway_view import GatewayView
from faaskeeper_client.http.guard import refuse
from faaskeeper_client.http.session import Change, Refused, Session, SessionLost
from faaskeeper_client.http.usage import Usage
from faaskeeper_client.http.visitors import TooMany, Visitor, Visitors
from faaskeeper_client.wire.frames import MAX_FRAME
from faaskeeper_client.wire.requests import Op

MAX_BODY_BYTES = 2 * MAX_FRAME
"""Of what a page sends: as much data as a znode takes, in base64."""
_COOKIE = "faaskeeper-console"
_PAGE = 100
"""Children shown at once."""
_READS_AT_ONCE = 16
_TTL = Struct(">q")
_ALIVE = 15.0
"""Seconds after which a page that heard nothing is told that nothing happened."""
_SCRIPTS = ("api", "console", "dom", "edit", "node", "panels", "tree")
_STATIC = {
    "": ("index.html", "text/html"),
    "console.css": ("console.css", "text/css"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
}
_STATUS = {
    Code.NO_NODE: (404, "there is no such znode"),
    Code.NO_AUTH: (403, "the ACL does not let you: sign in as somebody whom it does"),
    Code.BAD_VERSION: (409, "the znode has changed since you opened it"),
    Code.NODE_EXISTS: (409, "there is a znode of that name already"),
    Code.NOT_EMPTY: (409, "it has children: delete them first"),
    Code.NO_CHILDREN_FOR_EPHEMERALS: (409, "an ephemeral has no children"),
    Code.INVALID_ACL: (400, "the ACL is not valid"),
    Code.QUOTA_EXCEEDED: (409, "the quota is used up"),
}
_KINDS = {"persistent": ZnodeKind.PERSISTENT, "container": ZnodeKind.CONTAINER, "ttl": ZnodeKind.TTL}
_OPS = {ZnodeKind.PERSISTENT: Op.CREATE2, ZnodeKind.CONTAINER: Op.CREATE_CONTAINER, ZnodeKind.TTL: Op.CREATE_TTL}


class BadInput(Exception):
    """The message names the value and the rule."""


class Console:
    """``write``: pages may change the tree."""

    def __init__(self, gateway: GatewayView, usage: Usage, write: bool) -> None:
        self._gateway = gateway
        self._usage = usage
        self._write = write
        self._visitors = Visitors(gateway)

    def routes(self) -> list[web.RouteDef]:
        reading: dict[str, Callable[[web.Request, Visitor], Awaitable[Any]]] = {
            "about": self._about,
            "children": self._children,
            "node": self._node,
            "sessions": self._sessions,
            "figures": self._figures,
        }
        writing: dict[str, Callable[[Session, dict[str, Any]], Awaitable[Any]]] = {
            "create": _create,
            "set": _set,
            "delete": _delete,
        }
        return [
            *(web.get(f"/{name}", _static(file, kind)) for name, (file, kind) in _STATIC.items()),
            *(web.get(f"/api/{name}", self._answering(answer)) for name, answer in reading.items()),
            *(web.post(f"/api/{name}", self._answering(self._writing(write))) for name, write in writing.items()),
            web.get("/api/events", self._events),
            web.post("/api/sign-in", self._sign_in),
            web.post("/api/sign-out", self._sign_out),
        ]

    def start(self) -> None:
        self._visitors.start()

    async def stop(self) -> None:
        await self._visitors.stop()

    def _visitor(self, request: web.Request) -> Visitor:
        return self._visitors.find(request.cookies.get(_COOKIE), request.remote or "")

    def _answering(
        self, answer: Callable[[web.Request, Visitor], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def respond(request: web.Request) -> web.Response:
            try:
                return web.json_response(await answer(request, self._visitor(request)))
            except Refused as error:
                status, reason = _STATUS.get(error.code, (400, f"ZooKeeper refuses it: {error.code.name}"))
                return refuse(status, reason, code=error.code.name)
            except BadInput as error:
                return refuse(400, str(error))
            except TooMany as error:
                return refuse(503, str(error))
            except SessionLost as error:
                return refuse(503, f"the gateway cannot reach its service: {error}")
            except AwsError as error:
                return refuse(503, f"AWS does not answer: {error}")

        return respond

    def _writing(
        self, write: Callable[[Session, dict[str, Any]], Awaitable[Any]]
    ) -> Callable[[web.Request, Visitor], Awaitable[Any]]:
        async def answer(request: web.Request, visitor: Visitor) -> Any:
            if not self._write:
                raise BadInput("this console only reads: begin the gateway with --http-write")
            body = await _body(request)
            return await write(await visitor.session(), body)

        return answer

    async def _about(self, request: web.Request, visitor: Visitor) -> Any:
        snapshot = self._gateway.snapshot()
        return {
            "service": snapshot.configuration.get("service"),
            "region": snapshot.configuration.get("region"),
            "gateway": snapshot.configuration.get("gateway"),
            "version": snapshot.version,
            "user": visitor.user,
            "write": self._write,
            "maxBytes": MAX_FRAME,
        }

    async def _children(self, request: web.Request, visitor: Visitor) -> Any:
        path = _path(request.query.get("path", "/"))
        names, left, stat = await visitor.children(
            path, request.query.get("after", ""), request.query.get("part", ""), _PAGE
        )
        session = await visitor.session()
        free = asyncio.Semaphore(_READS_AT_ONCE)

        async def child(name: str) -> Any:
            async with free:
                try:
                    return {"name": name} | _stat(await session.ask(Exists(paths.child(path, name), None)))
                except Refused as error:
                    return {"name": name, "closed": error.code is Code.NO_AUTH}

        children = await asyncio.gather(*map(child, names))
        return {"children": children, "left": left - len(names), "total": stat.numChildren}

    async def _node(self, request: web.Request, visitor: Visitor) -> Any:
        path = _path(request.query.get("path", "/"))
        session = await visitor.session()
        data, stat = await session.ask(GetData(path, None))
        entries, _ = await session.ask(GetACL(path))
        return {
            "path": path,
            "data": None if data is None else base64.b64encode(data).decode(),
            "stat": _stat(stat),
            "acl": [{"scheme": acl.id.scheme, "id": acl.id.id, "perms": acl.perms} for acl in entries],
        }

    async def _sessions(self, request: web.Request, visitor: Visitor) -> Any:
        snapshot = self._gateway.snapshot()
        owned = await self._gateway.ephemerals()
        connections = {connection.session: connection for connection in snapshot.connections}
        return [
            {
                "session": f"{session:#x}",
                "address": _address(connections[session].address) if session in connections else None,
                "timeout": connections[session].timeout if session in connections else None,
                "expires": expires - snapshot.wall,
                "received": connections[session].statistics.received if session in connections else None,
                "watches": len(snapshot.watches.get(session, ())),
                "ephemerals": owned.get(session, []),
            }
            for session, expires in sorted(snapshot.sessions.items())
        ]

    async def _figures(self, request: web.Request, visitor: Visitor) -> Any:
        return figures(self._gateway.snapshot(), self._usage)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the page goes: ``change`` with kind and path, ``again`` when changes may have been
        missed, ``lost`` before the end if the service cannot be reached."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            visitor = self._visitor(request)
            with visitor.looking() as feed:
                while True:
                    # also what notices that the session is over, and begins another
                    await visitor.session()
                    try:
                        async with asyncio.timeout(_ALIVE):
                            change = await feed.get()
                    except TimeoutError:
                        await response.write(b": alive\n\n")
                        continue
                    await response.write(_event(change))
        except (SessionLost, Refused, TooMany) as error:
            await response.write(f"event: lost\ndata: {json.dumps(str(error))}\n\n".encode())
        except ConnectionError:
            pass  # the page has gone
        return response

    async def _sign_in(self, request: web.Request) -> web.Response:
        async def answer(request: web.Request, visitor: Visitor) -> Any:
            body = await _body(request)
            user, password = _text(body, "user"), _text(body, "password")
            if not user or ":" in user:
                raise BadInput(f"{user!r} is no user: a name without a colon is one")
            nonlocal token
            token = self._visitors.sign_in(f"{user}:{password}", request.remote or "")
            return {"user": user}

        token = ""
        response = await self._answering(answer)(request)
        if token:
            response.set_cookie(_COOKIE, token, httponly=True, samesite="Strict", path="/")
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        token = request.cookies.get(_COOKIE)
        if token:
            await self._visitors.sign_out(token)
        response = web.json_response({})
        response.del_cookie(_COOKIE, path="/")
        return response


async def _create(session: Session, body: dict[str, Any]) -> Any:
    path, kind_name, sequential = _path(_text(body, "path")), _text(body, "kind"), body.get("sequential") is True
    kind = _KINDS.get(kind_name)
    if kind is None:
        raise BadInput(f"{kind_name!r} is no kind: {', '.join(_KINDS)} are")
    flags = next(
        (flags for flags, mode in CREATE_MODES.items() if (mode.kind, mode.sequential) == (kind, sequential)), None
    )
    if flags is None:
        raise BadInput(f"a {kind_name} cannot be sequential")
    more = b""
    if kind is ZnodeKind.TTL:
        ttl = body.get("ttl")
        if not isinstance(ttl, int) or not 1 <= ttl <= MAX_TTL_MS:
            raise BadInput(f"a TTL is a number of milliseconds from 1 to {MAX_TTL_MS}")
        more = _TTL.pack(ttl)
    made = await session.create(Create(path, _data(body), OPEN_ACL_UNSAFE, flags), _OPS[kind], more)
    return {"path": made}


async def _set(session: Session, body: dict[str, Any]) -> Any:
    stat = await session.ask(SetData(_path(_text(body, "path")), _data(body), _version(body)))
    return {"stat": _stat(stat)}


async def _delete(session: Session, body: dict[str, Any]) -> Any:
    await session.ask(Delete(_path(_text(body, "path")), _version(body)))
    return {}


async def _body(request: web.Request) -> dict[str, Any]:
    """Raises BadInput."""
    try:
        body = await request.json()
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInput("what came is no JSON") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise BadInput(f"that is too much: a znode has {MAX_FRAME} bytes at most") from error
    if not isinstance(body, dict):
        raise BadInput("what came is no JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise BadInput(f"{name} is missing, or no text")
    return value


def _data(body: dict[str, Any]) -> bytes | None:
    text = body.get("data")
    if text is None:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error) as error:
        raise BadInput("data is not base64") from error
    if len(data) >= MAX_FRAME:
        raise BadInput(f"that is too much: {len(data)} bytes, and a znode with its request has {MAX_FRAME} at most")
    return data


def _version(body: dict[str, Any]) -> int:
    version = body.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 1 << 31:
        raise BadInput("version is the one that was seen: a number from 0 to 2^31-1")
    return version


def _path(text: str) -> str:
    if not paths.is_valid(text):
        raise BadInput(f"{text!r} is not the path of a znode")
    return text


def _stat(stat: Any) -> dict[str, Any]:
    """By ZooKeeper's own names."""
    hexadecimal = ("czxid", "mzxid", "pzxid", "ephemeralOwner")
    return {name: f"{value:#x}" if name in hexadecimal else value for name, value in stat._asdict().items()}


def _address(address: tuple[str, int]) -> str:
    host, port = address
    return "this console" if port == 0 else f"{host}:{port}"


def _event(change: Change | None) -> bytes:
    if change is None:
        return b"event: again\ndata: {}\n\n"
    fields = {"kind": EventKind(change.kind).name.lower(), "path": change.path, "zxid": f"{change.zxid:#x}"}
    return f"event: change\ndata: {json.dumps(fields)}\n\n".encode()


def _static(file: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def respond(request: web.Request) -> web.Response:
        text = files("faaskeeper_client.http").joinpath("static", file).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=kind, charset="utf-8")

    return respond
