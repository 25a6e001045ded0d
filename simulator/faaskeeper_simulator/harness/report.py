"""What a failing schedule prints: its seed and plan, what is wrong, and what happened around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from faaskeeper_simulator.checker import Violation
from faaskeeper_simulator.harness.history import Call, Notification
from faaskeeper_simulator.harness.world import Run

_BEFORE, _AFTER = 4.0, 0.5
_MAX_LINES = 150
_MAX_VIOLATIONS = 5


def report(run: Run, violations: Sequence[Violation]) -> str:
    plan = run.plan
    lines = [
        f"seed {plan.seed}: {len(violations)} violations; {plan}",
        *(str(violation) for violation in violations[:_MAX_VIOLATIONS]),
    ]
    time = next((violation.time for violation in violations if violation.time is not None), None)
    if time is not None:
        lines.append(f"--- from {time - _BEFORE:.3f} to {time + _AFTER:.3f} s")
        found = [line for when, line in sorted(_timed(run)) if time - _BEFORE <= when <= time + _AFTER]
        lines += found[-_MAX_LINES:]
    return "\n".join(lines)


def _timed(run: Run) -> Iterator[tuple[float, str]]:
    for fault in run.faults.trace:
        yield fault.time, f"{fault.time:12.6f} fault {fault}"
    for when, kind, what in run.troubles:
        yield when, f"{when:12.6f} {kind}: {what}"
    for connection in run.history.connections:
        yield connection.opened, str(connection)
        for frame in connection.frames:
            if isinstance(frame, Notification):
                yield frame.received, str(frame)
        for call in connection.calls:
            yield _when(call), str(call)
    for line in run.log:
        yield float(line.split(maxsplit=1)[0]), line
    if run.witness is not None:
        for commit in run.witness.commits:
            head = commit.head
            text = (
                f"zxid {head.zxid} on {head.base} by {commit.by}, complete {commit.complete:.6f}, up to {head.applied}"
            )
            yield commit.began, f"{commit.began:12.6f} commit {text}"


def _when(call: Call) -> float:
    return call.invoked if call.answered is None else call.answered
