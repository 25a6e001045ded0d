"""What clients are told: every function returns one whole frame, its length included, ready to be sent.

``zxid`` is the header's: the last one the state shown reflects. A reply with a code other than OK has no body.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl, EventKind, Identity, Stat
from faaskeeper.znode.operations import Multi, Outcome

from .jute import INT32, STAT, acl, boolean, buffer, ustring, vector
from .requests import Op, Refused, Request

EVENT_XID = -1
PING_XID = -2
NO_ZXID = -1
_HEADER = Struct(">iiqi")
_HEADER_AFTER_LENGTH = _HEADER.size - 4
_CONNECT = Struct(">iiq")
_EVENT = Struct(">ii")
_RESULT = Struct(">i?i")
_SYNC_CONNECTED = 3
_ERROR = Struct(">i?ii")
_END = _RESULT.pack(-1, True, -1)
_NO_PASSWORD = bytes(16)
_ANSWERED_BY_PATH = frozenset({Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL})
_ANSWERED_BY_STAT = frozenset({Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.SET_DATA, Op.SET_ACL})


def connected(timeout: int, session: int, password: bytes, read_only: bool | None) -> bytes:
    """The answer to a ConnectRequest; ``read_only`` None if the request had none. ``timeout`` in ms, granted."""
    body = _CONNECT.pack(0, timeout, session) + buffer(password) + (b"" if read_only is None else boolean(read_only))
    return INT32.pack(len(body)) + body


def session_expired(read_only: bool | None) -> bytes:
    """The answer to a ConnectRequest whose session is unknown or whose password is wrong; then close."""
    return connected(0, 0, _NO_PASSWORD, read_only)


def reply(xid: int, zxid: int, body: bytes = b"") -> bytes:
    """A success; without body of delete, setWatches, checkWatches, removeWatches and closeSession."""
    return _HEADER.pack(_HEADER_AFTER_LENGTH + len(body), xid, zxid, 0) + body


def error(xid: int, zxid: int, code: Code) -> bytes:
    return _HEADER.pack(_HEADER_AFTER_LENGTH, xid, zxid, code)


def refused(xid: int, zxid: int, refusal: Refused) -> bytes:
    """An unknown operation is answered without a zxid, anything else like a failure."""
    return error(xid, NO_ZXID if refusal.code is Code.UNIMPLEMENTED else zxid, refusal.code)


def ping(zxid: int) -> bytes:
    """ZooKeeper answers a ping with xid -2, whatever the request's."""
    return reply(PING_XID, zxid)


def auth(xid: int, code: Code = Code.OK) -> bytes:
    """Authentication is no part of the order of things: its zxid is 0. After AUTH_FAILED, close."""
    return error(xid, 0, code)


def sasl(xid: int, token: bytes | None) -> bytes:
    """The server's next token; null if SASL is not configured."""
    return reply(xid, 0, buffer(token))


def outcome(request: Request, result: Outcome) -> bytes:
    """The reply to a write. ``request`` is the one that ``result`` came of."""
    if result.code is not Code.OK:
        return error(request.xid, result.zxid, result.code)
    return reply(request.xid, result.zxid, _outcome_body(request, result))


def _outcome_body(request: Request, result: Outcome) -> bytes:
    if isinstance(request.body, Multi):
        return _multi_results(request.result_types, result.results or ())
    return _result_body(request.op, result)


def _multi_results(types: tuple[int, ...], results: tuple[Outcome, ...]) -> bytes:
    if any(result.code is not Code.OK for result in results):
        return b"".join(error_result(result.code) for result in results) + _END
    parts = [_RESULT.pack(op, False, 0) + _result_body(op, result) for op, result in zip(types, results, strict=True)]
    return b"".join(parts) + _END


def _result_body(op: int, result: Outcome) -> bytes:
    """What one write answers: path, path and Stat, Stat or nothing."""
    parts = ustring(result.path) if op in _ANSWERED_BY_PATH else b""
    if op in _ANSWERED_BY_STAT:
        assert result.stat is not None, f"operation {op} succeeded without a Stat"
        parts += STAT.pack(*result.stat)
    return parts


def stat(xid: int, zxid: int, value: Stat) -> bytes:
    """exists."""
    return reply(xid, zxid, STAT.pack(*value))


def data(xid: int, zxid: int, value: bytes | None, stat: Stat) -> bytes:
    """getData."""
    return reply(xid, zxid, buffer(value) + STAT.pack(*stat))


def acls(xid: int, zxid: int, entries: Iterable[Acl], stat: Stat) -> bytes:
    """getACL."""
    return reply(xid, zxid, vector(map(acl, entries)) + STAT.pack(*stat))


def children(xid: int, zxid: int, names: Iterable[str], stat: Stat | None) -> bytes:
    """getChildren, with a Stat getChildren2."""
    return reply(xid, zxid, vector(map(ustring, names)) + (b"" if stat is None else STAT.pack(*stat)))


def number(xid: int, zxid: int, value: int) -> bytes:
    """getAllChildrenNumber; addWatch (0)."""
    return reply(xid, zxid, INT32.pack(value))


def paths(xid: int, zxid: int, values: Iterable[str]) -> bytes:
    """getEphemerals."""
    return reply(xid, zxid, vector(map(ustring, values)))


def path(xid: int, zxid: int, value: str) -> bytes:
    """sync."""
    return reply(xid, zxid, ustring(value))


def identities(xid: int, zxid: int, values: Iterable[Identity]) -> bytes:
    """whoAmI."""
    return reply(xid, zxid, vector(ustring(scheme) + ustring(user) for scheme, user in values))


def data_result(value: bytes | None, stat: Stat) -> bytes:
    """A multiRead's getData."""
    return _RESULT.pack(Op.GET_DATA, False, 0) + buffer(value) + STAT.pack(*stat)


def children_result(names: Iterable[str]) -> bytes:
    """A multiRead's getChildren."""
    return _RESULT.pack(Op.GET_CHILDREN, False, 0) + vector(map(ustring, names))


def error_result(code: Code) -> bytes:
    """Of a multiRead's read that failed, and of every operation of a multi that failed."""
    return _ERROR.pack(-1, False, code, code)


def multi_read(xid: int, zxid: int, results: Iterable[bytes]) -> bytes:
    """``results`` come from data_result, children_result and error_result."""
    return reply(xid, zxid, b"".join(results) + _END)


def event(path: str, kind: EventKind, zxid: int) -> bytes:
    """A watch event. ``zxid`` is the transaction's; NO_ZXID for what setWatches finds to have been missed."""
    return reply(EVENT_XID, zxid, _EVENT.pack(kind, _SYNC_CONNECTED) + ustring(path))
