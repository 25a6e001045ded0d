"""Watch events: exactly those that ZooKeeper would send, each once, in order, and before anything that reflects it.

Registrations follow from the connection's own stream: a watch counts from the zxid of the reply that set it, so the
next event on its path is known. It must come before any frame with that zxid or a later one, other than an event of
the same transaction that precedes it; and no other event may come.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

from faaskeeper.znode.acl import may_read
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Event, EventKind
from faaskeeper.znode.paths import ROOT, parent
from faaskeeper_client.wire.requests import AddWatch, Exists, GetChildren, GetData, RemoveWatches, SetWatches
from faaskeeper_simulator.checker.model import caller_of
from faaskeeper_simulator.checker.reads import Reads
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call, Connection, Notification, Pong

_DATA, _CHILD, _PERSISTENT, _RECURSIVE = "data", "child", "persistent", "recursive"
_ONE_SHOT = (_DATA, _CHILD)
_FIRED_BY = {
    EventKind.CREATED: (_DATA, _PERSISTENT),
    EventKind.DELETED: (_DATA, _CHILD, _PERSISTENT),
    EventKind.DATA: (_DATA, _PERSISTENT),
    EventKind.CHILDREN: (_CHILD, _PERSISTENT),
}


class Fired:
    """Every event of the run, in order, by the watches it fires."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self._zxids = [event.zxid for event in events]
        self._of: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, event in enumerate(events):
            for kind in _FIRED_BY[event.kind]:
                self._of[kind, event.path].append(index)
            if event.kind is not EventKind.CHILDREN:
                for path in _ancestors(event.path):
                    self._of[_RECURSIVE, path].append(index)

    def is_told(self, index: int, frame: Notification) -> bool:
        event = self.events[index]
        return (event.zxid, event.kind, event.path) == (frame.zxid, frame.kind, frame.path)

    def first_after(self, kind: str, path: str, zxid: int) -> int | None:
        """The index of the first event above ``zxid`` that a watch of that kind fires for."""
        return self._from(kind, path, bisect_right(self._zxids, zxid))

    def next(self, kind: str, path: str, index: int) -> int | None:
        return self._from(kind, path, index + 1)

    def _from(self, kind: str, path: str, index: int) -> int | None:
        indices = self._of.get((kind, path), [])
        position = bisect_left(indices, index)
        return indices[position] if position < len(indices) else None


def _ancestors(path: str) -> Iterator[str]:
    """``path`` itself, its parent, and so on to the root."""
    while path != ROOT:
        yield path
        path = parent(path)
    yield ROOT


class _Stream:
    """One connection's watches, as its frames go by."""

    def __init__(self, fired: Fired, connection: Connection) -> None:
        self._fired = fired
        self._caller = caller_of(connection.session, "", (("ip", connection.address),))
        self._armed: dict[tuple[str, str], int | None] = {}
        self._due: list[tuple[int, str, str]] = []
        self._told: set[int] = set()

    def arm(self, kind: str, path: str, zxid: int) -> None:
        if (kind, path) not in self._armed:
            self._expect(kind, path, self._fired.first_after(kind, path, zxid))

    def disarm(self, path: str) -> bool:
        found = [key for key in self._armed if key[1] == path]
        for key in found:
            del self._armed[key]
        return bool(found)

    def due(self) -> int | None:
        """The index of the next event that must come."""
        while self._due:
            index, kind, path = self._due[0]
            if self._armed.get((kind, path)) == index:
                return index
            heapq.heappop(self._due)
        return None

    def take(self, frame: Notification, *, in_any_order: bool) -> bool:
        """Whether ``frame`` is the event that is due; ``in_any_order``: or another of the same transaction, as those of
        watches that setWatches set together come one watch after the other."""
        due = self.due()
        if due is None or self._fired.events[due].zxid != frame.zxid:
            return False
        alike = [index for index, _, _ in sorted(self._due) if self._fired.is_told(index, frame)]
        valid = [index for index in alike if any(armed == index for armed in self._armed.values())]
        if not valid or (valid[0] != due and not in_any_order):
            return False
        self._told.add(valid[0])
        for kind, path in [key for key, index in self._armed.items() if index == valid[0]]:
            del self._armed[kind, path]
            if kind not in _ONE_SHOT:
                self._expect(kind, path, self._fired.next(kind, path, valid[0]))
        return True

    def _expect(self, kind: str, path: str, index: int | None) -> None:
        while index is not None and (index in self._told or not may_read(self._fired.events[index].acl, self._caller)):
            # nobody is told of what it may not read, nor twice of what it watches twice; but a watch is used up by it
            if kind in _ONE_SHOT:
                return
            index = self._fired.next(kind, path, index)
        self._armed[kind, path] = index
        if index is not None:
            heapq.heappush(self._due, (index, kind, path))


def check_watches(fired: Fired, reads: Reads, connection: Connection) -> Iterator[Violation]:
    stream = _Stream(fired, connection)
    resumed = any(isinstance(call.body, SetWatches) for call in connection.calls)
    early: list[Notification] = []
    for frame in connection.frames:
        due = stream.due()
        event = None if due is None else fired.events[due]
        if isinstance(frame, Notification):
            if not stream.take(frame, in_any_order=resumed):
                early.append(frame)
            continue
        zxid = frame.zxid
        assert zxid is not None
        when = frame.answered if isinstance(frame, Call) else frame.received
        if event is not None and zxid >= event.zxid:
            yield Violation("watch", f"this came before {event}", when, (connection, frame, *early))
            return
        if isinstance(frame, Call) and isinstance(frame.body, SetWatches):
            for text in _set_anew(stream, fired, reads.missed.get(frame, set()), frame, early):
                yield Violation("watch", text, when, (connection, frame, *early))
            early = []
        elif isinstance(frame, Call):
            text = _register(stream, frame)
            if text:
                yield Violation("watch", text, when, (frame,))
                return
        if early and not (isinstance(frame, Pong) and _sets_anew(connection)):
            text = f"an event that was not due, but {event}"
            yield Violation("watch", text, early[0].received, (connection, *early))
            return
    if early and not _sets_anew(connection):
        yield Violation("watch", "an event that was not due", early[0].received, (connection, *early))


def _sets_anew(connection: Connection) -> bool:
    """Whether setWatches is under way to the end."""
    return any(isinstance(call.body, SetWatches) and call.answered is None for call in connection.calls)


def _register(stream: _Stream, call: Call) -> str:
    """What the reply sets; what is wrong about it, if anything."""
    body, zxid = call.body, call.zxid
    assert call.reply is not None
    assert zxid is not None
    code = call.reply.code
    match body:
        case Exists(path=path, watch=True) if code in (Code.OK, Code.NO_NODE):
            stream.arm(_DATA, path, zxid)
        case GetData(path=path, watch=True) if code is Code.OK:
            stream.arm(_DATA, path, zxid)
        case GetChildren(path=path, watch=True) if code is Code.OK:
            stream.arm(_CHILD, path, zxid)
        case AddWatch(path=path, recursive=recursive) if code is Code.OK:
            stream.arm(_RECURSIVE if recursive else _PERSISTENT, path, zxid)
        case RemoveWatches(path=path):
            expected = Code.OK if stream.disarm(path) else Code.NO_WATCHER
            if code is not expected:
                return f"{expected.name} was due"
        case _:
            pass
    return ""


_NEWS = {
    "data": (EventKind.DATA, EventKind.DELETED, EventKind.CREATED),
    "exist": (EventKind.CREATED, EventKind.DATA),
    "child": (EventKind.CHILDREN, EventKind.DELETED),
}


def _set_anew(
    stream: _Stream, fired: Fired, missed: set[tuple[str, str]], call: Call, early: list[Notification]
) -> Iterator[str]:
    """Each watch is set at a moment of its own up to the reply's zxid. It was told of before the reply if its path has
    changed since the client's zxid (``missed``), once, and only of what did happen; else it is set."""
    body, upto = call.body, call.zxid
    assert isinstance(body, SetWatches)
    assert upto is not None
    told = list(early)
    for name, paths in (("data", body.data), ("exist", body.exist), ("child", body.child)):
        kind = _CHILD if name == "child" else _DATA
        for path in paths:
            news = next((each for each in told if each.path == path and each.kind in _NEWS[name]), None)
            if news is not None:
                told.remove(news)
                index = fired.first_after(kind, path, body.relative_zxid)
                if index is None or fired.events[index].zxid > upto:
                    yield f"{path} did not change in ({body.relative_zxid}, {upto}]"
            elif (name, path) in missed:
                yield f"the change of {path} in ({body.relative_zxid}, {upto}] is lost"
            else:
                stream.arm(kind, path, upto)
    for kind, paths in ((_PERSISTENT, body.persistent), (_RECURSIVE, body.recursive)):
        for path in paths:
            stream.arm(kind, path, upto)
    if told:
        yield f"nobody asked for {[str(each) for each in told]}"
