"""Applies queued requests to a snapshot of the storage, as many as one transaction holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.transactions import Moved, Position
from faaskeeper.protocol.messages import Principal, Request, outcome_size
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import MAX_TRANSACTION_ITEMS, Plan, blob_of, plan
from faaskeeper.storage.ledger import Head, Subtrees
from faaskeeper.storage.loading import MAX_KEYS, Snapshot, Wanted, load
from faaskeeper.storage.znode_blobs import is_data_key
from faaskeeper.znode import quotas
from faaskeeper.znode.acl import Caller, caller_of
from faaskeeper.znode.apply import MAX_CLOSED_ZNODES, Applied, apply
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import Blob, Event, ZnodeKind
from faaskeeper.znode.operations import (
    AttachSession,
    CloseSession,
    Create,
    CreateSession,
    DeleteContainer,
    ExpireSession,
    Multi,
    Operation,
    Outcome,
    SetData,
    UnwatchSubtree,
    WatchSubtree,
)
from faaskeeper.znode.paths import Tops, parent
from faaskeeper.znode.sessions import admit
from faaskeeper.znode.state import NotLoaded, State
from faaskeeper.znode.touched import touched

logger = logging.getLogger(__name__)

MAX_REQUEST_AGE_MS = 3_600_000
"""ms. After an outage nobody waits for older requests any more, so they fail instead of running."""
MAX_OPERATIONS = 5_000
"""Of a multi. One that an invocation does not get through in its time would come again and again, before all others."""
_MAX_BATCH_OUTCOME_BYTES = 60_000
_UNPROVEN = (CreateSession, ExpireSession, DeleteContainer, WatchSubtree, UnwatchSubtree)
"""Operations that no session stands behind, or not yet."""
_RESERVED = (ExpireSession, DeleteContainer)
_ITEMS_TO_AIM_AT = 90
_MAX_LOADED_ZNODES = 500
"""Znodes of closing sessions that are loaded at once: each may be as large as an item."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request with its place in the queue. ``sent`` is when its message was sent, in ms since the epoch;
    ``trusted`` whether one of the service's own functions sent it."""

    position: Position
    gateway: str
    request: Request
    sent: int
    trusted: bool = False


@dataclass(slots=True)
class Batch:
    """The first of the entries that were given, applied: ``outcomes`` in step with ``entries``. Without entries, a part
    of the first, which is to be applied again.

    ``plan`` is None if nothing changed. ``assumed`` are paths that were taken to be missing: if the commit fails,
    they must be loaded. ``detached`` are the (gateway, session, epoch) that lost their connection
    to another gateway's request. ``sessions`` is how many more there are after it (fewer, if negative), ``expired``
    how many ended because nobody was heard of for their timeout. ``subtrees_changed`` tells that what is said of whole
    subtrees did.
    """

    entries: list[Entry] = field(default_factory=list[Entry])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    events: list[Event] = field(default_factory=list[Event])
    detached: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    sessions: int = 0
    expired: int = 0
    assumed: frozenset[str] = frozenset()
    subtrees_changed: bool = False
    zxid: int = 0
    plan: Plan | None = None


async def build_batch(
    aws: Aws,
    service: Service,
    head: Head,
    entries: Sequence[Entry],
    subtrees: Subtrees,
    time: int,
    suspects: frozenset[str] = frozenset(),
) -> Batch:
    """Loads what the entries touch and applies them in order on top of ``head``, which must be complete.

    ``time`` is the transaction's, in ms since the epoch. Takes all entries, or as many as fit into a transaction.
    ``suspects`` are paths to load besides: an earlier attempt took them to be missing. Raises Moved if what it loads
    is of a later transaction than ``head``.
    """
    snapshot = Snapshot(quotas=subtrees.quotas)
    wanted = Wanted(suspects)
    for index, entry in enumerate(entries):
        more = wanted | _wanted(entry)
        if index and more.keys > MAX_KEYS:
            # no transaction holds much more, and what is left over would be loaded again each time
            entries = entries[:index]
            break
        wanted = more
    begun = Tops(top for path in wanted.paths if (top := quotas.limited(path)))
    wanted |= Wanted(_stats_of(wanted.paths, subtrees.quotas) | _stats_of(wanted.paths, begun))
    while True:
        await load(aws, service, wanted, snapshot)
        if any(item.zxid > head.zxid for item in snapshot.items.values()):
            raise Moved
        try:
            batch, unverified = _apply(service, head, entries, snapshot, subtrees, time)
        except NotLoaded as missing:
            wanted = _missing(missing, snapshot)
            continue
        if batch.plan is not None and not batch.plan.fits and len(batch.entries) > 1:
            # a journal is for what cannot be split; and in its steps no session is attached, for nothing would check
            # any more that the gateway lives
            entries, wanted = batch.entries[: len(batch.entries) // 2], Wanted()
            continue
        if not unverified:
            return batch
        wanted = Wanted(unverified)


def _apply(
    service: Service,
    head: Head,
    entries: Sequence[Entry],
    snapshot: Snapshot,
    subtrees: Subtrees,
    time: int,
) -> tuple[Batch, frozenset[str]]:
    """The batch, and paths whose absence decided an outcome without becoming a condition of the commit."""
    state = snapshot.state()
    batch = Batch(zxid=head.zxid)
    callers: dict[tuple[Principal, str], Caller] = {}
    outcome_bytes = 0
    items: dict[str, int] = {}
    for entry in entries:
        if batch.entries and outcome_bytes > _MAX_BATCH_OUTCOME_BYTES:
            break
        fork = state.fork()
        # one session may attach through two gateways in one batch
        principal = entry.request.principal
        by = principal, entry.gateway
        if by not in callers:
            callers[by] = caller_of(principal.session, entry.gateway, principal.credentials, service.super_digest)
        applied = _outcome(service, fork, entry, callers[by], snapshot, batch.zxid, time)
        if batch.entries and not applied.finished:
            break  # alone, in the next transaction
        outcome_bytes += outcome_size(applied.outcome)
        more = items | _items(fork, snapshot)
        if batch.entries and (sum(more.values()) > _ITEMS_TO_AIM_AT or outcome_bytes > _MAX_BATCH_OUTCOME_BYTES):
            break
        items = more
        batch.detached.extend(_detached(state, fork, entry.gateway))
        more_sessions = _more_sessions(state, fork)
        batch.sessions += more_sessions
        batch.expired += more_sessions < 0 and _expires(entry.request.operation)
        state.merge(fork)
        batch.events.extend(applied.events)
        if applied.changed:
            batch.zxid += 1
        if not applied.finished:
            break
        batch.entries.append(entry)
        batch.outcomes.append(applied.outcome)
    changed = {path for path, _, _ in state.changed_nodes()}
    unverified = state.assumed_missing - changed
    if batch.zxid > head.zxid:
        # each changed node is an item at least
        conditional = len(changed) < MAX_TRANSACTION_ITEMS
        batch.plan = plan(service, state, snapshot, batch.events, subtrees, batch.zxid, time, conditional=conditional)
        if conditional and not batch.plan.fits:
            conditional = False
            batch.plan = plan(service, state, snapshot, batch.events, subtrees, batch.zxid, time, conditional=False)
        if not conditional:
            # carried out in steps, of which none may depend on a condition
            unverified = state.assumed_missing
        batch.subtrees_changed = any(True for _ in state.changed_subtree_watches()) or any(
            quotas.limited(path) for path in changed
        )
        batch.assumed = state.assumed_missing
    return batch, unverified


def _outcome(
    service: Service, fork: State, entry: Entry, caller: Caller, snapshot: Snapshot, zxid: int, time: int
) -> Applied:
    operation = entry.request.operation
    principal = entry.request.principal
    try:
        if entry.sent < time - MAX_REQUEST_AGE_MS:
            raise ZnodeError(Code.OPERATION_TIMEOUT, "older than an hour")
        if isinstance(operation, CreateSession | AttachSession) and not snapshot.alive.get(entry.gateway, False):
            raise ZnodeError(Code.SESSION_EXPIRED, f"gateway {entry.gateway} is not alive")
        if isinstance(operation, _RESERVED) and not entry.trusted:
            raise ZnodeError(Code.NO_AUTH, "only the service's own functions may ask for this")
        if _too_large(operation):
            raise ZnodeError(Code.BAD_ARGUMENTS, f"a multi of more than {MAX_OPERATIONS} operations")
        for blob in _blobs(operation):
            if not is_data_key(service, entry.gateway, blob.key) or not 0 <= blob.length < 1 << 31:
                raise ZnodeError(Code.BAD_ARGUMENTS, f"{blob} is no data of gateway {entry.gateway}")
        if not isinstance(operation, _UNPROVEN):
            admit(
                fork,
                principal.session,
                sha256(principal.password).digest(),
                principal.epoch,
                attaching=isinstance(operation, AttachSession),
            )
        return apply(fork, operation, caller, zxid + 1, time)
    except ZnodeError as error:
        return Applied(Outcome(error.code, zxid), changed=False)
    except NotLoaded:
        raise
    except Exception:
        logger.exception("request %d of gateway %s failed", entry.request.number, entry.gateway)
        return Applied(Outcome(Code.SYSTEM_ERROR, zxid), changed=False)


def _too_large(operation: Operation) -> bool:
    return isinstance(operation, Multi) and len(operation.operations) > MAX_OPERATIONS


def _blobs(operation: Operation) -> Iterator[Blob]:
    """The data in the bucket that the operation names."""
    for each in operation.operations if isinstance(operation, Multi) else (operation,):
        if isinstance(each, Create | SetData) and isinstance(each.data, Blob):
            yield each.data


def _wanted(entry: Entry) -> Wanted:
    operation = entry.request.operation
    if _too_large(operation):
        return Wanted()
    need = touched(operation, entry.request.principal.session)
    attaching = isinstance(operation, CreateSession | AttachSession)
    return Wanted(need.paths, need.sessions, need.ephemerals, frozenset({entry.gateway}) if attaching else frozenset())


def _stats_of(touched_paths: frozenset[str], with_quota: Tops) -> frozenset[str]:
    """The nodes that the usage is kept in by the quotas that may count what happens at these paths."""
    tops = (list(with_quota.over(path)) for path in touched_paths)
    return frozenset(quotas.stats_path(above[-1]) for above in tops if above)


def _missing(missing: NotLoaded, snapshot: Snapshot) -> Wanted:
    """What to load after an operation asked for it; a closing session's nodes are loaded many at a time."""
    if missing.session is not None:
        return Wanted(sessions=frozenset({missing.session}))
    if missing.ephemerals is not None:
        return Wanted(ephemerals=frozenset({missing.ephemerals}))
    if missing.children is not None:
        return Wanted(children=frozenset({missing.children}))
    if missing.usage is not None:
        return Wanted(usage=frozenset({missing.usage}))
    assert missing.path is not None
    owned = (path for paths in snapshot.ephemerals.values() for path in sorted(paths)[:MAX_CLOSED_ZNODES])
    following = set(islice((path for path in owned if path not in snapshot.items), _MAX_LOADED_ZNODES))
    paths = following | {parent(path) for path in following} | {missing.path}
    return Wanted(paths=frozenset(paths - snapshot.items.keys()))


def _items(fork: State, snapshot: Snapshot) -> dict[str, int]:
    """About how many items each change of the fork will write, by what is changed."""
    items: dict[str, int] = {}
    for path, _, after in fork.changed_nodes():
        loaded = snapshot.items.get(path)
        before = loaded.znode if loaded else None
        ephemeral = bool((before and before.owner) or (after and after.owner))
        value = after is not None and isinstance(after.data, bytes) and len(after.data) > 0
        references = {blob_of(before), blob_of(after)} if blob_of(before) != blob_of(after) else set[str]()
        waits = after is not None and after.kind in (ZnodeKind.CONTAINER, ZnodeKind.TTL)
        items[path] = (
            1 + value + len(references - {""}) + waits + (1 + ephemeral) * ((before is None) != (after is None))
        )
    for session in fork.sessions_put:
        items[f"session {session}"] = 4
    return items


def _more_sessions(state: State, fork: State) -> int:
    """By how many sessions there are more in ``fork``."""
    return sum((after is not None) - (state.session(id) is not None) for id, after in fork.sessions_put.items())


def _expires(operation: Operation) -> bool:
    return isinstance(operation, ExpireSession) or (isinstance(operation, CloseSession) and operation.silent)


def _detached(state: State, fork: State, gateway: str) -> Iterator[tuple[str, int, int]]:
    """The attachments that a request of ``gateway``, applied in ``fork``, ended at another."""
    for session in fork.sessions_put:
        before = state.session(session)
        if before is not None and before.gateway != gateway:
            yield before.gateway, session, before.epoch
