"""A ZooKeeper client's side of the wire: requests to bytes, answers to values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl, EventKind, Stat
from faaskeeper.znode.operations import Check, CloseSession, Create, Delete, Multi, SetAcl, SetData
from faaskeeper_client.wire.jute import INT32, INT64, acl, boolean, buffer, ustring, vector
from faaskeeper_client.wire.jute import Reader as Jute
from faaskeeper_client.wire.requests import (
    AddWatch,
    Auth,
    Body,
    Exists,
    GetAcl,
    GetChildren,
    GetData,
    GetEphemerals,
    MultiRead,
    Op,
    RemoveWatches,
    SetWatches,
    Sync,
)

PING_XID = -2
_AUTH_XID = -4
_SET_WATCHES_XID = -8
_HEADER = Struct(">iqi")
_REQUEST = Struct(">ii")
_PART = Struct(">i?i")
_END = _PART.pack(-1, True, -1)
_CONNECT = Struct(">iqiq")
_PING = INT32.pack(8) + _REQUEST.pack(PING_XID, Op.PING)
FIXED_XIDS = {Auth: _AUTH_XID, SetWatches: _SET_WATCHES_XID}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer without its header's zxid. What an operation does not answer is None; ``results`` are a multi's."""

    code: Code
    path: str | None = None
    stat: Stat | None = None
    data: bytes | None = None
    names: tuple[str, ...] | None = None
    acl: tuple[Acl, ...] | None = None
    results: tuple[Reply, ...] | None = None


class Connected(NamedTuple):
    """The answer to a connect request; ``session`` is 0 if there is none such."""

    timeout: int
    session: int
    password: bytes


class Answer(NamedTuple):
    """``rest`` is the reply's body, to be read knowing the request."""

    xid: int
    zxid: int
    code: Code
    rest: Jute


class Notice(NamedTuple):
    zxid: int
    kind: EventKind
    path: str


Frame: TypeAlias = Answer | Notice


def connect(last_zxid: int, timeout: int, session: int, password: bytes) -> bytes:
    return _framed(_CONNECT.pack(0, last_zxid, timeout, session) + buffer(password) + boolean(False))


def ping() -> bytes:
    return _PING


def request(xid: int, body: Body) -> bytes:
    op, encoded = _encode(body)
    return _framed(_REQUEST.pack(xid, op) + encoded)


def read_connected(frame: bytes) -> Connected:
    reader = Jute(frame)
    reader.int32()
    return Connected(reader.int32(), reader.int64(), reader.buffer() or b"")


def read_frame(frame: bytes) -> Frame:
    xid, zxid, code = _HEADER.unpack_from(frame)
    rest = Jute(frame, _HEADER.size)
    if xid == -1:
        kind, _state, path = rest.int32(), rest.int32(), rest.ustring()
        return Notice(zxid, EventKind(kind), path or "")
    return Answer(xid, zxid, Code(code), rest)


def read_reply(body: Body, answer: Answer) -> Reply:
    """What ``answer`` says to ``body``."""
    if answer.code is not Code.OK:
        return Reply(answer.code)
    rest = answer.rest
    match body:
        case Create():
            return Reply(Code.OK, path=rest.ustring(), stat=_stat(rest))
        case SetData() | SetAcl() | Exists():
            return Reply(Code.OK, stat=_stat(rest))
        case GetData():
            data = rest.buffer()
            return Reply(Code.OK, data=data, stat=_stat(rest))
        case GetAcl():
            return Reply(Code.OK, acl=rest.vector(rest.acl), stat=_stat(rest))
        case GetChildren():
            names = _names(rest)
            return Reply(Code.OK, names=names, stat=_stat(rest))
        case GetEphemerals():
            return Reply(Code.OK, names=_names(rest))
        case Sync():
            return Reply(Code.OK, path=rest.ustring())
        case Multi() | MultiRead():
            return Reply(Code.OK, results=tuple(_results(rest)))
        case _:
            return Reply(Code.OK)


def _results(rest: Jute) -> Any:
    while True:
        op, done, _ = rest.int32(), rest.boolean(), rest.int32()
        if done:
            return
        match op:
            case -1:
                yield Reply(Code(rest.int32()))
            case Op.CREATE2:
                yield Reply(Code.OK, path=rest.ustring(), stat=_stat(rest))
            case Op.SET_DATA:
                yield Reply(Code.OK, stat=_stat(rest))
            case Op.GET_DATA:
                data = rest.buffer()
                yield Reply(Code.OK, data=data, stat=_stat(rest))
            case Op.GET_CHILDREN:
                yield Reply(Code.OK, names=_names(rest))
            case _:
                yield Reply(Code.OK)


def _names(rest: Jute) -> tuple[str, ...]:
    return tuple(sorted(name or "" for name in rest.vector(rest.ustring) or ()))


def _stat(rest: Jute) -> Stat:
    return Stat(
        rest.int64(),
        rest.int64(),
        rest.int64(),
        rest.int64(),
        rest.int32(),
        rest.int32(),
        rest.int32(),
        rest.int64(),
        rest.int32(),
        rest.int32(),
        rest.int64(),
    )


def _framed(body: bytes) -> bytes:
    return INT32.pack(len(body)) + body


def _create(body: Create) -> tuple[Op, bytes]:
    encoded = ustring(body.path) + buffer(body.data) + vector(map(acl, body.acl)) + INT32.pack(body.flags)  # type: ignore[arg-type]
    if body.ttl is not None:
        return Op.CREATE_TTL, encoded + INT64.pack(body.ttl)
    return (Op.CREATE_CONTAINER if body.flags == 4 else Op.CREATE2), encoded


def _multi(body: Multi | MultiRead) -> bytes:
    parts = body.operations if isinstance(body, Multi) else body.reads
    encoded: list[bytes] = []
    for part in parts:
        op, content = _encode(part)
        # inside a multi reads have no second form
        encoded.append(_PART.pack(Op.GET_CHILDREN if op is Op.GET_CHILDREN2 else op, False, -1) + content)
    return b"".join(encoded) + _END


def _texts(values: tuple[str, ...]) -> bytes:
    return vector(map(ustring, values))


def _set_watches(body: SetWatches) -> bytes:
    lists = (body.data, body.exist, body.child, body.persistent, body.recursive)
    return INT64.pack(body.relative_zxid) + b"".join(map(_texts, lists))


_ENCODERS: dict[type[Any], Callable[[Any], tuple[Op, bytes]]] = {
    Create: _create,
    Delete: lambda b: (Op.DELETE, ustring(b.path) + INT32.pack(b.version)),
    SetData: lambda b: (Op.SET_DATA, ustring(b.path) + buffer(b.data) + INT32.pack(b.version)),
    SetAcl: lambda b: (Op.SET_ACL, ustring(b.path) + vector(map(acl, b.acl)) + INT32.pack(b.version)),
    Check: lambda b: (Op.CHECK, ustring(b.path) + INT32.pack(b.version)),
    Multi: lambda b: (Op.MULTI, _multi(b)),
    MultiRead: lambda b: (Op.MULTI_READ, _multi(b)),
    CloseSession: lambda _: (Op.CLOSE_SESSION, b""),
    Exists: lambda b: (Op.EXISTS, ustring(b.path) + boolean(b.watch)),
    GetData: lambda b: (Op.GET_DATA, ustring(b.path) + boolean(b.watch)),
    GetAcl: lambda b: (Op.GET_ACL, ustring(b.path)),
    GetChildren: lambda b: (Op.GET_CHILDREN2, ustring(b.path) + boolean(b.watch)),
    GetEphemerals: lambda b: (Op.GET_EPHEMERALS, ustring(b.prefix)),
    Sync: lambda b: (Op.SYNC, ustring(b.path)),
    AddWatch: lambda b: (Op.ADD_WATCH, ustring(b.path) + INT32.pack(int(b.recursive))),
    RemoveWatches: lambda b: (Op.REMOVE_WATCHES, ustring(b.path) + INT32.pack(b.kind)),
    SetWatches: lambda b: (Op.SET_WATCHES2, _set_watches(b)),
    Auth: lambda b: (Op.AUTH, INT32.pack(0) + ustring(b.scheme) + buffer(b.credentials)),
}


def _encode(body: Any) -> tuple[Op, bytes]:
    return _ENCODERS[type(body)](body)
