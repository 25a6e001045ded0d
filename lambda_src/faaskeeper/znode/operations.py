"""The operations that change something, and what comes of them.

Names and fields follow the requests of ZooKeeper's protocol; reads are not here, they never reach the sequencer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl, Data, Stat


@dataclass(frozen=True, slots=True)
class Create:
    """create, create2, createContainer (flags 4) and createTTL (``ttl`` in ms is not None).

    ``flags`` is the raw CreateMode of the wire: 0 persistent, 1 ephemeral, 2 persistent sequential,
    3 ephemeral sequential, 4 container, 5 TTL, 6 TTL sequential; others are BAD_ARGUMENTS.
    """

    path: str
    data: Data
    acl: tuple[Acl, ...]
    flags: int = 0
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    path: str
    version: int = -1


@dataclass(frozen=True, slots=True)
class SetData:
    path: str
    data: Data
    version: int = -1


@dataclass(frozen=True, slots=True)
class SetAcl:
    path: str
    acl: tuple[Acl, ...]
    version: int = -1


@dataclass(frozen=True, slots=True)
class Check:
    """Only inside a multi."""

    path: str
    version: int = -1


@dataclass(frozen=True, slots=True)
class Multi:
    """All or nothing, one zxid. Sub-operations may be Create, Delete, SetData, Check."""

    operations: tuple[Create | Delete | SetData | Check, ...]


@dataclass(frozen=True, slots=True)
class CreateSession:
    """``password_hash`` is sha256 of the 16-byte password the gateway made; ``timeout`` in ms, negotiated."""

    password_hash: bytes
    timeout: int


@dataclass(frozen=True, slots=True)
class AttachSession:
    """A client comes back with id and password, through any gateway; earlier attachments are cut off."""

    timeout: int


@dataclass(frozen=True, slots=True)
class CloseSession:
    """By the client, or by its gateway, ``silent``, when the client was so for its timeout. Deletes the ephemerals."""

    silent: bool = False


@dataclass(frozen=True, slots=True)
class ExpireSession:
    """By the reaper: closes the session if its attach epoch is still ``epoch``; otherwise nothing happens."""

    epoch: int


@dataclass(frozen=True, slots=True)
class DeleteContainer:
    """By the janitor: delete a childless container or expired TTL znode, if it is still as it was seen.

    ``czxid`` and ``pzxid`` are those the janitor saw; ``mzxid`` likewise for TTL nodes. Any difference makes the
    operation a BAD_VERSION and nothing happens (ContainerManager, PrepRequestProcessor.deleteContainer).
    """

    path: str
    czxid: int
    mzxid: int
    pzxid: int


@dataclass(frozen=True, slots=True)
class WatchSubtree:
    """By a gateway: from this zxid on it is told of every change at or below ``path``."""

    path: str
    gateway: str


@dataclass(frozen=True, slots=True)
class UnwatchSubtree:
    """By the gateway, or by the janitor for one that is dead."""

    path: str
    gateway: str


@dataclass(frozen=True, slots=True)
class ListChildren:
    """By a gateway whose own listings keep meeting changes: the names, read between two transactions."""

    path: str


Operation: TypeAlias = (
    Create
    | Delete
    | SetData
    | SetAcl
    | Check
    | Multi
    | CreateSession
    | AttachSession
    | CloseSession
    | ExpireSession
    | DeleteContainer
    | WatchSubtree
    | UnwatchSubtree
    | ListChildren
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller of one operation is told.

    ``zxid`` is the transaction's if the operation changed something, else that of the state it was checked
    against. ``path`` is a create's actual path. ``stat`` is of the node after create, setData, setACL.
    ``results`` are a multi's sub-operations, in order: when it failed, OK before the failing one, its code, then
    RUNTIME_INCONSISTENCY, while ``code`` itself stays OK (DataTree.processTxn, FinalRequestProcessor).
    ``session`` describes what createSession and attachSession granted: timeout in ms and attach epoch.
    ``names`` are the children that ListChildren found.
    """

    code: Code
    zxid: int
    path: str | None = None
    stat: Stat | None = None
    results: tuple[Outcome, ...] | None = None
    session: tuple[int, int] | None = None
    names: tuple[str, ...] | None = None
