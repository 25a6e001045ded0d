"""Sessions that say the same to two servers, and what each heard, in a form that can be compared.

What must be equal: every frame a session gets, in its order: error codes, paths, data, lists, ACLs, Stats, results of a
multi, events and their place among the replies. zxids need only be in the same order. Not compared are times (but that
a node's first change has its ctime), session ids and passwords, and the zxid of a reply that changed nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from struct import unpack
from typing import Any, NamedTuple, TypeAlias

from faaskeeper_client.addresses import Address
from tests.wire import raw

SECONDS = 30
"""The longest that a server may take to answer."""
TIMEOUT = 40_000
NOTIFICATION = -1
AUTHENTICATION = -4
SET_WATCHES = -8

Acls: TypeAlias = tuple[tuple[int, str, str], ...]


class Zxid(NamedTuple):
    """A zxid where both servers must have one of the same place in the order."""

    value: int


class Ask(NamedTuple):
    """One request. In ``arguments``, ``@`` at the beginning of a path stands for the folder of the dialogue, and
    ``#`` for the place of its quotas."""

    kind: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"Ask({self.kind!r}, {self.arguments!r})"


@dataclass(slots=True)
class Line:
    """A session and its connection. ``seen`` is the last zxid it was told, ``numbers`` the xids."""

    name: int
    socket: socket.socket
    session: int
    password: bytes
    seen: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: count(1))


class Hung(AssertionError):
    """The server neither answered nor closed the connection."""


class Side:
    """One of the two servers, and the sessions with it. All is said of nodes below ``top``."""

    def __init__(self, address: Address, top: str, sessions: int) -> None:
        self._address = address
        self._top = top
        self._folder = f"{top}/folder"
        self._quotas = f"/zookeeper/quota{top}"
        self._names: dict[int, int] = {}
        self._lines = [self._open(name) for name in range(sessions)]
        self.say(0, [Ask("create", (path, b"", raw.OPEN, 0)) for path in (self._top, self._folder)])

    def say(self, name: int, asks: Sequence[Ask]) -> list[Any]:
        """Sends the requests without waiting, and returns the frames that came until all were answered; ``closed``
        at the end if the server closed the connection, after which the session has another."""
        line = self._lines[name]
        sent: dict[int, Ask] = {}
        frames = b""
        for ask in asks:
            encode, xid = _REQUESTS[ask.kind]
            xid = next(line.numbers) if xid is None else xid
            op, body = encode(self._placed, *ask.arguments)
            sent[xid] = ask
            frames += _frame(raw.request(op, body, xid))
        line.socket.sendall(frames)
        return self._hear(line, sent, len(asks))

    def settle(self) -> list[list[Any]]:
        """What else each session heard: a sync of its own brings all that came before."""
        return [self.say(line.name, [Ask("sync", ("/",))])[:-1] for line in self._lines]

    def close(self, name: int) -> list[Any]:
        """Closes the session; one with a new id takes its place."""
        heard = self.say(name, [Ask("close")])
        self._lines[name].socket.close()
        self._lines[name] = self._open(name)
        return heard

    def leave(self, name: int) -> None:
        """Drops the connection; the session stays."""
        self._lines[name].socket.close()

    def come_back(self, name: int, watches: Ask) -> list[Any]:
        """As a client library does: with the last zxid seen, then with the watches it had."""
        old = self._lines[name]
        self._lines[name] = line = self._open(name, old)
        assert line.session == old.session, f"session {old.session:#x} could not be resumed"
        return self.say(name, [watches._replace(arguments=(old.seen, *watches.arguments))])

    def end(self) -> None:
        """Deletes what was made, and closes the sessions that have a connection, in whatever state they are."""
        lines, self._lines = self._lines, [self._open(0)]
        for line in lines:
            with suppress(OSError):
                line.socket.sendall(_frame(raw.request(-11)))
                while line.socket.recv(65536):
                    pass
            line.socket.close()
        self.say(0, [Ask("auth", ("super:test",))])
        self._delete(self._quotas)
        self._delete(self._top)
        self.say(0, [Ask("close")])
        self._lines[0].socket.close()

    def tree(self) -> list[Any]:
        """Every node as the super user sees it."""
        self.say(0, [Ask("auth", ("super:test",))])
        found: list[Any] = []
        waiting = [self._top, self._quotas]
        while waiting:
            path = waiting.pop()
            frames = self.say(0, [Ask("get", (path, False)), Ask("getChildren", (path, False)), Ask("getAcl", (path,))])
            found.append((self.moved(path), frames))
            waiting += [f"{path}/{name}" for name in frames[1][2] or ()]
        return found

    def _delete(self, path: str) -> None:
        for name in self.say(0, [Ask("getChildren", (path, False))])[-1][2] or ():
            self._delete(f"{path}/{name}")
        self.say(0, [Ask("delete", (path, -1))])

    def _open(self, name: int, old: Line | None = None) -> Line:
        connection = socket.create_connection((self._address.host, self._address.port), SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connect = (
            raw.connect(old.session, old.password, TIMEOUT, last_zxid=old.seen) if old else raw.connect(timeout=TIMEOUT)
        )
        connection.sendall(_frame(connect))
        answer = _receive(connection)
        assert answer is not None, "the handshake was not answered"
        values = raw.Values(answer)
        values.int32()
        values.int32()
        session, password = values.int64(), values.buffer()
        assert password is not None
        self._names[session] = name
        return Line(name, connection, session, password, old.seen if old else 0)

    def _hear(self, line: Line, sent: dict[int, Ask], answers: int) -> list[Any]:
        heard: list[Any] = []
        while answers:
            frame = _receive(line.socket)
            if frame is None:
                line.socket.close()
                self._lines[line.name] = self._open(line.name, line)
                return [*heard, "closed"]
            values = raw.Values(frame)
            xid, zxid, error = values.int32(), values.int64(), values.int32()
            line.seen = max(line.seen, zxid)
            if xid == NOTIFICATION:
                kind, state, path = values.int32(), values.int32(), values.string()
                heard.append(("event", kind, state, self.moved(path), Zxid(zxid) if zxid > 0 else zxid))
            else:
                answers -= 1
                ask = sent[xid]
                heard.append(self._reply(ask, zxid, error, values))
        return heard

    def _reply(self, ask: Ask, zxid: int, error: int, values: raw.Values) -> tuple[Any, ...]:
        if error or not values.rest:
            content: Any = None
        else:
            content = _ANSWERS[ask.kind](self, values)
        if error or ask.kind not in _WRITES or (ask.kind == "multi" and not _wrote(content)):
            return (ask.kind, error, content)
        return (ask.kind, error, content, Zxid(zxid))

    def stat(self, values: raw.Values) -> tuple[Any, ...]:
        czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid = values.stat()
        return (
            *(Zxid(czxid), Zxid(mzxid), Zxid(pzxid)),
            ctime == mtime or czxid != mzxid,
            *(version, cversion, aversion, length, children),
            f"owned by {self._names[owner]}" if owner else "",
        )

    def moved(self, path: str) -> str:
        """``path`` as a dialogue has it."""
        return path.replace(self._folder, "@", 1).replace(self._top, "top", 1)

    def _placed(self, path: str) -> str:
        return path.replace("@", self._folder, 1).replace("#", self._quotas, 1)


def _frame(body: bytes) -> bytes:
    return raw.int32(len(body)) + body


def _receive(connection: socket.socket) -> bytes | None:
    """One frame; None if the server closed. Raises Hung."""
    connection.settimeout(SECONDS)
    try:
        header = _exactly(connection, 4)
        return None if header is None else _exactly(connection, unpack(">i", header)[0])
    except TimeoutError as error:
        raise Hung(f"no answer within {SECONDS} s") from error


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            more = connection.recv(size - len(data))
        except ConnectionError:
            return None
        if not more:
            return None
        data += more
    return data


def _wrote(results: list[Any]) -> bool:
    """Whether a multi did more than check, or fail."""
    return any(result[0] not in ("error", "check") for result in results)


Placed: TypeAlias = Callable[[str], str]


def _create(op: int) -> Callable[..., tuple[int, bytes]]:
    def encode(placed: Placed, path: str, data: bytes | None, acl: Acls, flags: int) -> tuple[int, bytes]:
        return op, raw.string(placed(path)) + raw.string(data) + raw.acl(*acl) + raw.int32(flags)

    return encode


def _create_ttl(placed: Placed, path: str, data: bytes | None, acl: Acls, flags: int, ttl: int) -> tuple[int, bytes]:
    return 21, _create(21)(placed, path, data, acl, flags)[1] + raw.int64(ttl)


def _path_and_flag(op: int) -> Callable[..., tuple[int, bytes]]:
    return lambda placed, path, flag: (op, raw.string(placed(path)) + raw.boolean(flag))


def _path_and_number(op: int) -> Callable[..., tuple[int, bytes]]:
    return lambda placed, path, number: (op, raw.string(placed(path)) + raw.int32(number))


def _path_only(op: int) -> Callable[..., tuple[int, bytes]]:
    return lambda placed, path: (op, raw.string(placed(path)))


def _set(placed: Placed, path: str, data: bytes | None, version: int) -> tuple[int, bytes]:
    return 5, raw.string(placed(path)) + raw.string(data) + raw.int32(version)


def _set_acl(placed: Placed, path: str, acl: Acls, version: int) -> tuple[int, bytes]:
    return 7, raw.string(placed(path)) + raw.acl(*acl) + raw.int32(version)


def _multi(op: int) -> Callable[..., tuple[int, bytes]]:
    def encode(placed: Placed, *parts: Ask) -> tuple[int, bytes]:
        return op, raw.multi(*(_REQUESTS[part.kind][0](placed, *part.arguments) for part in parts))

    return encode


def _auth(placed: Placed, credential: str) -> tuple[int, bytes]:
    return 100, raw.int32(0) + raw.string("digest") + raw.string(credential)


def _set_watches(op: int) -> Callable[..., tuple[int, bytes]]:
    def encode(placed: Placed, zxid: int, *lists: Sequence[str]) -> tuple[int, bytes]:
        return op, raw.int64(zxid) + b"".join(raw.strings(*map(placed, paths)) for paths in lists)

    return encode


_REQUESTS: dict[str, tuple[Callable[..., tuple[int, bytes]], int | None]] = {
    "create": (_create(1), None),
    "create2": (_create(15), None),
    "createContainer": (_create(19), None),
    "createTTL": (_create_ttl, None),
    "delete": (_path_and_number(2), None),
    "set": (_set, None),
    "setAcl": (_set_acl, None),
    "check": (_path_and_number(13), None),
    "multi": (_multi(14), None),
    "multiRead": (_multi(22), None),
    "exists": (_path_and_flag(3), None),
    "get": (_path_and_flag(4), None),
    "getChildren": (_path_and_flag(8), None),
    "getChildren2": (_path_and_flag(12), None),
    "getAcl": (_path_only(6), None),
    "getAllChildrenNumber": (_path_only(104), None),
    "getEphemerals": (_path_only(103), None),
    "sync": (_path_only(9), None),
    "addWatch": (_path_and_number(106), None),
    "removeWatches": (_path_and_number(18), None),
    "checkWatches": (_path_and_number(17), None),
    "whoAmI": (lambda placed: (107, b""), None),
    "close": (lambda placed: (-11, b""), None),
    "auth": (_auth, AUTHENTICATION),
    "setWatches": (_set_watches(101), SET_WATCHES),
    "setWatches2": (_set_watches(105), SET_WATCHES),
}
"""By kind of request: how it is written, and its xid if that is fixed."""

_WRITES = frozenset({"create", "create2", "createContainer", "createTTL", "delete", "set", "setAcl", "multi", "close"})


def _results(side: Side, values: raw.Values) -> list[Any]:
    results: list[Any] = []
    while True:
        op, done, error = values.int32(), values.boolean(), values.int32()
        if done:
            return results
        name, decode = _RESULTS[op]
        results.append((name, error, decode(side, values)))


def _path(side: Side, values: raw.Values) -> str:
    return side.moved(values.string())


def _path_and_stat(side: Side, values: raw.Values) -> tuple[Any, ...]:
    return _path(side, values), side.stat(values)


def _data(side: Side, values: raw.Values) -> tuple[Any, ...]:
    return values.buffer(), side.stat(values)


def _names(side: Side, values: raw.Values) -> list[str]:
    return sorted(values.strings())


_RESULTS: dict[int, tuple[str, Callable[[Side, raw.Values], Any]]] = {
    -1: ("error", lambda side, values: values.int32()),
    1: ("create", _path),
    2: ("delete", lambda side, values: None),
    4: ("get", _data),
    5: ("set", Side.stat),
    8: ("getChildren", _names),
    13: ("check", lambda side, values: None),
    15: ("create2", _path_and_stat),
}

_ANSWERS: dict[str, Callable[[Side, raw.Values], Any]] = {
    "create": _path,
    "create2": _path_and_stat,
    "createContainer": _path_and_stat,
    "createTTL": _path_and_stat,
    "set": Side.stat,
    "setAcl": Side.stat,
    "multi": _results,
    "multiRead": _results,
    "exists": Side.stat,
    "get": _data,
    "getChildren": _names,
    "getChildren2": lambda side, values: (_names(side, values), side.stat(values)),
    "getAcl": lambda side, values: (values.acl(), side.stat(values)),
    "getAllChildrenNumber": lambda side, values: values.int32(),
    "getEphemerals": lambda side, values: sorted(map(side.moved, values.strings())),
    "sync": _path,
    "addWatch": lambda side, values: values.int32(),
    "whoAmI": lambda side, values: [(values.string(), values.string()) for _ in range(values.int32())],
}


def zxids(one: Any, other: Any) -> Iterator[tuple[int, int]]:
    """The pairs of zxids that stand in the same place of what two servers said."""
    if isinstance(one, Zxid) and isinstance(other, Zxid):
        yield one.value, other.value
    elif isinstance(one, list | tuple):
        for part, counterpart in zip(one, other, strict=True):
            yield from zxids(part, counterpart)


def without_zxids(said: Any) -> Any:
    """``said``, comparable."""
    if isinstance(said, Zxid):
        return "zxid"
    if isinstance(said, list | tuple):
        return [without_zxids(part) for part in said]
    return said
