"""What clients send, as values.

Writes become the operations of ``faaskeeper.znode.operations``; everything else has a class here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import CloseSession, Create, Delete, Multi, SetAcl, SetData


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
    """The session's ephemerals whose path starts with ``prefix``, as a string, not by segments; "" means all."""

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


class Request(NamedTuple):
    """``result_types`` are the opcodes of a multi's results, which the operations alone do not tell."""

    xid: int
    op: int
    body: Body
    result_types: tuple[int, ...] = ()
