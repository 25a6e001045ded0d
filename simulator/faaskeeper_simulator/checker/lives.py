"""Sessions: granted to those who made them, ended by their client or by silence, never while their client is heard."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from faaskeeper.znode.operations import AttachSession, CloseSession, CreateSession, ExpireSession
from faaskeeper_simulator.checker.model import Model
from faaskeeper_simulator.checker.order import Order, Step
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call, Connection, Pong

_SHARE = 0.5
"""Of its timeout for which a session surely lives after its client was last answered. ZooKeeper promises all of it;
a gateway beats for half (``Liveness``), and answers on the strength of its last beat."""


def check_lives(order: Order, connections: list[Connection]) -> Iterator[Violation]:
    of_session: dict[int, list[Connection]] = defaultdict(list)
    for connection in connections:
        if connection.session:
            of_session[connection.session].append(connection)
    granted: dict[int, list[float]] = defaultdict(list)
    ended: dict[int, Step] = {}
    for step in order.steps:
        if not step.changed:
            continue
        assert step.complete is not None
        if isinstance(step.operation, CreateSession | AttachSession):
            granted[step.session].append(step.complete)
        elif isinstance(step.operation, CloseSession | ExpireSession):
            ended[step.session] = step
            if step.call is None:
                yield from _silent(step, of_session[step.session])
    for session, attached in of_session.items():
        yield from _granted(session, attached, granted[session], ended.get(session))


def _silent(step: Step, connections: list[Connection]) -> Iterator[Violation]:
    """Nobody but its client may end a session whose client was answered lately."""
    assert step.complete is not None
    spoken = [(sent, connection) for connection in connections for sent in _answered_before(connection, step.complete)]
    if not spoken:
        return
    last, connection = max(spoken, key=lambda each: each[0])
    timeout = connection.timeout / 1000
    if step.complete < last + _SHARE * timeout:
        text = (
            f"a session of {timeout} s was ended {step.complete - last:.3f} s after its client spoke and was answered"
        )
        yield Violation("expiry", text, step.complete, (step, connection))


def _answered_before(connection: Connection, time: float) -> Iterator[float]:
    if connection.established is not None and connection.established < time:
        yield connection.opened
    for frame in connection.frames:
        if isinstance(frame, Call) and frame.answered is not None and frame.answered < time:
            yield frame.invoked
        elif isinstance(frame, Pong) and frame.received < time:
            yield frame.sent


def _granted(session: int, attached: list[Connection], granted: list[float], end: Step | None) -> Iterator[Violation]:
    """Each connection that was let in has an attachment of its own in the order; none was turned away for nothing."""
    granted = sorted(granted)
    established = sorted((each for each in attached if each.established is not None), key=_established)
    for count, connection in enumerate(established, 1):
        if bisect_right(granted, _established(connection)) < count:
            text = f"session {session:#x} was granted {count} times, the ledger has fewer"
            yield Violation("session", text, connection.established, (connection,))
    for connection in attached:
        if connection.refused and (end is None or end.complete is None or end.complete > (connection.closed or 0.0)):
            text = f"session {session:#x} was said to be over, but it was not"
            yield Violation("session", text, connection.closed, (connection, end or "it never ended"))
        if end is not None:
            for frame in connection.frames:
                own = isinstance(frame, Call) and isinstance(frame.body, CloseSession)
                if frame.zxid is not None and frame.zxid >= end.outcome.zxid and not own:
                    text = f"session {session:#x} was served after its end at zxid {end.outcome.zxid}"
                    yield Violation("session", text, None, (connection, frame, end))
                    return


def check_ephemerals(model: Model) -> Iterator[Violation]:
    """At each zxid: an ephemeral lives as long as its session does."""
    for path in model.touched:
        node = model.nodes.get(path)
        if node is not None and node.owner and node.owner not in model.sessions:
            yield Violation("ephemeral", f"{path} lives at zxid {model.zxid}, its session does not")
    for session, owned in model.owned.items():
        if owned and session not in model.sessions:
            yield Violation("ephemeral", f"{sorted(owned)} live at zxid {model.zxid}, their session does not")


def _established(connection: Connection) -> float:
    assert connection.established is not None
    return connection.established
