"""The requests that only read: what each answers, by storage and by this gateway's own watches.

How a znode is read from storage, ``storage_reads`` knows; when its reply is sent, the pipeline does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from faaskeeper.blocks.errors import Unavailable
from faaskeeper.storage.sessions import list_ephemerals
from faaskeeper.znode import paths
from faaskeeper.znode.acl import Caller, in_order, masked_for_reader, may_read
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Event, EventKind, Identity, Znode
from faaskeeper.znode.operations import ListChildren, Operation, Outcome
from faaskeeper_client.gateway.life import Life
from faaskeeper_client.gateway.node_state import NodeChildren, NodeData, NodeState
from faaskeeper_client.gateway.set_watches import set_again
from faaskeeper_client.gateway.tasks import gather
from faaskeeper_client.gateway.watches import Registration, Watcher, WatchKind
from faaskeeper_client.wire import responses
from faaskeeper_client.wire.requests import (
    AddWatch,
    CheckWatches,
    Exists,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    MultiRead,
    Reconfig,
    RemoveWatches,
    Request,
    SetWatches,
    Sync,
    WatcherType,
    WhoAmI,
)

_MAX_AT_ONCE = 16
"""Storage requests that one client request may have under way."""
_MAX_TRIES = 20
_MAX_COUNTS = 3

_KINDS: dict[WatcherType, tuple[WatchKind, ...]] = {
    WatcherType.CHILDREN: (WatchKind.CHILD,),
    WatcherType.DATA: (WatchKind.DATA,),
    WatcherType.ANY: tuple(WatchKind),
    WatcherType.PERSISTENT: (WatchKind.PERSISTENT,),
    WatcherType.PERSISTENT_RECURSIVE: (WatchKind.RECURSIVE,),
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a read found. ``zxid`` is the latest that it reflects, 0 if none is known.

    In its turn, first ``events`` are delivered, then ``encode``, given the header's zxid, makes the reply, then the
    ``registrations`` become watches, each with the zxid of the state it saw.
    """

    zxid: int
    encode: Callable[[int], bytes]
    registrations: tuple[tuple[Registration, int], ...] = ()
    events: tuple[Event, ...] = ()


class Asker(Watcher, Protocol):
    """A connection, as far as its reads are concerned."""

    caller: Caller

    async def ask(self, operation: Operation) -> Outcome:
        """Has the sequencer answer a read. Raises ConnectionLost."""
        ...


class ReadRequests:
    """The reads of one connection."""

    def __init__(self, life: Life, asker: Asker) -> None:
        self._life = life
        self._asker = asker
        self._run: dict[type[Any], Callable[[int, Any], Awaitable[Result]]] = {
            Exists: self._exists,
            GetData: self._get_data,
            GetAcl: self._get_acl,
            GetChildren: self._get_children,
            GetAllChildrenNumber: self._get_all_children_number,
            GetEphemerals: self._get_ephemerals,
            Sync: self._sync,
            MultiRead: self._multi_read,
            CheckWatches: self._check_watches,
            RemoveWatches: self._remove_watches,
            AddWatch: self._add_watch,
            SetWatches: self._set_watches,
            WhoAmI: self._who_am_i,
            Reconfig: self._reconfig,
        }

    async def run(self, request: Request) -> Result:
        """Raises AwsError."""
        watches = isinstance(request.body, AddWatch | SetWatches) or getattr(request.body, "watch", False)
        if watches and not self._life.watches:
            await self._life.observer.keep_up()
        return await self._run[type(request.body)](request.xid, request.body)

    def at_once(self, body: Exists | GetData | GetChildren, xid: int) -> Result | None:
        """The result of what is known already; None if storage has to be asked, or the observer."""
        kind = WatchKind.CHILD if isinstance(body, GetChildren) else WatchKind.DATA
        watch = kind if body.watch else None
        life, path = self._life, body.path or "/"
        if not life.cache.lease.holds or (watch is not None and not life.watches):
            return None
        if isinstance(body, GetData):
            found = life.cache.data(path, watch and watch.value)
            return None if found is None else self._data(xid, found, self._begin(kind, path, body.watch))
        if isinstance(body, GetChildren):
            known = life.cache.children(path, watch and watch.value)
            return None if known is None else self._children(xid, body, known, self._begin(kind, path, body.watch))
        node = life.cache.node(path, watch and watch.value)
        return None if node is None else self._stat(xid, node, self._begin(kind, path, body.watch))

    async def _exists(self, xid: int, body: Exists) -> Result:
        if "\0" in body.path:
            return _error(xid, Code.BAD_ARGUMENTS)
        watching = self._begin(WatchKind.DATA, body.path, body.watch)
        node = await self._life.storage.node(body.path, WatchKind.DATA if body.watch else None)
        return self._stat(xid, node, watching)

    def _stat(self, xid: int, node: NodeState, watching: Registration | None) -> Result:
        znode = node.znode
        if znode is None:
            return _error(xid, Code.NO_NODE, node.zxid, self._watched(watching, node))
        if not self._may_read(znode):
            return self._refused(xid, Code.NO_AUTH, node, watching)
        return Result(node.zxid, lambda z: responses.stat(xid, z, znode.stat), self._watched(watching, node))

    async def _get_data(self, xid: int, body: GetData) -> Result:
        path = body.path or "/"
        watching = self._begin(WatchKind.DATA, path, body.watch)
        if not paths.is_valid(path):
            return self._refused(xid, Code.NO_NODE, NodeState(path), watching)
        return self._data(xid, await self._life.storage.data(path, WatchKind.DATA if body.watch else None), watching)

    def _data(self, xid: int, found: NodeData, watching: Registration | None) -> Result:
        node, znode = found.node, found.node.znode
        if znode is None:
            return self._refused(xid, Code.NO_NODE, node, watching)
        if not self._may_read(znode):
            return self._refused(xid, Code.NO_AUTH, node, watching)
        stat = znode.stat
        return Result(node.zxid, lambda z: responses.data(xid, z, found.data, stat), self._watched(watching, node))

    async def _get_acl(self, xid: int, body: GetAcl) -> Result:
        node = await self._life.storage.node(body.path)
        znode = node.znode
        if znode is None:
            return _error(xid, Code.NO_NODE, node.zxid)
        try:
            entries = masked_for_reader(znode.acl, self._asker.caller)
        except ZnodeError as error:
            return _error(xid, error.code, node.zxid)
        return Result(node.zxid, lambda z: responses.acls(xid, z, entries, znode.stat))

    async def _get_children(self, xid: int, body: GetChildren) -> Result:
        path = body.path or "/"
        watching = self._begin(WatchKind.CHILD, path, body.watch)
        if not paths.is_valid(path):
            return self._refused(xid, Code.NO_NODE, NodeState(path), watching)
        known = await self._life.storage.children(path, WatchKind.CHILD if body.watch else None)
        if known is None:
            return await self._children_by_sequencer(xid, path, body.with_stat, watching)
        return self._children(xid, body, known, watching)

    def _children(self, xid: int, body: GetChildren, known: NodeChildren, watching: Registration | None) -> Result:
        node, znode = known.node, known.node.znode
        if znode is None:
            return self._refused(xid, Code.NO_NODE, node, watching)
        if not self._may_read(znode):
            return self._refused(xid, Code.NO_AUTH, node, watching)
        stat = znode.stat if body.with_stat else None
        return Result(node.zxid, lambda z: responses.children(xid, z, known.names, stat), self._watched(watching, node))

    async def _get_all_children_number(self, xid: int, body: GetAllChildrenNumber) -> Result:
        """All of one state: the one that was complete before, if nothing counted is newer. Where the tree changes
        during each of a few attempts, the last one counts as it is."""
        await self._life.observer.catch_up()
        total = zxid = 0
        for _ in range(_MAX_COUNTS):
            complete = self._life.observer.complete
            node = await self._life.storage.node(body.path)
            if node.znode is None:
                return _error(xid, Code.NO_NODE, node.zxid)
            if not self._may_read(node.znode):
                return _error(xid, Code.NO_AUTH, node.zxid)
            try:
                total, zxid = await self._below(body.path or "/")
            except ZnodeError as error:
                return _error(xid, error.code)
            if zxid <= complete:
                break
            await self._life.observer.observe(zxid)
        return Result(zxid, lambda z: responses.number(xid, z, total))

    async def _below(self, path: str) -> tuple[int, int]:
        """(how many znodes there are below ``path``, the latest zxid seen among them), counted level by level.
        Raises ZnodeError."""
        total = zxid = 0
        level = [path]
        while level:
            listings = await gather((self._listing(path) for path in level), _MAX_AT_ONCE)
            zxid = max([zxid, *(seen for seen, _ in listings)])
            level = [
                paths.child(path, name) for path, (_, names) in zip(level, listings, strict=True) for name in names
            ]
            total += len(level)
        return total, zxid

    async def _listing(self, path: str) -> tuple[int, tuple[str, ...]]:
        """(zxid, names); no names if the node is gone by now. Raises ZnodeError if nobody can list it."""
        listing = await self._life.storage.children(path)
        if listing is not None:
            return listing.node.zxid, listing.names
        outcome = await self._asker.ask(ListChildren(path))
        if outcome.code not in (Code.OK, Code.NO_NODE):
            raise ZnodeError(outcome.code, path)
        return outcome.zxid, outcome.names or ()

    async def _children_by_sequencer(
        self, xid: int, path: str, with_stat: bool, watching: Registration | None
    ) -> Result:
        """For a node that changes too fast to be listed from here. A watch is set after the listing: if the node is
        not as it was listed by then, the change that the watch would have seen is at hand."""
        outcome = await self._asker.ask(ListChildren(path))
        if outcome.code is not Code.OK:
            return self._refused(xid, outcome.code, NodeState(path), watching)
        names, stat = outcome.names or (), outcome.stat
        if watching is not None:
            node = await self._life.storage.node(path, WatchKind.CHILD)
            znode = node.znode
            changed = node.zxid if znode is None else znode.pzxid
            if changed > outcome.zxid:
                await self._life.observer.observe(node.zxid)
                kind, acl = (EventKind.DELETED, OPEN_ACL) if znode is None else (EventKind.CHILDREN, znode.acl)
                watching.missed.append(Event(changed, path, kind, acl))
        armed = () if watching is None else ((watching, outcome.zxid),)
        return Result(outcome.zxid, lambda z: responses.children(xid, z, names, stat if with_stat else None), armed)

    async def _get_ephemerals(self, xid: int, body: GetEphemerals) -> Result:
        owned = await list_ephemerals(self._life.bulk, self._life.service, self._asker.caller.session)
        # the list carries no zxid, so the present one stands for it
        head = await self._life.observer.catch_up()
        matching = [path for path in owned if path.startswith(body.prefix)]
        return Result(head.zxid if head else 0, lambda z: responses.paths(xid, z, matching))

    async def _sync(self, xid: int, body: Sync) -> Result:
        head = await self._life.observer.catch_up()
        return Result(head.zxid if head else 0, lambda z: responses.path(xid, z, body.path))

    async def _multi_read(self, xid: int, body: MultiRead) -> Result:
        """All of one state: the one that was complete before, if nothing read is newer."""
        for _ in range(_MAX_TRIES):
            complete = self._life.observer.complete
            found = await gather((self._part(read) for read in body.reads), _MAX_AT_ONCE)
            zxid = max((part_zxid for part_zxid, _ in found), default=0)
            if zxid <= complete:
                parts = [part for _, part in found]
                return Result(zxid, lambda z, parts=parts: responses.multi_read(xid, z, parts))
            await self._life.observer.observe(zxid)
        raise Unavailable("storage", "multi_read", "Changing", "what a multiRead names does not hold still")

    async def _part(self, read: GetData | GetChildren) -> tuple[int, bytes]:
        path = read.path or "/"
        if not paths.is_valid(path):
            return 0, responses.error_result(Code.NO_NODE)
        if isinstance(read, GetData):
            found = await self._life.storage.data(path)
            node = found.node
            znode = node.znode
            if znode is not None and self._may_read(znode):
                return node.zxid, responses.data_result(found.data, znode.stat)
        else:
            listing = await self._life.storage.children(path)
            if listing is None:
                raise Unavailable("storage", "multi_read", "Changing", f"children of {path!r} do not hold still")
            node = listing.node
            znode = node.znode
            if znode is not None and self._may_read(znode):
                return node.zxid, responses.children_result(listing.names)
        return node.zxid, responses.error_result(Code.NO_NODE if znode is None else Code.NO_AUTH)

    async def _check_watches(self, xid: int, body: CheckWatches) -> Result:
        def encode(zxid: int) -> bytes:
            found = self._life.watches.has(self._asker, body.path, _KINDS[body.kind])
            return responses.reply(xid, zxid) if found else responses.error(xid, zxid, Code.NO_WATCHER)

        return Result(0, encode)

    async def _remove_watches(self, xid: int, body: RemoveWatches) -> Result:
        def encode(zxid: int) -> bytes:
            found = self._life.watches.remove(self._asker, body.path, _KINDS[body.kind])
            return responses.reply(xid, zxid) if found else responses.error(xid, zxid, Code.NO_WATCHER)

        return Result(0, encode)

    async def _add_watch(self, xid: int, body: AddWatch) -> Result:
        kind = WatchKind.RECURSIVE if body.recursive else WatchKind.PERSISTENT
        armed = await self._life.lasting_watches.begin(kind, body.path, self._asker)
        return Result(armed[1], lambda z: responses.number(xid, z, 0), (armed,))

    async def _set_watches(self, xid: int, body: SetWatches) -> Result:
        found = await set_again(self._life, self._asker, body, _MAX_AT_ONCE)
        return Result(found.zxid, lambda z: responses.reply(xid, z), found.registrations, found.missed)

    async def _who_am_i(self, xid: int, body: WhoAmI) -> Result:
        caller = self._asker.caller
        identities = (*caller.identities, Identity("super", "")) if caller.superuser else caller.identities
        shown = [
            identity._replace(id=identity.id.partition(":")[0]) if identity.scheme == "digest" else identity
            for identity in in_order(identities)
        ]
        return Result(0, lambda z: responses.identities(xid, z, shown))

    async def _reconfig(self, xid: int, body: Reconfig) -> Result:
        return _error(xid, Code.UNIMPLEMENTED)

    def _begin(self, kind: WatchKind, path: str, watch: bool) -> Registration | None:
        return self._life.watches.begin(kind, path or "/", self._asker) if watch else None

    def _watched(self, registration: Registration | None, node: NodeState) -> tuple[tuple[Registration, int], ...]:
        return () if registration is None else ((registration, node.zxid),)

    def _refused(self, xid: int, code: Code, node: NodeState, registration: Registration | None) -> Result:
        """An error that sets no watch."""
        if registration is not None:
            self._life.watches.cancel(registration)
        return _error(xid, code, node.zxid)

    def _may_read(self, znode: Znode) -> bool:
        return may_read(znode.acl, self._asker.caller)


def _error(xid: int, code: Code, zxid: int = 0, registrations: tuple[tuple[Registration, int], ...] = ()) -> Result:
    return Result(zxid, lambda z: responses.error(xid, z, code), registrations)
