"""What clients send, from bytes to values.

How bad requests are taken follows org.apache.zookeeper.server.{ZooKeeperServer,PrepRequestProcessor,
FinalRequestProcessor} 3.9.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl
from faaskeeper.znode.operations import Check, CloseSession, Create, Delete, Multi, SetAcl, SetData

from .jute import MarshallingError, Reader
from .requests import (
    AddWatch,
    Auth,
    Body,
    CheckWatches,
    ConnectRequest,
    Exists,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    MultiRead,
    Op,
    Ping,
    Reconfig,
    Refused,
    RemoveWatches,
    Request,
    Sasl,
    SetWatches,
    Sync,
    WatcherType,
    WhoAmI,
)

_HEADER = Struct(">ii")
_PLAIN_READS = frozenset(op.to_bytes(4, "big") for op in (Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2))


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
    if len(frame) < _HEADER.size:
        raise MarshallingError(f"a request of {len(frame)} bytes has no header")
    xid, op = _HEADER.unpack_from(frame)
    reader = Reader(frame, _HEADER.size)
    try:
        decoder = _DECODERS.get(op)
        if decoder is not None:
            return Request(xid, op, decoder(reader))
        if op == Op.MULTI:
            operations, result_types = _multi(reader)
            return Request(xid, op, Multi(operations), result_types)
        return Request(xid, op, Refused(Code.UNIMPLEMENTED, True, f"unknown operation {op}"))
    except MarshallingError as error:
        if op == Op.AUTH or op == Op.SASL:
            raise
        return Request(xid, op, Refused(Code.MARSHALLING_ERROR, False, str(error)))


def is_plain_read(frame: bytes) -> bool:
    """Whether it may be an Exists, GetData or GetChildren."""
    return frame[4:8] in _PLAIN_READS


def _path(reader: Reader) -> str:
    """For operations in which ZooKeeper stumbles over a null path."""
    path = reader.ustring()
    if path is None:
        raise MarshallingError("null path")
    return path


def _text(reader: Reader) -> str:
    """For operations to which a null path is as wrong, or as harmless, as an empty one."""
    return reader.ustring() or ""


def _paths(reader: Reader) -> tuple[str, ...]:
    paths = reader.vector(lambda: _path(reader))
    if paths is None:
        raise MarshallingError("null list of paths")
    return paths


def _acl(reader: Reader) -> tuple[Acl, ...]:
    return reader.vector(reader.acl) or ()


def _create(reader: Reader) -> Create:
    """Flags 4 make a container only with createContainer; here they make a persistent znode (CreateTxn)."""
    path, data, acl, flags = _path(reader), reader.buffer(), _acl(reader), reader.int32()
    return Create(path, data, acl, 0 if flags == _CONTAINER else flags)


def _create_container(reader: Reader) -> Create | Refused:
    """The opcode makes the container, whatever the flags; of these, only a sequential one is beyond us."""
    path, data, acl, flags = _path(reader), reader.buffer(), _acl(reader), reader.int32()
    if flags not in _CONTAINER_FLAGS:
        return Refused(Code.BAD_ARGUMENTS, False, f"createContainer with flags {flags}")
    return Create(path, data, acl, _CONTAINER)


def _create_ttl(reader: Reader) -> Create:
    return Create(_path(reader), reader.buffer(), _acl(reader), reader.int32(), reader.int64())


def _delete(reader: Reader) -> Delete:
    return Delete(_path(reader), reader.int32())


def _delete_container(reader: Reader) -> Refused:
    """ZooKeeper would obey a client here, whatever the ACL; its clients cannot send this."""
    return Refused(Code.BAD_ARGUMENTS, False, f"deleteContainer of {_path(reader)!r} by a client")


def _set_data(reader: Reader) -> SetData:
    return SetData(_text(reader), reader.buffer(), reader.int32())


def _set_acl(reader: Reader) -> SetAcl:
    return SetAcl(_text(reader), _acl(reader), reader.int32())


def _check(reader: Reader) -> Check:
    return Check(_path(reader), reader.int32())


def _exists(reader: Reader) -> Exists:
    return Exists(_path(reader), reader.boolean())


def _get_data(reader: Reader) -> GetData:
    return GetData(_path(reader), reader.boolean())


def _get_acl(reader: Reader) -> GetAcl:
    return GetAcl(_path(reader))


def _get_children(reader: Reader) -> GetChildren:
    return GetChildren(_path(reader), reader.boolean())


def _get_children2(reader: Reader) -> GetChildren:
    return GetChildren(_path(reader), reader.boolean(), True)


def _get_all_children_number(reader: Reader) -> GetAllChildrenNumber:
    return GetAllChildrenNumber(_path(reader))


def _get_ephemerals(reader: Reader) -> GetEphemerals:
    prefix = _text(reader)
    return GetEphemerals("" if prefix.strip() in ("", "/") else prefix)


def _sync(reader: Reader) -> Sync:
    return Sync(_text(reader))


def _watcher_type(reader: Reader) -> WatcherType:
    value = reader.int32()
    try:
        return WatcherType(value)
    except ValueError:
        raise MarshallingError(f"watcher type {value} is not within 1..5") from None


def _check_watches(reader: Reader) -> CheckWatches:
    return CheckWatches(_text(reader), _watcher_type(reader))


def _remove_watches(reader: Reader) -> RemoveWatches:
    return RemoveWatches(_text(reader), _watcher_type(reader))


def _add_watch(reader: Reader) -> AddWatch:
    path, mode = _text(reader), reader.int32()
    if mode not in (0, 1):
        raise MarshallingError(f"watch mode {mode} is neither 0 (persistent) nor 1 (persistent recursive)")
    return AddWatch(path, mode == 1)


def _set_watches(reader: Reader) -> SetWatches:
    return SetWatches(reader.int64(), _paths(reader), _paths(reader), _paths(reader))


def _set_watches2(reader: Reader) -> SetWatches:
    return SetWatches(reader.int64(), _paths(reader), _paths(reader), _paths(reader), _paths(reader), _paths(reader))


def _auth(reader: Reader) -> Auth:
    reader.int32()
    return Auth(_text(reader), reader.buffer() or b"")


def _sasl(reader: Reader) -> Sasl:
    token = reader.buffer()
    if token is None:
        raise MarshallingError("null SASL token")
    return Sasl(token)


def _reconfig(reader: Reader) -> Reconfig:
    return Reconfig(reader.ustring(), reader.ustring(), reader.ustring(), reader.int64())


def _multi(reader: Reader) -> tuple[tuple[Create | Delete | SetData | Check, ...], tuple[int, ...]]:
    operations: list[Create | Delete | SetData | Check] = []
    types: list[int] = []
    while True:
        op, done, _ = reader.int32(), reader.boolean(), reader.int32()
        if done:
            return tuple(operations), tuple(types)
        if op in _CREATES:
            operation, op = _multi_create(reader, op)
        elif op == Op.DELETE:
            operation = _delete(reader)
        elif op == Op.SET_DATA:
            operation = _set_data(reader)
        elif op == Op.CHECK:
            operation = _check(reader)
        else:
            raise MarshallingError(f"operation {op} may not stand in a multi")
        operations.append(operation)
        types.append(op)


def _multi_create(reader: Reader, op: int) -> tuple[Create, int]:
    """A create and its result's type: inside a multi the flags, not the opcode, say what is made (Op.Create)."""
    path, data, acl, flags = _path(reader), reader.buffer(), reader.vector(reader.acl), reader.int32()
    ttl = reader.int64() if op == Op.CREATE_TTL else None
    if acl is None:
        raise MarshallingError("null ACL in a multi")
    if flags == _CONTAINER or (op == Op.CREATE_CONTAINER and flags in _CONTAINER_FLAGS):
        return Create(path, data, acl, _CONTAINER), Op.CREATE2
    if 0 <= flags < _CONTAINER and op != Op.CREATE_CONTAINER:
        return Create(path, data, acl, flags), Op.CREATE2 if op == Op.CREATE2 else Op.CREATE
    if ttl is None:
        raise MarshallingError(f"flags {flags} of a create (operation {op}) in a multi")
    return Create(path, data, acl, flags, ttl), Op.CREATE2


def _multi_read(reader: Reader) -> MultiRead:
    reads: list[GetData | GetChildren] = []
    while True:
        op, done, _ = reader.int32(), reader.boolean(), reader.int32()
        if done:
            return MultiRead(tuple(reads))
        if op == Op.GET_DATA:
            reads.append(_get_data(reader))
        elif op == Op.GET_CHILDREN:
            reads.append(_get_children(reader))
        else:
            raise MarshallingError(f"operation {op} may not stand in a multiRead")


_CONTAINER = 4
_CONTAINER_FLAGS = frozenset({0, 1, _CONTAINER})
_CREATES = frozenset({Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL})
_DECODERS: dict[int, Callable[[Reader], Body]] = {
    Op.CREATE: _create,
    Op.CREATE2: _create,
    Op.CREATE_CONTAINER: _create_container,
    Op.CREATE_TTL: _create_ttl,
    Op.DELETE: _delete,
    Op.DELETE_CONTAINER: _delete_container,
    Op.SET_DATA: _set_data,
    Op.SET_ACL: _set_acl,
    Op.CLOSE_SESSION: lambda _: CloseSession(),
    Op.EXISTS: _exists,
    Op.GET_DATA: _get_data,
    Op.GET_ACL: _get_acl,
    Op.GET_CHILDREN: _get_children,
    Op.GET_CHILDREN2: _get_children2,
    Op.GET_ALL_CHILDREN_NUMBER: _get_all_children_number,
    Op.GET_EPHEMERALS: _get_ephemerals,
    Op.SYNC: _sync,
    Op.MULTI_READ: _multi_read,
    Op.CHECK_WATCHES: _check_watches,
    Op.REMOVE_WATCHES: _remove_watches,
    Op.ADD_WATCH: _add_watch,
    Op.SET_WATCHES: _set_watches,
    Op.SET_WATCHES2: _set_watches2,
    Op.AUTH: _auth,
    Op.SASL: _sasl,
    Op.WHO_AM_I: lambda _: WhoAmI(),
    Op.RECONFIG: _reconfig,
    Op.PING: lambda _: Ping(),
}
"""Every operation but multi, whose results need more than its operations. Not here: check, which stands only inside a
multi, and createSession (-10), which a ZooKeeper server takes from its peers and, unwisely, from clients."""
