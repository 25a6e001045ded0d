"""The values that ZooKeeper's rules speak of: znodes, their Stat and ACL, sessions, events.

All are immutable; a change is a new value. Times are milliseconds since the Unix epoch, zxids and session ids
signed 64-bit integers, versions signed 32-bit integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple, TypeAlias


class Permission(IntFlag):
    """``perms`` of an ACL entry (org.apache.zookeeper.ZooDefs.Perms)."""

    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class Acl(NamedTuple):
    """One ACL entry: a permission mask (not range-checked, as in ZooKeeper) for one id of a scheme."""

    perms: int
    scheme: str
    id: str


class Identity(NamedTuple):
    """Who a connection is: ``("ip", "127.0.0.1")``, ``("digest", "user:base64(sha1(user:password))")``."""

    scheme: str
    id: str


OPEN_ACL: tuple[Acl, ...] = (Acl(Permission.ALL, "world", "anyone"),)
READ_ACL: tuple[Acl, ...] = (Acl(Permission.READ, "world", "anyone"),)


@dataclass(frozen=True, slots=True)
class Blob:
    """Data kept in the bucket (claim check): the object's key and the data's length in bytes."""

    key: str
    length: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Data that stays as it is in storage; only its length in bytes was loaded."""

    length: int


Data: TypeAlias = bytes | Blob | Stored | None
"""A znode's data. ``None`` (null) and ``b""`` are distinct, as in ZooKeeper; both have length 0."""


def data_length(data: Data) -> int:
    if data is None:
        return 0
    return len(data) if isinstance(data, bytes) else data.length


class ZnodeKind(IntEnum):
    """What makes a childless znode go away (org.apache.zookeeper.server.EphemeralType)."""

    PERSISTENT = 0
    EPHEMERAL = 1
    CONTAINER = 2
    TTL = 3


class Stat(NamedTuple):
    """The 68-byte Stat of the protocol, in wire order."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


@dataclass(frozen=True, slots=True)
class Znode:
    """A live znode.

    ``creates`` is ZooKeeper's stored cversion: it counts child creates only and is the next sequence suffix.
    ``children_sum`` is the sum modulo 2^64 of ``children.edge_hash`` over the children, by which a reader knows
    that a listing belongs to this state. ``zxid`` is that of the last transaction that changed anything in the
    node, its ACL included. ``owner`` is the ephemeral owner's session id, 0 if none. ``ttl`` is in milliseconds,
    0 unless ``kind`` is TTL.
    """

    czxid: int
    mzxid: int
    pzxid: int
    zxid: int
    ctime: int
    mtime: int
    version: int = 0
    creates: int = 0
    aversion: int = 0
    owner: int = 0
    children: int = 0
    children_sum: int = 0
    acl: tuple[Acl, ...] = OPEN_ACL
    kind: ZnodeKind = ZnodeKind.PERSISTENT
    ttl: int = 0
    data: Data = None

    @property
    def stat(self) -> Stat:
        """The Stat a client sees; cversion is ``2 * creates - children`` (DataNode.copyStat)."""
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            int32(2 * self.creates - self.children),
            self.aversion,
            self.owner,
            data_length(self.data),
            self.children,
            self.pzxid,
        )


def int32(value: int) -> int:
    """``value`` wrapped as Java's int wraps: versions overflow from 2147483647 to -2147483648."""
    return (value + 0x80000000) % 0x100000000 - 0x80000000


@dataclass(frozen=True, slots=True)
class Session:
    """A session. ``timeout`` is in milliseconds; ``epoch`` counts attachments, so that requests sent through an
    earlier connection are known (SESSION_MOVED). Only a hash of the password is kept."""

    password_hash: bytes
    timeout: int
    gateway: str
    epoch: int


class EventKind(IntEnum):
    """``type`` of a watch event (org.apache.zookeeper.Watcher.Event.EventType)."""

    CREATED = 1
    DELETED = 2
    DATA = 3
    CHILDREN = 4


@dataclass(frozen=True, slots=True)
class Event:
    """Something that watches on ``path`` may fire for. ``acl`` is the node's at fire time: a client without READ
    by it gets no event (WatchManager.triggerWatch)."""

    zxid: int
    path: str
    kind: EventKind
    acl: tuple[Acl, ...] = OPEN_ACL
