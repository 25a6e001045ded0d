"""What the connections of this gateway watch, and which events each of them is sent.

The sets in storage say only that some connection of this gateway may be watching; what is watched is here, per
connection, as in ZooKeeper (WatchManager). An entry carries the zxid of the state that its client was shown: events
up to that zxid are no news to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from faaskeeper.storage.znodes import WATCH_CHILD, WATCH_DATA, WATCH_STAY
from faaskeeper.znode.model import Event, EventKind
from faaskeeper.znode.paths import Tops


class Watcher(Protocol):
    """A connection, as far as watches are concerned."""

    @property
    def session_id(self) -> int: ...

    def deliver(self, event: Event) -> None:
        """Sends the event, unless the client may not read the node."""
        ...


class WatchKind(Enum):
    """A watch's kind, by the set in storage that it needs. getData and exists watches are one kind."""

    DATA = WATCH_DATA
    CHILD = WATCH_CHILD
    PERSISTENT = WATCH_STAY
    RECURSIVE = "recursive"


AS_DATA_WATCHES = (WatchKind.DATA, WatchKind.PERSISTENT, WatchKind.RECURSIVE)
"""What ZooKeeper keeps among its data watches, which its administrators are shown (DataTree.addWatch)."""
AS_CHILD_WATCHES = (WatchKind.CHILD, WatchKind.PERSISTENT)
"""What it keeps among its child watches, which it only counts."""
_FIRED_BY: dict[EventKind, tuple[WatchKind, ...]] = {
    EventKind.CREATED: (WatchKind.DATA, WatchKind.PERSISTENT),
    EventKind.DELETED: (WatchKind.DATA, WatchKind.CHILD, WatchKind.PERSISTENT),
    EventKind.DATA: (WatchKind.DATA, WatchKind.PERSISTENT),
    EventKind.CHILDREN: (WatchKind.CHILD, WatchKind.PERSISTENT),
}
_ONE_SHOT = frozenset({WatchKind.DATA, WatchKind.CHILD})
_MAX_ARMED = 100_000


@dataclass(slots=True, eq=False)
class Registration:
    """A watch that is being set: it counts from before storage is asked until its reply has been sent.

    What happens meanwhile is kept, and sent after the reply if the reply does not show it already.
    """

    kind: WatchKind
    path: str
    watcher: Watcher
    missed: list[Event] = field(default_factory=list[Event])

    def is_used_up(self, after: int, upto: int) -> bool:
        """Whether an event in (after, upto] is all that this watch was to tell."""
        return self.kind in _ONE_SHOT and any(after < event.zxid <= upto for event in self.missed)


class Watches:
    """Every watch of this gateway. ``unwatched`` is told when the last watch of a kind on a path is gone."""

    def __init__(self, unwatched: Callable[[WatchKind, str], None]) -> None:
        self._unwatched = unwatched
        self._entries: dict[WatchKind, dict[str, dict[Watcher, int]]] = {kind: {} for kind in WatchKind}
        self._pending: dict[tuple[WatchKind, str], list[Registration]] = defaultdict(list)
        self._subtrees = Tops()
        """Where anyone watches recursively."""
        self._of: dict[Watcher, dict[tuple[WatchKind, str], None]] = defaultdict(dict)
        self.armed: set[tuple[WatchKind, str]] = set()
        """(kind, path) whose set in storage probably names this gateway: then a read need not register again."""

    def __bool__(self) -> bool:
        """Whether any event could concern this gateway."""
        return bool(self._of or self._pending)

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._of.values())

    def arm(self, kind: WatchKind, path: str) -> None:
        """Notes that the set in storage names this gateway; of the sets that empty themselves when they fire, some
        may be forgotten, which costs another registration."""
        if len(self.armed) >= _MAX_ARMED:
            self.armed = {each for each in self.armed if each[0] not in _ONE_SHOT}
        self.armed.add((kind, path))

    def begin(self, kind: WatchKind, path: str, watcher: Watcher) -> Registration:
        """To be called before storage is asked, so that no event falls between."""
        registration = Registration(kind, path, watcher)
        self._pending[kind, path].append(registration)
        if kind is WatchKind.RECURSIVE:
            self._subtrees.add(path)
        return registration

    def cancel(self, registration: Registration) -> None:
        key = (registration.kind, registration.path)
        pending = self._pending.get(key, [])
        if registration in pending:
            pending.remove(registration)
            if not pending:
                del self._pending[key]
                self._tidy(*key)

    def complete(self, registration: Registration, zxid: int) -> None:
        """To be called right after the reply was sent that shows the state at ``zxid``."""
        self.cancel(registration)
        kind, watcher = registration.kind, registration.watcher
        news = [event for event in registration.missed if event.zxid > zxid]
        if kind in _ONE_SHOT and news:
            watcher.deliver(news[0])
            return
        self._add(kind, registration.path, watcher, zxid)
        for event in news:
            watcher.deliver(event)

    def fire(self, event: Event) -> None:
        """Sends the event to every connection that it is news for; one-shot watches are used up."""
        receivers: dict[Watcher, None] = {}
        for kind in _FIRED_BY[event.kind]:
            key = (kind, event.path)
            if kind in _ONE_SHOT:
                self.armed.discard(key)
            for registration in self._pending.get(key, ()):
                registration.missed.append(event)
            entries = self._entries[kind].get(event.path, {})
            for watcher in [watcher for watcher, zxid in entries.items() if event.zxid > zxid]:
                receivers[watcher] = None
                if kind in _ONE_SHOT:
                    self._discard(kind, event.path, watcher)
        if event.kind is not EventKind.CHILDREN:
            for path in self._subtrees.over(event.path):
                for registration in self._pending.get((WatchKind.RECURSIVE, path), ()):
                    registration.missed.append(event)
                for watcher, zxid in self._entries[WatchKind.RECURSIVE].get(path, {}).items():
                    if event.zxid > zxid:
                        receivers[watcher] = None
        for watcher in receivers:
            watcher.deliver(event)

    def has(self, watcher: Watcher, path: str, kinds: Iterable[WatchKind]) -> bool:
        return any(watcher in self._entries[kind].get(path, {}) for kind in kinds)

    def remove(self, watcher: Watcher, path: str, kinds: Iterable[WatchKind]) -> bool:
        """Whether there was any."""
        found = [kind for kind in kinds if watcher in self._entries[kind].get(path, {})]
        for kind in found:
            self._discard(kind, path, watcher)
        return bool(found)

    def forget(self, watcher: Watcher) -> None:
        """Drops all watches of a connection that is gone."""
        for kind, path in list(self._of.get(watcher, ())):
            self._discard(kind, path, watcher)
        for pending in list(self._pending.values()):
            for registration in list(pending):
                if registration.watcher is watcher:
                    self.cancel(registration)

    def anyone(self, kind: WatchKind, path: str) -> bool:
        """Whether a connection watches ``path`` in this way, or is about to."""
        return bool(self._entries[kind].get(path)) or (kind, path) in self._pending

    def by_session(self, kinds: Collection[WatchKind]) -> Iterator[tuple[int, list[str]]]:
        """Each session that watches in one of these ways, with the paths it watches so."""
        for watcher, entries in self._of.items():
            paths = {path for kind, path in entries if kind in kinds}
            if paths:
                yield watcher.session_id, sorted(paths)

    def _add(self, kind: WatchKind, path: str, watcher: Watcher, zxid: int) -> None:
        entries = self._entries[kind].setdefault(path, {})
        entries[watcher] = max(zxid, entries.get(watcher, zxid))
        if kind is WatchKind.RECURSIVE:
            self._subtrees.add(path)
        self._of[watcher][kind, path] = None

    def _discard(self, kind: WatchKind, path: str, watcher: Watcher) -> None:
        entries = self._entries[kind][path]
        del entries[watcher]
        if not entries:
            del self._entries[kind][path]
            self._tidy(kind, path)
            self._unwatched(kind, path)
        self._of[watcher].pop((kind, path), None)
        if not self._of[watcher]:
            del self._of[watcher]

    def _tidy(self, kind: WatchKind, path: str) -> None:
        if kind is WatchKind.RECURSIVE and not self.anyone(kind, path):
            self._subtrees.discard(path)
