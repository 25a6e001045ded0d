"""A small ZooKeeper client for the command line: one session, blocking, requests pipelined in any number.

Unlike kazoo it knows containers, times to live and watches that stay, and it does not reconnect: a command that lost
its session has failed.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl, EventKind, Stat
from faaskeeper_client.addresses import Address
from faaskeeper_client.wire.frames import MAX_FRAME
from faaskeeper_client.wire.jute import INT32, INT64, MarshallingError, Reader, acl, boolean, buffer, ustring, vector
from faaskeeper_client.wire.requests import Op

T = TypeVar("T")

_SESSION_TIMEOUT = 30_000
"""ms; granted may be less."""
_EVENT, _PING, _AUTH, _FIRST_XID = -1, -2, -4, 1
_HEADER = Struct(">ii")
_REPLY = Struct(">iqi")
_CONNECT = Struct(">iqiq")
_MAX_AT_ONCE = 64
_MAX_BYTES_AT_ONCE = 4 << 20
_PASSWORD_BYTES = 16
_CHUNK = 1 << 16
MAX_BODY = MAX_FRAME - _HEADER.size
"""Bytes of a request without its header."""
_LONGEST_FRAME = 64 << 20
_LONGEST_CLOSE = 5.0


class ServerUnreachable(Exception):
    """There is no server, it does not speak ZooKeeper's protocol, or the connection to it broke."""


class TooLarge(Exception):
    """A request on ``path`` that no server accepts."""

    def __init__(self, path: str, size: int) -> None:
        super().__init__(
            f"{path}: {size:,} bytes with path and ACL, and ZooKeeper takes requests of up to {MAX_BODY:,} (1 MiB)"
        )


class Failed(Exception):
    """The server refused a request on ``path``."""

    def __init__(self, code: int, path: str) -> None:
        super().__init__(f"{path}: {_MEANING.get(code) or _name(code)}" if path else _MEANING.get(code) or _name(code))
        self.code = code
        self.path = path


_MEANING: dict[int, str] = {
    Code.NO_NODE: "there is no such znode",
    Code.NODE_EXISTS: "the znode exists already",
    Code.NOT_EMPTY: "the znode has children",
    Code.BAD_VERSION: "the znode has another version",
    Code.NO_AUTH: "its ACL does not allow this",
    Code.NO_CHILDREN_FOR_EPHEMERALS: "an ephemeral znode has no children",
    Code.INVALID_ACL: "the server does not accept the ACL",
    Code.BAD_ARGUMENTS: "the server does not accept the path or the arguments",
    Code.AUTH_FAILED: "the server does not accept the credentials",
    Code.SESSION_EXPIRED: "the session expired",
    Code.UNIMPLEMENTED: "the server does not know this operation",
    Code.QUOTA_EXCEEDED: "it would exceed the quota",
}


def _name(code: int) -> str:
    return Code(code).name if code in Code.__members__.values() else f"error {code}"


@dataclass(frozen=True, slots=True)
class Event:
    """``zxid`` is -1 from servers before 3.9, which do not tell it."""

    zxid: int
    kind: EventKind
    path: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request as a value: ``decode`` reads the reply's body."""

    op: Op
    path: str
    body: bytes
    decode: Callable[[Reader], T]


def exists(path: str) -> Call[Stat]:
    return Call(Op.EXISTS, path, ustring(path) + boolean(False), _stat)


def get(path: str) -> Call[tuple[bytes | None, Stat]]:
    return Call(Op.GET_DATA, path, ustring(path) + boolean(False), lambda reply: (reply.buffer(), _stat(reply)))


def get_acl(path: str) -> Call[tuple[Acl, ...]]:
    return Call(Op.GET_ACL, path, ustring(path), lambda reply: reply.vector(reply.acl) or ())


def get_children(path: str) -> Call[tuple[list[str], Stat]]:
    """Names in order."""

    def decode(reply: Reader) -> tuple[list[str], Stat]:
        names = reply.vector(reply.ustring) or ()
        return sorted(name or "" for name in names), _stat(reply)

    return Call(Op.GET_CHILDREN2, path, ustring(path) + boolean(False), decode)


def create(
    path: str, data: bytes | None, entries: Sequence[Acl], *, flags: int = 0, ttl: int = 0
) -> Call[tuple[str, Stat]]:
    """``flags`` as in org.apache.zookeeper.CreateMode; ``ttl`` in ms."""
    body = ustring(path) + buffer(data) + vector(acl(entry) for entry in entries) + INT32.pack(flags)
    op = Op.CREATE_TTL if ttl else Op.CREATE_CONTAINER if flags == _CONTAINER else Op.CREATE2
    return Call(op, path, body + INT64.pack(ttl) if ttl else body, lambda reply: (reply.ustring() or "", _stat(reply)))


_CONTAINER = 4


def set_data(path: str, data: bytes | None, version: int = -1) -> Call[Stat]:
    return Call(Op.SET_DATA, path, ustring(path) + buffer(data) + INT32.pack(version), _stat)


def set_acl(path: str, entries: Sequence[Acl], version: int = -1) -> Call[Stat]:
    """``version`` is that of the ACL."""
    return Call(Op.SET_ACL, path, ustring(path) + vector(acl(entry) for entry in entries) + INT32.pack(version), _stat)


def delete(path: str, version: int = -1) -> Call[None]:
    return Call(Op.DELETE, path, ustring(path) + INT32.pack(version), lambda reply: None)


def add_watch(path: str, *, recursive: bool) -> Call[None]:
    return Call(Op.ADD_WATCH, path, ustring(path) + INT32.pack(recursive), lambda reply: None)


def check_size(call: Call[Any]) -> None:
    """Raises TooLarge."""
    if len(call.body) > MAX_BODY:
        raise TooLarge(call.path, len(call.body))


def _stat(reply: Reader) -> Stat:
    long, int_ = reply.int64, reply.int32
    return Stat(long(), long(), long(), long(), int_(), int_(), int_(), long(), int_(), int_(), long())


class ZooKeeper:
    """A session with the first of ``addresses`` that answers, closed at the end of a ``with`` block.

    ``credentials`` are "user:password" for the digest scheme, ``patience`` is in seconds; with ``tls`` the server must
    speak that. Raises ServerUnreachable, and from every method too when the connection breaks.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        credentials: Iterable[str] = (),
        patience: float = 10,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.session = 0
        self._name = ",".join(map(str, addresses))
        self._socket = _dial(addresses, patience, tls)
        self._received = bytearray()
        self._sending = threading.Lock()
        self._events: deque[Event] = deque()
        self._xid = _FIRST_XID
        self._closed = threading.Event()
        try:
            timeout = self._handshake()
            for credential in credentials:
                self.authenticate(credential)
        except BaseException:
            self._socket.close()
            raise
        # a server that is alive answers a ping within a third of this
        self._socket.settimeout(2 * timeout / 1000)
        threading.Thread(target=self._ping, args=(timeout / 3000,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def call(self, call: Call[T]) -> T:
        """Raises Failed, TooLarge."""
        (result,) = self.pipeline([call])
        if isinstance(result, Failed):
            raise result
        return result

    def pipeline(self, calls: Iterable[Call[T]]) -> Iterator[T | Failed]:
        """The results in order. Calls are sent ahead of the results that are taken; exhaust it before another call.
        Raises TooLarge at the first that no server accepts."""
        sent: deque[tuple[int, Call[T]]] = deque()
        size = 0
        for call in calls:
            check_size(call)
            while sent and (len(sent) >= _MAX_AT_ONCE or size + len(call.body) > _MAX_BYTES_AT_ONCE):
                size -= len(sent[0][1].body)
                yield self._result(*sent.popleft())
            self._xid += 1
            sent.append((self._xid, call))
            size += len(call.body)
            self._send(_HEADER.pack(self._xid, call.op) + call.body)
        while sent:
            yield self._result(*sent.popleft())

    def events(self) -> Iterator[Event]:
        """As they come, without end."""
        while True:
            while self._events:
                yield self._events.popleft()
            self._receive()

    def authenticate(self, credential: str) -> None:
        """Raises Failed."""
        body = INT32.pack(0) + ustring("digest") + buffer(credential.encode())
        self._send(_HEADER.pack(_AUTH, Op.AUTH) + body)
        result = self._result(_AUTH, Call(Op.AUTH, "", body, lambda reply: None))
        if isinstance(result, Failed):
            raise result

    def close(self) -> None:
        """Ends the session: its ephemerals go at once."""
        self._closed.set()
        try:
            self._socket.settimeout(_LONGEST_CLOSE)
            self._send(_HEADER.pack(self._xid + 1, Op.CLOSE_SESSION))
            while self._receive()[0] != self._xid + 1:
                continue
        except (ServerUnreachable, MarshallingError):
            return  # the session will expire
        finally:
            self._socket.close()

    def _handshake(self) -> int:
        """The session timeout granted, in ms."""
        self._send(_CONNECT.pack(0, 0, _SESSION_TIMEOUT, 0) + buffer(bytes(_PASSWORD_BYTES)) + boolean(False))
        reply = Reader(self._frame())
        reply.int32()
        timeout = reply.int32()
        self.session = reply.int64()
        if timeout <= 0 or self.session == 0:
            raise ServerUnreachable(f"{self._name} gives no session")
        return timeout

    def _result(self, xid: int, call: Call[T]) -> Any:
        received, code, reply = self._receive()
        while received in (_EVENT, _PING):
            received, code, reply = self._receive()
        if received != xid:
            raise ServerUnreachable(f"{self._name} answers request {received} instead of {xid}")
        return call.decode(reply) if code == 0 else Failed(code, call.path)

    def _receive(self) -> tuple[int, int, Reader]:
        """The next frame as (xid, code, body); what it says of a watch is kept for ``events``."""
        frame = self._frame()
        xid, zxid, code = _REPLY.unpack_from(frame)
        reply = Reader(frame, _REPLY.size)
        if xid == _EVENT:
            kind, _, path = reply.int32(), reply.int32(), reply.ustring()
            if kind in EventKind.__members__.values():
                self._events.append(Event(zxid, EventKind(kind), path or ""))
        return xid, code, reply

    def _frame(self) -> bytes:
        (length,) = INT32.unpack(self._read(INT32.size))
        if not 0 <= length <= _LONGEST_FRAME:
            raise ServerUnreachable(f"{self._name} does not speak ZooKeeper's protocol")
        return self._read(length)

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            try:
                data = self._some()
            except TimeoutError:
                raise ServerUnreachable(f"{self._name} does not answer") from None
            except OSError as error:
                raise self._broken(error) from error
            if not data:
                raise ServerUnreachable(f"{self._name} closed the connection")
            self._received += data
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _some(self) -> bytes:
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._socket.recv(_CHUNK)
        # OpenSSL does not bear a read and a write of one connection at once, and pings are sent beside
        if not self._socket.pending() and not select.select([self._socket], [], [], self._socket.gettimeout())[0]:
            raise TimeoutError
        with self._sending:
            return self._socket.recv(_CHUNK)

    def _send(self, body: bytes) -> None:
        try:
            with self._sending:
                self._socket.sendall(INT32.pack(len(body)) + body)
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> ServerUnreachable:
        return ServerUnreachable(f"the connection to {self._name} broke: {error.strerror or error}")

    def _ping(self, interval: float) -> None:
        while not self._closed.wait(interval):
            try:
                self._send(_HEADER.pack(_PING, Op.PING))
            except ServerUnreachable:
                return  # whoever reads next finds out


def _dial(addresses: Sequence[Address], patience: float, tls: ssl.SSLContext | None) -> socket.socket:
    reasons: list[str] = []
    for address in addresses:
        try:
            connection = socket.create_connection((address.host, address.port), patience)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return tls.wrap_socket(connection, server_hostname=address.host) if tls else connection
        except ssl.SSLCertVerificationError as error:
            reasons.append(f"{address}: its certificate is not accepted: {error.verify_message}")
        except ssl.SSLError as error:
            reasons.append(f"{address} does not speak TLS with us: {error.reason or error}")
        except OSError as error:
            reasons.append(f"cannot reach {address}: {error.strerror or error}")
    raise ServerUnreachable("; ".join(reasons))
