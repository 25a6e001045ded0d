"""What each client was told, against the order of all writes: results, real time, and its own order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

from faaskeeper.znode.errors import Code
from faaskeeper.znode.operations import Outcome
from faaskeeper_client.gateway import lease
from faaskeeper_client.wire.requests import Sync
from faaskeeper_simulator.checker.model import timeless
from faaskeeper_simulator.checker.order import Order
from faaskeeper_simulator.checker.reads import READS, read_paths
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call, Connection
from faaskeeper_simulator.harness.wire import Reply

_OVER = frozenset({Code.SESSION_EXPIRED, Code.SESSION_MOVED})


class Shown:
    """The highest zxid that anybody on ``connections`` had been shown by an instant."""

    def __init__(self, connections: list[Connection]) -> None:
        shown = sorted((_when(frame), frame.zxid) for each in connections for frame in each.frames)  # type: ignore[type-var]
        self._times: list[float] = []
        self._highest: list[int] = []
        for time, zxid in shown:
            self._times.append(time)
            self._highest.append(max(zxid, self._highest[-1] if self._highest else 0))

    def before(self, time: float) -> int:
        index = bisect_left(self._times, time)
        return self._highest[index - 1] if index else 0


class Present:
    """What a read has to reflect: whatever anybody had been shown before it was asked for; where gateways may answer
    from memory, whatever anybody at its gateway had been shown, and anybody at all by the time of a lease earlier."""

    def __init__(self, connections: list[Connection], *, cached: bool) -> None:
        self.shown = Shown(connections)
        self._cached = cached
        by_gateway: dict[str, list[Connection]] = defaultdict(list)
        for connection in connections:
            by_gateway[connection.gateway].append(connection)
        self._at = {gateway: Shown(its) for gateway, its in by_gateway.items()}

    def to(self, call: Call) -> int:
        if not self._cached or not isinstance(call.body, READS):
            return self.shown.before(call.invoked)
        here = self._at[call.connection.gateway].before(call.invoked)
        return max(here, self.shown.before(call.invoked - lease.SECONDS))


def check_connection(order: Order, present: Present, connection: Connection) -> Iterator[Violation]:
    last = connection.last_zxid
    for frame in connection.frames:
        zxid, when = frame.zxid, _when(frame)
        if zxid is None or zxid <= 0:
            continue
        if zxid < last:
            yield Violation("order of replies", f"zxid {zxid} was shown after {last}", when, (connection, frame))
        last = max(last, zxid)
        if zxid > order.zxid or order.complete[zxid] > when:
            until = order.complete[zxid] if zxid <= order.zxid else "ever"
            text = f"zxid {zxid} was shown before it was complete, {until}"
            yield Violation("too early", text, when, (frame,))
        if isinstance(frame, Call):
            yield from _in_real_time(order, present, frame)


def _in_real_time(order: Order, present: Present, call: Call) -> Iterator[Violation]:
    known = present.to(call)
    assert call.zxid is not None
    if isinstance(call.body, READS):
        for path in read_paths(call.body):
            changes = order.changes.get(path, [])
            after = bisect_right(changes, call.zxid)
            if after < len(changes) and changes[after] <= known:
                text = (
                    f"zxid {known} had been shown before, {changes[after]} changed {path}, the read shows {call.zxid}"
                )
                yield Violation("real time", text, call.answered, (call,))
    elif isinstance(call.body, Sync) and call.zxid < known:
        yield Violation("real time", f"zxid {known} had been shown before", call.answered, (call,))


def check_steps(order: Order, shown: Shown) -> Iterator[Violation]:
    """Each write's answer against its place in the order."""
    for step in order.steps:
        call = step.call
        if call is None:
            continue
        for earlier in call.connection.calls[: call.number - 1]:
            if not step.changed or earlier.is_write or earlier.zxid is None:
                continue
            if earlier.zxid >= step.outcome.zxid:
                text = f"a read sent before the write shows zxid {earlier.zxid}, the write made {step.outcome.zxid}"
                yield Violation("session order", text, earlier.answered, (earlier, step))
                break
        known = shown.before(call.invoked)
        if step.outcome.zxid < known + step.changed:
            text = f"zxid {known} had been shown before the write was asked for"
            yield Violation("real time", text, call.invoked, (call, step))
        if call.reply is None:
            continue
        if step.outcome.code in _OVER:
            yield Violation("result", "answered on a session that was over", call.answered, (call, step))
        elif not _says(call, step.outcome):
            yield Violation("result", "the client was told otherwise", call.answered, (call, step))
        elif call.zxid is not None and call.zxid < order.first_like(step.outcome.zxid):
            yield Violation("result", "the client was told an earlier zxid", call.answered, (call, step))


def _says(call: Call, outcome: Outcome) -> bool:
    assert call.reply is not None
    return _matches(call.reply, outcome)


def _matches(reply: Reply, outcome: Outcome) -> bool:
    """A reply has no more than the wire has of each operation; what it has must be the outcome's."""
    if reply.code is not outcome.code:
        return False
    if reply.code is not Code.OK:
        return True
    if reply.path is not None and reply.path != outcome.path:
        return False
    if reply.stat is not None and timeless(reply.stat) != timeless(outcome.stat):
        return False
    if reply.results is None:
        return True
    results = outcome.results or ()
    return len(results) == len(reply.results) and all(
        _matches(mine, theirs) for mine, theirs in zip(reply.results, results, strict=True)
    )


def check_times(order: Order, connections: list[Connection]) -> Iterator[Violation]:
    """A transaction has one time, whoever is told of it."""
    times: dict[int, int] = {}
    for connection in connections:
        for call in connection.calls:
            for reply in _parts(call.reply):
                stat = reply.stat
                if stat is None:
                    continue
                for zxid, time in ((stat.czxid, stat.ctime), (stat.mzxid, stat.mtime)):
                    if times.setdefault(zxid, time) != time:
                        text = f"zxid {zxid} happened at {times[zxid]} and at {time}"
                        yield Violation("result", text, call.answered, (call,))


def _parts(reply: Reply | None) -> Iterator[Reply]:
    if reply is not None:
        yield reply
        for part in reply.results or ():
            yield from _parts(part)


def _when(frame: object) -> float:
    if isinstance(frame, Call):
        assert frame.answered is not None
        return frame.answered
    return frame.received  # type: ignore[attr-defined, no-any-return]
