"""setWatches: a client that comes back has its watches set again, and is told what it missed (DataTree.setWatches)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from faaskeeper.znode.model import Event, EventKind
from faaskeeper_client.gateway.life import Life
from faaskeeper_client.gateway.node_state import NodeState
from faaskeeper_client.gateway.tasks import gather
from faaskeeper_client.gateway.watches import Registration, Watcher, WatchKind
from faaskeeper_client.wire.requests import SetWatches


class SetAgain(NamedTuple):
    """``zxid`` is the latest that was read, ``missed`` are the events of what changed since the client's zxid;
    ``registrations`` are of the rest, each with the zxid of the state it saw."""

    zxid: int
    missed: tuple[Event, ...]
    registrations: tuple[tuple[Registration, int], ...]


_Rearmed = tuple[NodeState, Event | None, Registration | None]


async def set_again(life: Life, watcher: Watcher, wanted: SetWatches, at_once: int) -> SetAgain:
    """With up to ``at_once`` requests to storage under way. Raises AwsError, ConnectionLost."""
    since = wanted.relative_zxid
    found = await gather(_rearm_each(life, watcher, wanted, since), at_once)
    lasting = await gather(
        [
            *(life.lasting_watches.begin(WatchKind.PERSISTENT, path, watcher) for path in wanted.persistent),
            *(life.lasting_watches.begin(WatchKind.RECURSIVE, path, watcher) for path in wanted.recursive),
        ],
        at_once,
    )
    return SetAgain(
        max([0, *(node.zxid for node, _, _ in found), *(zxid for _, zxid in lasting)]),
        tuple(event for _, event, _ in found if event),
        (*((armed, node.zxid) for node, _, armed in found if armed), *lasting),
    )


def _rearm_each(life: Life, watcher: Watcher, wanted: SetWatches, since: int) -> list[Coroutine[Any, Any, _Rearmed]]:
    async def rearm(kind: WatchKind, path: str, news: Callable[[NodeState], Event | None]) -> _Rearmed:
        registration = life.watches.begin(kind, path, watcher)
        node = await life.storage.node(path, kind)
        event = news(node)
        if event is not None:
            life.watches.cancel(registration)
            return node, event, None
        return node, None, registration

    return [
        *(rearm(WatchKind.DATA, path, lambda node, p=path: _data_news(node, p, since)) for path in wanted.data),
        *(rearm(WatchKind.DATA, path, lambda node, p=path: _exist_news(node, p)) for path in wanted.exist),
        *(rearm(WatchKind.CHILD, path, lambda node, p=path: _child_news(node, p, since)) for path in wanted.child),
    ]


def _data_news(node: NodeState, path: str, since: int) -> Event | None:
    znode = node.znode
    if znode is None:
        return Event(node.zxid, path, EventKind.DELETED)
    return Event(node.zxid, path, EventKind.DATA, znode.acl) if znode.mzxid > since else None


def _exist_news(node: NodeState, path: str) -> Event | None:
    znode = node.znode
    return None if znode is None else Event(node.zxid, path, EventKind.CREATED, znode.acl)


def _child_news(node: NodeState, path: str, since: int) -> Event | None:
    znode = node.znode
    if znode is None:
        return Event(node.zxid, path, EventKind.DELETED)
    return Event(node.zxid, path, EventKind.CHILDREN, znode.acl) if znode.pzxid > since else None
