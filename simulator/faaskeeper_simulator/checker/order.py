"""The order of all writes, applied to the pure core: requests of the queue in the queue's order, and those of direct
calls where their lanes say that they were committed.

What was committed, what was answered and what clients saw must all be it. Requests whose clients never heard of them
take part like any other, so nothing has to be guessed: an operation whose outcome is unknown was applied at its place
in the order, or fails there, and only once. A direct call that changed nothing may leave no trace but its answer: that
must be true at the zxid that it shows.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from faaskeeper.blocks.transactions import Position
from faaskeeper.protocol.messages import Request
from faaskeeper.storage.ledger import Head
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Event
from faaskeeper.znode.operations import (
    AttachSession,
    Create,
    CreateSession,
    DeleteContainer,
    ExpireSession,
    Multi,
    Operation,
    Outcome,
    SetData,
)
from faaskeeper_simulator.checker.model import Model, timeless
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call
from faaskeeper_simulator.harness.witness import Called, Commit, Sent, Witness, positions

_TRUSTED = ("reaper", "janitor")
"""Functions whose requests may be about anybody's session."""
_RESERVED = (ExpireSession, DeleteContainer)
"""What only they may ask for."""


Entry: TypeAlias = tuple[Position, Sent | Called, int]
"""A request: its position, the message or call that it came with, its index in that."""


@dataclass(slots=True, eq=False)
class Step:
    """A request at its place in the order. ``call`` is the client's, None for what gateways and functions ask.
    ``outcome`` is what the core makes of it; ``complete`` is when the transaction that it was part of was all visible,
    None if it was part of none."""

    position: Position
    sent: Sent | Called
    request: Request
    operation: Operation
    call: Call | None
    outcome: Outcome
    changed: bool
    complete: float | None

    @property
    def session(self) -> int:
        return self.request.principal.session

    def __str__(self) -> str:
        return (
            f"{'queue' if isinstance(self.sent, Sent) else 'call'} {self.position.sequence_number}."
            f"{self.position.index} sent {self.sent.time:.6f} by {self.sent.by} "
            f"session {self.session:#x} no. {self.request.number}: {str(self.operation)[:200]} -> {self.outcome} "
            f"complete {self.complete}"
        )


@dataclass(slots=True)
class Order:
    steps: list[Step] = field(default_factory=list[Step])
    events: list[Event] = field(default_factory=list[Event])
    complete: list[float] = field(default_factory=lambda: [0.0])
    """By zxid: when its transaction was all visible."""
    changes: dict[str, list[int]] = field(default_factory=lambda: defaultdict[str, list[int]](list))
    """By path: the zxids that changed anything in the node."""
    passed: set[int] = field(default_factory=set[int])
    """Zxids of transactions that put down only what was answered: what was answered before them may be once more."""
    violations: list[Violation] = field(default_factory=list[Violation])

    def first_like(self, zxid: int) -> int:
        """The zxid that made the state that was still there at ``zxid``."""
        while zxid in self.passed:
            zxid -= 1
        return zxid

    @property
    def zxid(self) -> int:
        return len(self.complete) - 1


def build(
    witness: Witness, calls: dict[str, list[Call]], blobs: dict[str, bytes], at_zxid: Callable[[Model], None]
) -> tuple[Order, Model]:
    """``calls`` are the clients' writes by the address of their connection. ``at_zxid`` is told the model at each zxid,
    from 0 on."""
    order, model = Order(), Model()
    asked = _Asked(calls, blobs, order)
    entries = positions(witness.sent)
    answered = _answered(witness)
    commits = list(_line(witness, order))
    if commits:
        order.complete[0] = commits[0].complete
    at_zxid(model)
    done = 0
    lanes = _Lanes(witness)
    for before, commit in itertools.pairwise(commits):
        if not _answer_calls(order, model, asked, lanes.untraced(commits, before)):
            return order, model
        applied = commit.head.applied
        batch = list(itertools.takewhile(lambda entry, applied=applied: entry[0] <= applied, entries[done:]))
        done += len(batch)
        told = commit.head.outcomes if batch else commit.head.call_outcomes
        batch = batch or lanes.committed(before.head, commit.head)
        for entry, actual in zip(batch, _outcomes(told, batch), strict=True):
            step = _step(order, model, entry, asked, actual, commit.complete)
            if actual is not None:
                _compare(order, step, actual, "committed")
            for outcome in answered.get((entry[1].message.gateway, step.request.number), ()):
                _compare(order, step, outcome, "answered")
            if order.violations:
                return order, model
            if step.changed:
                at_zxid(model)
        if commit.head.keys == () and commit.head.zxid == commit.head.base + 1 == model.zxid + 1:
            model.pass_over()
            order.complete.append(commit.complete)
            order.passed.add(model.zxid)
            at_zxid(model)
        if model.zxid != commit.head.zxid:
            text = f"the queue up to {commit.head.applied} makes zxid {model.zxid}, the ledger has {commit.head.zxid}"
            order.violations.append(Violation("order", text, commit.complete, order.steps[-12:]))
            return order, model
    if commits and not _answer_calls(order, model, asked, lanes.untraced(commits, commits[-1])):
        return order, model
    for entry in entries[done:]:
        step = _step(order, model, entry, asked, None, None)
        for outcome in answered.get((entry[1].message.gateway, step.request.number), ()):
            _compare(order, step, outcome, "answered")
        if step.changed:
            order.violations.append(
                Violation("lost", "a request that the queue accepted was not applied", None, (step,))
            )
            break
    asked.finish()
    return order, model


class _Lanes:
    """Which requests of direct calls were committed, and which were only answered."""

    def __init__(self, witness: Witness) -> None:
        self._calls = witness.calls
        self._answers = sorted(witness.answers, key=lambda answer: answer[0])
        self._untraced: dict[int, list[tuple[Entry, Outcome]]] | None = None

    def committed(self, before: Head, head: Head) -> list[Entry]:
        """Those that came with the commit of ``head``."""
        moved = [lane for lane in head.lanes.lanes if lane.zxid == head.zxid]
        if not moved or moved[0] in before.lanes.lanes:
            return []
        digest, applied = moved[0].digest, moved[0].applied
        earlier = next((lane.applied for lane in before.lanes.lanes if lane.digest == digest), Position(0, 0))
        first = earlier.index + 1 if earlier.sequence_number == applied.sequence_number else 0
        called = self._calls[digest, applied.sequence_number]
        # what the same call answered before, for it changed nothing, has its place where it was answered
        while first < applied.index and self._told(called, first) < before.zxid:
            first += 1
        return [(Position(applied.sequence_number, index), called, index) for index in range(first, applied.index + 1)]

    def _told(self, called: Called, index: int) -> float:
        """The zxid at which a request was first answered."""
        number = called.message.requests[index].number
        return min(
            (
                reply.zxid
                for _, each, reply in self._answers
                if each is called and any(number == told for told, _ in reply.outcomes)
            ),
            default=float("inf"),
        )

    def untraced(self, commits: list[Commit], commit: Commit) -> list[tuple[Entry, Outcome]]:
        """What was answered at the zxid of ``commit`` without a commit of its own."""
        if self._untraced is None:
            traced = {
                (entry[1].message.gateway, entry[1].message.requests[entry[2]].number)
                for before, each in itertools.pairwise(commits)
                for entry in self.committed(before.head, each.head)
            }
            self._untraced = defaultdict(list)
            for _, called, reply in self._answers:
                for index, request in enumerate(called.message.requests):
                    outcome = dict(reply.outcomes).get(request.number)
                    if outcome is not None and (called.message.gateway, request.number) not in traced:
                        entry = Position(called.number, index), called, index
                        self._untraced[reply.zxid].append((entry, outcome))
        return self._untraced.get(commit.head.zxid, [])


def _answer_calls(order: Order, model: Model, asked: _Asked, answers: list[tuple[Entry, Outcome]]) -> bool:
    """False if one of them would have changed something."""
    for entry, actual in answers:
        step = _step(order, model, entry, asked, actual, order.complete[-1])
        if step.changed:
            text = f"{actual} was answered, and nothing committed"
            order.violations.append(Violation("result", text, entry[1].time, (step,)))
            return False
        _compare(order, step, actual, "answered")
    return True


def _outcomes(told_outcomes: Sequence[tuple[str, int, Outcome]], batch: list[Entry]) -> list[Outcome | None]:
    """What the head says of each: of those that were committed with it, the last ones; not of outcomes too large."""
    told = list(told_outcomes)
    outcomes: list[Outcome | None] = []
    for _, sent, index in reversed(batch):
        same = bool(told) and told[-1][:2] == (sent.message.gateway, sent.message.requests[index].number)
        outcomes.append(told.pop()[2] if same else None)
    return outcomes[::-1]


def _line(witness: Witness, order: Order) -> Iterator[Commit]:
    """The commits, as far as each follows the one before."""
    last: Commit | None = None
    for commit in witness.commits:
        if last is not None and (commit.head.base != last.head.zxid or commit.head.zxid <= last.head.zxid):
            text = f"zxid {commit.head.zxid} on base {commit.head.base} was committed after zxid {last.head.zxid}"
            order.violations.append(Violation("fork", text, commit.complete))
            return
        if last is not None and commit.began < last.complete:
            text = f"zxid {commit.head.zxid} was committed before zxid {last.head.zxid} was complete"
            order.violations.append(Violation("overlap", text, commit.began))
        yield commit
        last = commit


def _answered(witness: Witness) -> dict[tuple[str, int], list[Outcome]]:
    answered: dict[tuple[str, int], list[Outcome]] = defaultdict(list)
    for _, gateway, message in witness.replies:
        for number, outcome in message.outcomes:
            answered[gateway, number].append(outcome)
    for _, called, message in witness.answers:
        for number, outcome in message.outcomes:
            answered[called.message.gateway, number].append(outcome)
    return answered


def _step(
    order: Order,
    model: Model,
    entry: Entry,
    asked: _Asked,
    actual: Outcome | None,
    complete: float | None,
) -> Step:
    position, sent, index = entry
    request = sent.message.requests[index]
    call, operation = asked.match(sent, request)
    by_function = sent.by.startswith(_TRUSTED)
    if isinstance(operation, _RESERVED) and not by_function:
        applied = model.refuse(Code.NO_AUTH)
    elif _unforeseeable(operation, actual):
        applied = model.refuse(actual.code if actual is not None else Code.SESSION_EXPIRED)
    else:
        applied = model.apply(request, operation, sent.message.gateway)
    step = Step(position, sent, request, operation, call, applied.outcome, applied.changed, complete)
    order.steps.append(step)
    if applied.changed:
        assert complete is not None or actual is None
        order.complete.append(complete if complete is not None else float("inf"))
        order.events += applied.events
        for path in model.touched:
            order.changes[path].append(model.zxid)
    return step


def _unforeseeable(operation: Operation, actual: Outcome | None) -> bool:
    """Whether it was refused for what the queue does not tell: that its gateway was declared dead, or that by the
    sequencer's clock a znode's time had not come."""
    if isinstance(operation, CreateSession | AttachSession):
        return actual is None or actual.code is Code.SESSION_EXPIRED
    if isinstance(operation, DeleteContainer):
        return actual is None or actual.code is Code.BAD_VERSION
    return False


class _Asked:
    """Which client's request each one in the queue is. A connection's writes come in the order in which it was given
    them, each once, and none without those before it."""

    def __init__(self, calls: dict[str, list[Call]], blobs: dict[str, bytes], order: Order) -> None:
        self._calls = calls
        self._blobs = blobs
        self._order = order
        self._next: dict[str, int] = defaultdict(int)
        self._strayed: set[str] = set()

    def match(self, sent: Sent | Called, request: Request) -> tuple[Call | None, Operation]:
        """The call, and the operation with the client's own data in place of a blob's key."""
        address = next((credential for scheme, credential in request.principal.credentials if scheme == "ip"), "")
        calls = self._calls.get(address)
        if calls is None or type(request.operation).__name__ == "ListChildren" or address in self._strayed:
            return None, request.operation
        index = self._next[address]
        if index < len(calls) and self._same(calls[index].body, request.operation):  # type: ignore[arg-type]
            self._next[address] += 1
            return calls[index], calls[index].body  # type: ignore[return-value]
        self._strayed.add(address)
        expected = calls[index] if index < len(calls) else "nothing more"
        text = f"{sent.by} sent {request}, the client's next request is another"
        evidence = (expected, *calls[max(0, index - 3) : index])
        self._order.violations.append(Violation("session order", text, sent.time, evidence))
        return None, request.operation

    def finish(self) -> None:
        """Whatever was answered must have been in the queue."""
        for address, calls in self._calls.items():
            for call in calls[self._next[address] :]:
                if call.answered is not None and address not in self._strayed:
                    text = "a write was answered that never reached the queue"
                    self._order.violations.append(Violation("made up", text, call.answered, (call,)))

    def _same(self, mine: Operation, queued: Operation) -> bool:
        if isinstance(mine, Multi) and isinstance(queued, Multi):
            pairs = zip(mine.operations, queued.operations, strict=False)
            return len(mine.operations) == len(queued.operations) and all(self._same(*pair) for pair in pairs)
        if isinstance(mine, Create | SetData) and isinstance(queued, Create | SetData) and hasattr(queued.data, "key"):
            blob = self._blobs.get(queued.data.key)  # type: ignore[union-attr]
            if blob is None or blob == mine.data:  # a blob that is gone by now was replaced
                return _without_data(mine) == _without_data(queued)
            return False
        return mine == queued


def _without_data(operation: Create | SetData) -> object:
    names = [name for name in operation.__slots__ if name != "data"]  # type: ignore[attr-defined]
    return type(operation), [getattr(operation, name) for name in names]


def _compare(order: Order, step: Step, actual: Outcome, how: str) -> None:
    if not same_outcome(_first_like(order, step.outcome), _first_like(order, actual)):
        order.violations.append(Violation("result", f"the outcome {how} was {actual}", step.complete, (step,)))


def _first_like(order: Order, outcome: Outcome) -> Outcome:
    results = outcome.results and tuple(_first_like(order, result) for result in outcome.results)
    return replace(outcome, zxid=order.first_like(outcome.zxid), results=results)


def same_outcome(expected: Outcome, actual: Outcome) -> bool:
    """Whether they are the same but for times."""
    if (expected.code, expected.zxid, expected.path, expected.session) != (
        actual.code,
        actual.zxid,
        actual.path,
        actual.session,
    ):
        return False
    if timeless(expected.stat) != timeless(actual.stat) or sorted(expected.names or ()) != sorted(actual.names or ()):
        return False
    if (expected.results is None) != (actual.results is None):
        return False
    mine, theirs = expected.results or (), actual.results or ()
    return len(mine) == len(theirs) and all(same_outcome(*pair) for pair in zip(mine, theirs, strict=True))
