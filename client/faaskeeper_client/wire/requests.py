"""What clients send, as values.

Writes become the operations of ``faaskeeper.znode.operations``; everything else has a class here. How bad requests are
taken follows org.apache.zookeeper.server.{ZooKeeperServer,PrepRequestProcessor,FinalRequestProcessor} 3.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TypeAlias

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Check, CloseSession, Create, Delete, Multi, SetAcl, SetData

from .jute import MarshallingError, Reader

_HEADER = Struct(">ii")


class Op(IntEnum):
    """``type`` of a request (org.apache.zookeeper.ZooDefs.OpCode)."""

    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    CREATE_SESSION = -10
    CLOSE_SESSION = -11


class WatcherType(IntEnum):
    """Which watches checkWatches and removeWatches mean (org.apache.zookeeper.Watcher.WatcherType)."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    PERSISTENT_RECURSIVE = 5


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The first frame of a connection. ``timeout`` in ms as asked for; ``session`` 0 for a new one.

    ``read_only`` is None when a client older than 3.4 leaves it out: its answer leaves it out too.
    """

    protocol_version: int
    last_zxid_seen: int
    timeout: int
    session: int
    password: bytes
    read_only: bool | None


@dataclass(frozen=True, slots=True)
class Exists:
    path: str
    watch: bool = False


@dataclass(frozen=True, slots=True)
class GetData:
    path: str
    watch: bool = False


@dataclass(frozen=True, slots=True)
class GetAcl:
    path: str


@dataclass(frozen=True, slots=True)
class GetChildren:
    path: str
    watch: bool = False
    with_stat: bool = False


@dataclass(frozen=True, slots=True)
class GetAllChildrenNumber:
    path: str


@dataclass(frozen=True, slots=True)
class GetEphemerals:
    """The session's ephemerals whose path starts with ``prefix`` (as a string, not by segments)."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Sync:
    path: str


@dataclass(frozen=True, slots=True)
class MultiRead:
    reads: tuple[GetData | GetChildren, ...]


@dataclass(frozen=True, slots=True)
class CheckWatches:
    path: str
    kind: WatcherType


@dataclass(frozen=True, slots=True)
class RemoveWatches:
    path: str
    kind: WatcherType


@dataclass(frozen=True, slots=True)
class AddWatch:
    """A persistent watch, on the whole subtree if ``recursive``."""

    path: str
    recursive: bool


@dataclass(frozen=True, slots=True)
class SetWatches:
    """The watches a client had before it reconnected, and the last zxid it saw."""

    relative_zxid: int
    data: tuple[str, ...]
    exist: tuple[str, ...]
    child: tuple[str, ...]
    persistent: tuple[str, ...] = ()
    recursive: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Auth:
    scheme: str
    credentials: bytes


@dataclass(frozen=True, slots=True)
class Sasl:
    token: bytes


@dataclass(frozen=True, slots=True)
class WhoAmI:
    pass


@dataclass(frozen=True, slots=True)
class Reconfig:
    joining: str | None
    leaving: str | None
    members: str | None
    config_version: int


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that its bytes alone condemn: answered with ``code`` in its turn, then closed if ``closes``.

    The session lives on in either case.
    """

    code: Code
    closes: bool
    reason: str


Body: TypeAlias = (
    Create
    | Delete
    | SetData
    | SetAcl
    | Multi
    | CloseSession
    | Exists
    | GetData
    | GetAcl
    | GetChildren
    | GetAllChildrenNumber
    | GetEphemerals
    | Sync
    | MultiRead
    | CheckWatches
    | RemoveWatches
    | AddWatch
    | SetWatches
    | Auth
    | Sasl
    | WhoAmI
    | Reconfig
    | Ping
    | Refused
)


@dataclass(frozen=True, slots=True)
class Request:
    """``result_types`` are the opcodes of a multi's results, which the operations alone do not tell."""

    xid: int
    op: int
    body: Body
    result_types: tuple[int, ...] = ()


def decode_connect(frame: bytes) -> ConnectRequest:
    """The first frame of a connection. Raises MarshallingError: close the connection without an answer."""
    reader = Reader(frame)
    return ConnectRequest(
        protocol_version=reader.int32(),
        last_zxid_seen=reader.int64(),
        timeout=reader.int32(),
        session=reader.int64(),
        password=reader.buffer() or b"",
        read_only=None if reader.exhausted else reader.boolean(),
    )


def decode(frame: bytes) -> Request:
    """Any later frame.

    A bad body gives a ``Refused``, so that it is answered in its turn. Raises MarshallingError when no answer is
    possible (no whole header) or ZooKeeper gives none (a bad auth or SASL packet): close the connection.
    """
    if len(frame) < 8:
        raise MarshallingError(f"a request of {len(frame)} bytes has no header")
    xid, op = _HEADER.unpack_from(frame)
    decoder = _DECODERS.get(op)
    if decoder is None:
        return Request(xid, op, Refused(Code.UNIMPLEMENTED, True, f"unknown operation {op}"))
    reader = Reader(frame, 8)
    try:
        if decoder is _multi:
            operations, result_types = _multi_operations(reader)
            return Request(xid, op, Multi(operations), result_types)
        return Request(xid, op, decoder(reader))
    except MarshallingError as error:
        if op == Op.AUTH or op == Op.SASL:
            raise
        return Request(xid, op, Refused(Code.MARSHALLING_ERROR, False, str(error)))


def _create(reader: Reader) -> Create:
    return Create(reader.ustring(), reader.buffer(), reader.vector(reader.acl), reader.int32())


def _create_ttl(reader: Reader) -> Create:
    return Create(reader.ustring(), reader.buffer(), reader.vector(reader.acl), reader.int32(), reader.int64())


def _delete(reader: Reader) -> Delete:
    return Delete(reader.ustring(), reader.int32())


def _set_data(reader: Reader) -> SetData:
    return SetData(reader.ustring(), reader.buffer(), reader.int32())


def _set_acl(reader: Reader) -> SetAcl:
    return SetAcl(reader.ustring(), reader.vector(reader.acl), reader.int32())


def _check(reader: Reader) -> Check:
    return Check(reader.ustring(), reader.int32())


def _exists(reader: Reader) -> Exists:
    return Exists(reader.ustring(), reader.boolean())


def _get_data(reader: Reader) -> GetData:
    return GetData(reader.ustring(), reader.boolean())


def _get_children(reader: Reader) -> GetChildren:
    return GetChildren(reader.ustring(), reader.boolean())


def _get_children2(reader: Reader) -> GetChildren:
    return GetChildren(reader.ustring(), reader.boolean(), True)


def _watcher_type(reader: Reader) -> WatcherType:
    value = reader.int32()
    try:
        return WatcherType(value)
    except ValueError as error:
        raise MarshallingError(f"watcher type {value} is not within 1..5") from error


def _check_watches(reader: Reader) -> CheckWatches:
    return CheckWatches(reader.ustring(), _watcher_type(reader))


def _remove_watches(reader: Reader) -> RemoveWatches:
    return RemoveWatches(reader.ustring(), _watcher_type(reader))


def _add_watch(reader: Reader) -> AddWatch:
    path, mode = reader.ustring(), reader.int32()
    if mode not in (0, 1):
        raise MarshallingError(f"watch mode {mode} is neither 0 (persistent) nor 1 (recursive)")
    return AddWatch(path, mode == 1)


def _set_watches(reader: Reader) -> SetWatches:
    path = reader.ustring
    return SetWatches(reader.int64(), reader.vector(path), reader.vector(path), reader.vector(path))


def _set_watches2(reader: Reader) -> SetWatches:
    path = reader.ustring
    return SetWatches(
        reader.int64(),
        reader.vector(path),
        reader.vector(path),
        reader.vector(path),
        reader.vector(path),
        reader.vector(path),
    )


def _auth(reader: Reader) -> Auth:
    reader.int32()
    return Auth(reader.ustring(), reader.buffer() or b"")


def _reconfig(reader: Reader) -> Reconfig:
    text = reader.nullable_ustring
    return Reconfig(text(), text(), text(), reader.int64())


_MULTI: dict[int, Callable[[Reader], Create | Delete | SetData | Check]] = {
    Op.CREATE: _create,
    Op.CREATE2: _create,
    Op.CREATE_CONTAINER: _create,
    Op.CREATE_TTL: _create_ttl,
    Op.DELETE: _delete,
    Op.SET_DATA: _set_data,
    Op.CHECK: _check,
}
_MULTI_READ: dict[int, Callable[[Reader], GetData | GetChildren]] = {
    Op.GET_DATA: _get_data,
    Op.GET_CHILDREN: _get_children,
}


def _multi_operations(reader: Reader) -> tuple[tuple[Create | Delete | SetData | Check, ...], tuple[int, ...]]:
    operations: list[Create | Delete | SetData | Check] = []
    types: list[int] = []
    while True:
        op, done, _ = reader.int32(), reader.boolean(), reader.int32()
        if done:
            return tuple(operations), tuple(types)
        decoder = _MULTI.get(op)
        if decoder is None:
            raise MarshallingError(f"operation {op} may not stand in a multi")
        operations.append(decoder(reader))
        types.append(Op.CREATE2 if decoder is _create_ttl or op == Op.CREATE_CONTAINER else op)


def _multi(reader: Reader) -> Multi:
    return Multi(_multi_operations(reader)[0])


def _multi_read(reader: Reader) -> MultiRead:
    reads: list[GetData | GetChildren] = []
    while True:
        op, done, _ = reader.int32(), reader.boolean(), reader.int32()
        if done:
            return MultiRead(tuple(reads))
        decoder = _MULTI_READ.get(op)
        if decoder is None:
            raise MarshallingError(f"operation {op} may not stand in a multiRead")
        reads.append(decoder(reader))


_DECODERS: dict[int, Callable[[Reader], Body]] = {
    Op.CREATE: _create,
    Op.CREATE2: _create,
    Op.CREATE_CONTAINER: _create,
    Op.CREATE_TTL: _create_ttl,
    Op.DELETE: _delete,
    Op.SET_DATA: _set_data,
    Op.SET_ACL: _set_acl,
    Op.MULTI: _multi,
    Op.CLOSE_SESSION: lambda reader: CloseSession(),
    Op.EXISTS: _exists,
    Op.GET_DATA: _get_data,
    Op.GET_ACL: lambda reader: GetAcl(reader.ustring()),
    Op.GET_CHILDREN: _get_children,
    Op.GET_CHILDREN2: _get_children2,
    Op.GET_ALL_CHILDREN_NUMBER: lambda reader: GetAllChildrenNumber(reader.ustring()),
    Op.GET_EPHEMERALS: lambda reader: GetEphemerals(reader.ustring()),
    Op.SYNC: lambda reader: Sync(reader.ustring()),
    Op.MULTI_READ: _multi_read,
    Op.CHECK_WATCHES: _check_watches,
    Op.REMOVE_WATCHES: _remove_watches,
    Op.ADD_WATCH: _add_watch,
    Op.SET_WATCHES: _set_watches,
    Op.SET_WATCHES2: _set_watches2,
    Op.AUTH: _auth,
    Op.SASL: lambda reader: Sasl(reader.buffer() or b""),
    Op.WHO_AM_I: lambda reader: WhoAmI(),
    Op.RECONFIG: _reconfig,
    Op.PING: lambda reader: Ping(),
}
