"""On a good day everything is prompt: what only delays on a bad one, such as a lost hint, must not be the rule."""

from __future__ import annotations

from collections.abc import Iterator

from faaskeeper_simulator.checker.order import Order
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call, Connection, Notification

LONGEST_REQUEST = 5.0
LONGEST_EVENT = 1.5
"""Seconds; cold starts take up to three."""


def check_promptness(order: Order, connections: list[Connection]) -> Iterator[Violation]:
    for connection in connections:
        for frame in connection.frames:
            if isinstance(frame, Notification) and frame.zxid > 0:
                late = frame.received - order.complete[frame.zxid]
                if late > LONGEST_EVENT:
                    yield Violation(
                        "late", f"an event came {late:.3f} s after its transaction", frame.received, (frame,)
                    )
            elif isinstance(frame, Call) and frame.answered is not None:
                late = frame.answered - frame.invoked
                if late > LONGEST_REQUEST:
                    yield Violation("late", f"a request was answered after {late:.3f} s", frame.answered, (frame,))
