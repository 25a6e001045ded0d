"""The requests that only read: what each answers, by storage and by this gateway's own watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from faaskeeper.blocks.errors import Unavailable
from faaskeeper.storage.sessions import list_ephemerals
from faaskeeper.storage.znodes import NodeItem
from faaskeeper.znode import paths
from faaskeeper.znode.acl import in_order, masked_for_reader, may_read
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Event, EventKind, Identity, Znode
from faaskeeper.znode.operations import ListChildren
from faaskeeper_client.gateway.watches import Registration, WatchKind
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

if TYPE_CHECKING:
    from faaskeeper_client.gateway.connection import Connection
    from faaskeeper_client.gateway.gateway import Gateway

T = TypeVar("T")

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


class Queries:
    """The reads of one connection."""

    def __init__(self, gateway: Gateway, connection: Connection) -> None:
        self._gateway = gateway
        self._connection = connection
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
        if watches and not self._gateway.watches:
            await self._gateway.observer.keep_up()
        return await self._run[type(request.body)](request.xid, request.body)

    async def _exists(self, xid: int, body: Exists) -> Result:
        if "\0" in body.path:
            return _error(xid, Code.BAD_ARGUMENTS)
        watching = self._begin(WatchKind.DATA, body.path, body.watch)
        node = await self._node(body.path, WatchKind.DATA if body.watch else None)
        znode = node.znode
        if znode is None:
            return _error(xid, Code.NO_NODE, node.zxid, self._watched(watching, node))
        if not self._may_read(znode):
            return self._refused(xid, Code.NO_AUTH, node, watching)
        stat = znode.stat
        return Result(node.zxid, lambda z: responses.stat(xid, z, stat), self._watched(watching, node))

    async def _get_data(self, xid: int, body: GetData) -> Result:
        path = body.path or "/"
        watching = self._begin(WatchKind.DATA, path, body.watch)
        if not paths.is_valid(path):
            return self._refused(xid, Code.NO_NODE, NodeItem(path, {}), watching)
        found = await self._gateway.reader.data(path, WatchKind.DATA if body.watch else None)
        node, znode = found.node, found.node.znode
        if znode is None:
            return self._refused(xid, Code.NO_NODE, node, watching)
        if not self._may_read(znode):
            return self._refused(xid, Code.NO_AUTH, node, watching)
        stat = znode.stat
        return Result(node.zxid, lambda z: responses.data(xid, z, found.data, stat), self._watched(watching, node))

    async def _get_acl(self, xid: int, body: GetAcl) -> Result:
        node = await self._node(body.path)
        znode = node.znode
        if znode is None:
            return _error(xid, Code.NO_NODE, node.zxid)
        try:
            entries = masked_for_reader(znode.acl, self._connection.caller)
        except ZnodeError as error:
            return _error(xid, error.code, node.zxid)
        return Result(node.zxid, lambda z: responses.acls(xid, z, entries, znode.stat))

    async def _get_children(self, xid: int, body: GetChildren) -> Result:
        path = body.path or "/"
        watching = self._begin(WatchKind.CHILD, path, body.watch)
        if not paths.is_valid(path):
            return self._refused(xid, Code.NO_NODE, NodeItem(path, {}), watching)
        listing = await self._gateway.reader.children(path, WatchKind.CHILD if body.watch else None)
        if listing is None:
            return await self._children_by_sequencer(xid, path, body.with_stat, watching)
        node, znode = listing.node, listing.node.znode
        if znode is None:
            return self._refused(xid, Code.NO_NODE, node, watching)
        if not self._may_read(znode):
            return self._refused(xid, Code.NO_AUTH, node, watching)
        stat = znode.stat if body.with_stat else None
        return Result(
            node.zxid, lambda z: responses.children(xid, z, listing.names, stat), self._watched(watching, node)
        )

    async def _get_all_children_number(self, xid: int, body: GetAllChildrenNumber) -> Result:
        """All of one state: that which was complete before, if nothing counted is newer. Where the tree changes during
        each of a few attempts, the last one counts as it is."""
        await self._gateway.observer.catch_up()
        total = zxid = 0
        for _ in range(_MAX_COUNTS):
            complete = self._gateway.observer.complete
            node = await self._node(body.path)
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
            await self._gateway.observer.observe(zxid)
        return Result(zxid, lambda z: responses.number(xid, z, total))

    async def _below(self, path: str) -> tuple[int, int]:
        """(how many znodes there are below ``path``, the latest zxid seen among them), counted level by level.
        Raises ZnodeError."""
        total = zxid = 0
        level = [path]
        while level:
            listings = await _gather(self._listing(path) for path in level)
            zxid = max([zxid, *(seen for seen, _ in listings)])
            level = [
                paths.child(path, name) for path, (_, names) in zip(level, listings, strict=True) for name in names
            ]
            total += len(level)
        return total, zxid

    async def _listing(self, path: str) -> tuple[int, tuple[str, ...]]:
        """(zxid, names); no names if the node is gone by now. Raises ZnodeError if nobody can list it."""
        listing = await self._gateway.reader.children(path)
        if listing is not None:
            return listing.node.zxid, listing.names
        outcome = await self._connection.ask(ListChildren(path))
        if outcome.code not in (Code.OK, Code.NO_NODE):
            raise ZnodeError(outcome.code, path)
        return outcome.zxid, outcome.names or ()

    async def _children_by_sequencer(
        self, xid: int, path: str, with_stat: bool, watching: Registration | None
    ) -> Result:
        """For a node that changes too fast to be listed from here. A watch is set after the listing: if the node is
        not as it was listed by then, the change that the watch would have seen is at hand."""
        outcome = await self._connection.ask(ListChildren(path))
        if outcome.code is not Code.OK:
            return self._refused(xid, outcome.code, NodeItem(path, {}), watching)
        names, stat = outcome.names or (), outcome.stat
        if watching is not None:
            node = await self._gateway.reader.node(path, WatchKind.CHILD)
            znode = node.znode
            changed = node.zxid if znode is None else znode.pzxid
            if changed > outcome.zxid:
                await self._gateway.observer.observe(node.zxid)
                kind, acl = (EventKind.DELETED, OPEN_ACL) if znode is None else (EventKind.CHILDREN, znode.acl)
                watching.missed.append(Event(changed, path, kind, acl))
        armed = () if watching is None else ((watching, outcome.zxid),)
        return Result(outcome.zxid, lambda z: responses.children(xid, z, names, stat if with_stat else None), armed)

    async def _get_ephemerals(self, xid: int, body: GetEphemerals) -> Result:
        owned = await list_ephemerals(self._gateway.bulk, self._gateway.service, self._connection.caller.session)
        # the list carries no zxid, so the present one stands for it
        head = await self._gateway.observer.catch_up()
        matching = [path for path in owned if path.startswith(body.prefix)]
        return Result(head.zxid if head else 0, lambda z: responses.paths(xid, z, matching))

    async def _sync(self, xid: int, body: Sync) -> Result:
        head = await self._gateway.observer.catch_up()
        return Result(head.zxid if head else 0, lambda z: responses.path(xid, z, body.path))

    async def _multi_read(self, xid: int, body: MultiRead) -> Result:
        """All of one state: that which was complete before, if nothing read is newer."""
        for _ in range(_MAX_TRIES):
            complete = self._gateway.observer.complete
            found = await _gather(self._part(read) for read in body.reads)
            zxid = max((part_zxid for part_zxid, _ in found), default=0)
            if zxid <= complete:
                parts = [part for _, part in found]
                return Result(zxid, lambda z, parts=parts: responses.multi_read(xid, z, parts))
            await self._gateway.observer.observe(zxid)
        raise Unavailable("storage", "multi_read", "Changing", "what a multiRead names does not hold still")

    async def _part(self, read: GetData | GetChildren) -> tuple[int, bytes]:
        path = read.path or "/"
        if not paths.is_valid(path):
            return 0, responses.error_result(Code.NO_NODE)
        if isinstance(read, GetData):
            found = await self._gateway.reader.data(path)
            node = found.node
            znode = node.znode
            if znode is not None and self._may_read(znode):
                return node.zxid, responses.data_result(found.data, znode.stat)
        else:
            listing = await self._gateway.reader.children(path)
            if listing is None:
                raise Unavailable("storage", "multi_read", "Changing", f"children of {path!r} do not hold still")
            node = listing.node
            znode = node.znode
            if znode is not None and self._may_read(znode):
                return node.zxid, responses.children_result(listing.names)
        return node.zxid, responses.error_result(Code.NO_NODE if znode is None else Code.NO_AUTH)

    async def _check_watches(self, xid: int, body: CheckWatches) -> Result:
        def encode(zxid: int) -> bytes:
            found = self._gateway.watches.has(self._connection, body.path, _KINDS[body.kind])
            return responses.reply(xid, zxid) if found else responses.error(xid, zxid, Code.NO_WATCHER)

        return Result(0, encode)

    async def _remove_watches(self, xid: int, body: RemoveWatches) -> Result:
        def encode(zxid: int) -> bytes:
            found = self._gateway.watches.remove(self._connection, body.path, _KINDS[body.kind])
            return responses.reply(xid, zxid) if found else responses.error(xid, zxid, Code.NO_WATCHER)

        return Result(0, encode)

    async def _add_watch(self, xid: int, body: AddWatch) -> Result:
        kind = WatchKind.RECURSIVE if body.recursive else WatchKind.PERSISTENT
        armed = await self._persist(kind, body.path)
        return Result(armed[1], lambda z: responses.number(xid, z, 0), (armed,))

    async def _set_watches(self, xid: int, body: SetWatches) -> Result:
        """After a reconnect: what changed since the client's zxid fires at once, the rest is set (DataTree)."""
        since = body.relative_zxid
        checks: list[Coroutine[Any, Any, tuple[NodeItem | None, Event | None, tuple[Registration, int] | None]]] = [
            *(self._rearm(WatchKind.DATA, path, lambda n, p=path: _data_news(n, p, since)) for path in body.data),
            *(self._rearm(WatchKind.DATA, path, lambda n, p=path: _exist_news(n, p)) for path in body.exist),
            *(self._rearm(WatchKind.CHILD, path, lambda n, p=path: _child_news(n, p, since)) for path in body.child),
        ]
        found = await _gather(checks)
        lasting = await _gather(
            [
                *(self._persist(WatchKind.PERSISTENT, path) for path in body.persistent),
                *(self._persist(WatchKind.RECURSIVE, path) for path in body.recursive),
            ]
        )
        return Result(
            max([0, *(node.zxid for node, _, _ in found if node), *(zxid for _, zxid in lasting)]),
            lambda z: responses.reply(xid, z),
            (*(armed for _, _, armed in found if armed), *lasting),
            tuple(event for _, event, _ in found if event),
        )

    async def _rearm(
        self, kind: WatchKind, path: str, news: Callable[[NodeItem], Event | None]
    ) -> tuple[NodeItem | None, Event | None, tuple[Registration, int] | None]:
        registration = self._gateway.watches.begin(kind, path, self._connection)
        node = await self._node(path, kind)
        event = news(node)
        if event is not None:
            self._gateway.watches.cancel(registration)
            return node, event, None
        return node, None, (registration, node.zxid)

    async def _persist(self, kind: WatchKind, path: str) -> tuple[Registration, int]:
        """Sets a persistent watch: (registration, the zxid from which on it counts)."""
        registration = self._gateway.watches.begin(kind, path, self._connection)
        if not paths.is_valid(path):
            return registration, 0
        return registration, await self._gateway.watch_lastingly(kind, path)

    async def _who_am_i(self, xid: int, body: WhoAmI) -> Result:
        caller = self._connection.caller
        identities = (*caller.identities, Identity("super", "")) if caller.superuser else caller.identities
        shown = [
            identity._replace(id=identity.id.partition(":")[0]) if identity.scheme == "digest" else identity
            for identity in in_order(identities)
        ]
        return Result(0, lambda z: responses.identities(xid, z, shown))

    async def _reconfig(self, xid: int, body: Reconfig) -> Result:
        return _error(xid, Code.UNIMPLEMENTED)

    async def _node(self, path: str, watch: WatchKind | None = None) -> NodeItem:
        path = path or "/"
        if not paths.is_valid(path):
            return NodeItem(path, {})
        return await self._gateway.reader.node(path, watch)

    def _begin(self, kind: WatchKind, path: str, watch: bool) -> Registration | None:
        return self._gateway.watches.begin(kind, path or "/", self._connection) if watch else None

    def _watched(self, registration: Registration | None, node: NodeItem) -> tuple[tuple[Registration, int], ...]:
        return () if registration is None else ((registration, node.zxid),)

    def _refused(self, xid: int, code: Code, node: NodeItem, registration: Registration | None) -> Result:
        """An error that sets no watch."""
        if registration is not None:
            self._gateway.watches.cancel(registration)
        return _error(xid, code, node.zxid)

    def _may_read(self, znode: Znode) -> bool:
        return may_read(znode.acl, self._connection.caller)


def _error(xid: int, code: Code, zxid: int = 0, registrations: tuple[tuple[Registration, int], ...] = ()) -> Result:
    return Result(zxid, lambda z: responses.error(xid, z, code), registrations)


def _data_news(node: NodeItem, path: str, since: int) -> Event | None:
    znode = node.znode
    if znode is None:
        return Event(node.zxid, path, EventKind.DELETED)
    return Event(node.zxid, path, EventKind.DATA, znode.acl) if znode.mzxid > since else None


def _exist_news(node: NodeItem, path: str) -> Event | None:
    znode = node.znode
    return None if znode is None else Event(node.zxid, path, EventKind.CREATED, znode.acl)


def _child_news(node: NodeItem, path: str, since: int) -> Event | None:
    znode = node.znode
    if znode is None:
        return Event(node.zxid, path, EventKind.DELETED)
    return Event(node.zxid, path, EventKind.CHILDREN, znode.acl) if znode.pzxid > since else None


async def _gather(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    limit = asyncio.Semaphore(_MAX_AT_ONCE)

    async def bounded(one: Coroutine[Any, Any, T]) -> T:
        async with limit:
            return await one

    coroutines = list(work)
    tasks = [asyncio.ensure_future(bounded(one)) for one in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # when one fails, its connection ends: no other may set a watch for it any more
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in coroutines:
            one.close()
