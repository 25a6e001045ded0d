"""Runs dialogues: what clients ask of gateways and what comes back, in the order in which it does (dialogues/*.txt).

A dialogue begins with a line ``--- title``; a ``#`` begins a comment. Statements, one a line:

    zk on one                    zk connects to the gateway called one, which is started when it is first named
    zk on one for 4 s            with that session timeout
    zk > get /x watch            zk sends a request and does not wait
    zk < changed /x              the next thing that comes to zk is this event, or this reply
    zk: set /x 1                 both: the next thing that comes is the reply to this request, which is ok
    zk: get /x = "1"             or which is that

    one is deaf                  no reply and no hint reaches the gateway, until:
    one hears
    one holds calls of OPERATION on TABLE     before they reach DynamoDB, until it lets go
    one holds answers of OPERATION on TABLE   when DynamoDB has done them, until it lets go
    one has held 2               waits until so many are held (one, where no number stands)
    one lets go
    one misses a message         the next that it receives comes again later
    one has missed it            waits for that

    zk hangs up                  the socket closes, the session lives
    new resumes zk on two        a connection called new attaches zk's session; may be zk itself
    new resumes zk on two having seen 9 more  as one who has seen a zxid that much higher
    new resumes zk on two = turned away       without an answer
    zk is cut off                waits until the gateway closes the connection
    zk is connected

Requests: create, delete, set, get, exists, children, sync, with ``watch`` behind those that can set one; ``watch`` and
``watch below`` a path set persistent watches; ``set watches /a exist /b child /c`` is a reconnecting client's.
Data: ``1*2000`` is the character 1, 2,000 times. ``@a`` behind what comes gives its zxid a name: what has the same
name, anywhere in the dialogue, has the same zxid.

Of every connection, zxids never fall, and at a dialogue's end nothing has come that the dialogue does not tell of.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from faaskeeper.blocks.aws import BotoAws, Response

from .ensemble import Served, ensemble
from .wire import (
    ADD_WATCH,
    BAD_VERSION,
    CREATE,
    DELETE,
    EXISTS,
    GET,
    LIST,
    NO_NODE,
    NODE_EXISTS,
    OK,
    PATIENCE,
    SET,
    SET_WATCHES,
    SYNC,
    SYSTEM_ERROR,
    Event,
    Reply,
    Zk,
    creation,
    int32,
    int64,
    reading,
    setting,
    string,
    strings,
)

_ERRORS = {
    NO_NODE: "no node",
    NODE_EXISTS: "node exists",
    BAD_VERSION: "bad version",
    SYSTEM_ERROR: "system error",
}
_EVENTS = {1: "created", 2: "deleted", 3: "changed", 4: "children"}
_SET_WATCHES_XID = -8


@dataclass(frozen=True, slots=True)
class Dialogue:
    title: str
    file: Path
    lines: tuple[tuple[int, str], ...]
    """With their numbers."""


def dialogues(directory: Path) -> Iterator[Dialogue]:
    for file in sorted(directory.glob("*.txt")):
        title, lines = "", list[tuple[int, str]]()
        for number, line in enumerate(file.read_text().splitlines(), 1):
            statement = line.partition("#")[0].strip()
            if line.startswith("---"):
                if title:
                    yield Dialogue(title, file, tuple(lines))
                title, lines = line.removeprefix("---").strip(), []
            elif statement:
                assert title, f"{file.name}:{number} stands before the first title"
                lines.append((number, statement))
        yield Dialogue(title, file, tuple(lines))


async def play(dialogue: Dialogue, aws: BotoAws) -> None:
    """Raises AssertionError that names the line."""
    async with ensemble(aws) as whole:
        stage = _Stage(whole.gateway, whole.stage.service)
        where = dialogue.title
        try:
            for number, line in dialogue.lines:
                where = f"{dialogue.file.name}:{number}: {line}"
                await stage.do(line)
            for name in stage.clients:
                where = f"{dialogue.file.name}: {name}, at the end"
                await stage.end(name)
        except (AssertionError, ConnectionError, TimeoutError, pytest.fail.Exception) as error:
            raise AssertionError(f"{where}\n{error or type(error).__name__}\n{stage}") from error


@dataclass(slots=True)
class _Gateway:
    """A gateway, and what is in its way."""

    served: Served
    hears: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    holds: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    missed: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.hears.set()
        self.served.tap.before = self._before
        self.served.tap.after = self._after
        self.served.tap.answer = self._answer

    async def _before(self, operation: str, parameters: dict[str, Any]) -> None:
        await self._hold("calls", operation, parameters)

    async def _after(self, operation: str, parameters: dict[str, Any]) -> None:
        if operation == "receive_message":
            await self.hears.wait()
        await self._hold("answers", operation, parameters)

    async def _hold(self, what: str, operation: str, parameters: dict[str, Any]) -> None:
        if (what, operation, parameters.get("TableName", "")) in self.holds:
            self.held.release()
            await self.go_on.wait()

    def _answer(self, operation: str, response: Response) -> Response:
        if operation == "receive_message" and response.get("Messages") and self.missed and not self.missed.is_set():
            self.missed.set()
            return {**response, "Messages": []}
        return response


@dataclass(slots=True)
class _Client:
    """``asked`` has the operation of each xid; what stands before ``told`` in the log, the dialogue has told of."""

    zk: Zk
    asked: dict[int, int] = field(default_factory=dict[int, int])
    xids: Iterator[int] = field(default_factory=lambda: count(1))
    told: int = 0
    before: int = 0
    """The highest zxid that its session had seen before this connection."""

    @property
    def seen(self) -> int:
        return max([self.before, *(entry.zxid for entry in self.zk.log)])

    def shown(self, entry: Event | Reply) -> str:
        """As a dialogue has it."""
        if isinstance(entry, Event):
            return f"{_EVENTS[entry.kind]} {entry.path}"
        if entry.error != OK:
            return _ERRORS.get(entry.error, str(entry.error))
        match self.asked[entry.xid]:
            case op if op == GET:
                return f'"{_short(entry.data or b"")}"'
            case op if op == LIST:
                return f"[{' '.join(entry.names)}]"
            case _:
                return "ok"

    def check(self) -> None:
        """Nothing has come but what the dialogue told of; zxids never fell. A missed event has none."""
        rest = [self.shown(entry) for entry in self.zk.log[self.told :]]
        assert not rest, f"more came: {rest}"
        zxids = [self.before, *(entry.zxid for entry in self.zk.log if entry.zxid != -1)]
        assert zxids == sorted(zxids), "something older was shown"

    def send(self, words: list[str]) -> None:
        op, body = _request(words, self.seen)
        if op == SET_WATCHES:
            self.asked[_SET_WATCHES_XID] = op
            self.zk.write(int32(_SET_WATCHES_XID) + int32(op) + body)
        else:
            self.asked[next(self.xids)] = op
            self.zk.send(op, body)


class _Stage:
    def __init__(self, start: Callable[[], Awaitable[Served]], service: Any) -> None:
        self._start = start
        self._service = service
        self._gateways: dict[str, _Gateway] = {}
        self._zxids: dict[str, int] = {}
        self.clients: dict[str, _Client] = {}

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {', '.join(f'{client.shown(entry)} ({entry.zxid})' for entry in client.zk.log)}"
            for name, client in self.clients.items()
        )

    async def do(self, line: str) -> None:
        for pattern, statement in _STATEMENTS:
            if match := pattern.fullmatch(line):
                await statement(self, *match.groups())
                return
        raise AssertionError("no such statement")

    async def _gateway(self, name: str) -> _Gateway:
        if name not in self._gateways:
            self._gateways[name] = _Gateway(await self._start())
        return self._gateways[name]

    # clients

    async def connect(self, name: str, gateway: str, seconds: str | None) -> None:
        served = (await self._gateway(gateway)).served
        self.clients[name] = _Client(await served.connect(lasts=1000 * int(seconds or 10)))

    async def send(self, name: str, request: str) -> None:
        self.clients[name].send(request.split())

    async def expect(self, name: str, wanted: str, label: str | None) -> None:
        client = self.clients[name]
        await client.zk.until(lambda: len(client.zk.log) > client.told)
        entry = client.zk.log[client.told]
        client.told += 1
        came = client.shown(entry)
        assert wanted in (came, "ok" if isinstance(entry, Reply) and entry.error == OK else came), f"{came!r} came"
        if label is not None:
            zxid = self._zxids.setdefault(label, entry.zxid)
            assert entry.zxid == zxid, f"{entry.zxid} is not {label}, which is {zxid}"

    async def ask(self, name: str, request: str, wanted: str | None, label: str | None) -> None:
        await self.send(name, request)
        await self.expect(name, wanted or "ok", label)

    async def end(self, name: str) -> None:
        if not self.clients[name].zk.is_closed:
            await self.ask(name, "sync", None, None)
        self.clients[name].check()

    async def hang_up(self, name: str) -> None:
        await self.clients[name].zk.hang_up()

    async def resume(self, new: str, old: str, gateway: str, more: str | None, refused: str | None) -> None:
        served, client = (await self._gateway(gateway)).served, self.clients[old]
        seen = client.seen
        coming = client.zk.resume(served.port, seen=seen + int(more or 0))
        if refused:
            with pytest.raises(ConnectionError, match="closed without an answer"):
                await coming
            return
        resumed = await coming
        if new == old:
            client.check()
        self.clients[new] = _Client(resumed, before=seen)

    async def cut_off(self, name: str) -> None:
        await self.clients[name].zk.until_closed()

    async def connected(self, name: str) -> None:
        assert not self.clients[name].zk.is_closed

    # gateways

    async def deaf(self, name: str) -> None:
        (await self._gateway(name)).hears.clear()

    async def hears(self, name: str) -> None:
        (await self._gateway(name)).hears.set()

    async def hold(self, name: str, what: str, operation: str, table: str) -> None:
        gateway = await self._gateway(name)
        gateway.holds.add((what, operation, getattr(self._service, table)))
        gateway.go_on.clear()

    async def held(self, name: str, times: str | None) -> None:
        gateway = await self._gateway(name)
        for _ in range(int(times or 1)):
            await asyncio.wait_for(gateway.held.acquire(), PATIENCE)

    async def let_go(self, name: str) -> None:
        gateway = await self._gateway(name)
        gateway.holds.clear()
        gateway.go_on.set()

    async def miss(self, name: str) -> None:
        (await self._gateway(name)).missed = asyncio.Event()

    async def missed(self, name: str) -> None:
        missed = (await self._gateway(name)).missed
        assert missed is not None
        await asyncio.wait_for(missed.wait(), PATIENCE)


_STATEMENTS: list[tuple[re.Pattern[str], Callable[..., Awaitable[None]]]] = [
    (re.compile(pattern), statement)
    for pattern, statement in (
        (r"(\w+) on (\w+)(?: for (\d+) s)?", _Stage.connect),
        (r"(\w+) > (.+)", _Stage.send),
        (r"(\w+) < (.+?)(?: @(\w+))?", _Stage.expect),
        (r"(\w+): (.+?)(?: = (.+?))?(?: @(\w+))?", _Stage.ask),
        (r"(\w+) hangs up", _Stage.hang_up),
        (r"(\w+) resumes (\w+) on (\w+)(?: having seen (\d+) more)?( = turned away)?", _Stage.resume),
        (r"(\w+) is cut off", _Stage.cut_off),
        (r"(\w+) is connected", _Stage.connected),
        (r"(\w+) is deaf", _Stage.deaf),
        (r"(\w+) hears", _Stage.hears),
        (r"(\w+) holds (calls|answers) of (\w+) on (\w+)", _Stage.hold),
        (r"(\w+) has held(?: (\d+))?", _Stage.held),
        (r"(\w+) lets go", _Stage.let_go),
        (r"(\w+) misses a message", _Stage.miss),
        (r"(\w+) has missed it", _Stage.missed),
    )
]


def _request(words: list[str], since: int) -> tuple[int, bytes]:
    """The operation and the body."""
    match words:
        case ["create", path, *data]:
            return CREATE, creation(path, _long(*data))
        case ["set", "watches", *rest]:
            kinds: dict[str, list[str]] = {"data": [], "exist": [], "child": []}
            kind = "data"
            for word in rest:
                if word in kinds:
                    kind = word
                else:
                    kinds[kind].append(word)
            return SET_WATCHES, int64(since) + b"".join(strings(*paths) for paths in kinds.values())
        case ["set", path, *data]:
            return SET, setting(path, _long(*data))
        case ["delete", path]:
            return DELETE, string(path) + int32(-1)
        case [("get" | "exists" | "children") as word, path, *watch] if watch in ([], ["watch"]):
            return {"get": GET, "exists": EXISTS, "children": LIST}[word], reading(path, bool(watch))
        case ["sync"]:
            return SYNC, string("/")
        case ["watch", *below, path] if below in ([], ["below"]):
            return ADD_WATCH, string(path) + int32(len(below))
        case _:
            raise AssertionError(f"no such request: {' '.join(words)}")


def _long(data: str = "") -> bytes:
    character, star, times = data.partition("*")
    return character.encode() * int(times) if star else data.encode()


def _short(data: bytes) -> str:
    text = data.decode()
    return f"{text[0]}*{len(text)}" if len(text) > 100 and len(set(text)) == 1 else text
