"""What the requests of the requests queue do to znodes, how that is written, and who is answered.

Their order, and that each is applied once, are ``blocks.committer``'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from faaskeeper.blocks.attributes import item_size
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.committer import Committer
from faaskeeper.blocks.errors import TooLarge
from faaskeeper.blocks.invocation import Invocation, Rejected
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.functions.sequencer.announcer import Announcer, Keep
from faaskeeper.functions.sequencer.batch import Batch, Entry, build_batch
from faaskeeper.protocol.changes import digest
from faaskeeper.protocol.messages import outcome_size
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import MAX_ITEM_BYTES, Plan, Watched, changed_paths, plan, transaction
from faaskeeper.storage.journal import (
    Journal,
    abandoning,
    journal_key,
    journal_of,
    opening,
    read_journal,
    step,
    write_journal,
)
from faaskeeper.storage.keys import Key
from faaskeeper.storage.ledger import Head, Subtrees, confirm_complete, head_of, read_events, read_head, read_subtrees
from faaskeeper.storage.loading import Snapshot
from faaskeeper.storage.znodes import FIRED, WATCH_CHILD, WATCH_DATA, WATCH_STAY
from faaskeeper.znode.errors import Code
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.operations import Outcome
from faaskeeper.znode.state import State

logger = logging.getLogger(__name__)

_NOTHING_APPLIED = Position(0, 0)
_MAX_KEPT_OUTCOME_BYTES = 400
_NUMBER_BYTES = 22
"""Of a request's number, with what separates it."""
_MAX_HEAD_OUTCOME_BYTES = 100_000
"""Of an outcome in the head. A larger one, of a huge multi, is answered once: if that is lost, so is the connection."""


def sequencer_committer(
    aws: Aws, service: Service, clock: Callable[[], int], notifier: str | None = None, keep: Keep | None = None
) -> Committer[Entry, Head, Batch]:
    """One instance of a function that commits. ``clock`` gives ms since the epoch, ``notifier`` is a function name,
    ``keep`` takes the messages to gateways that it brings them itself."""
    metrics = FunctionMetrics()
    announcer = Announcer(aws, service, notifier, metrics, keep)
    return Committer(aws, clock, Sequencer(aws, service, clock, announcer, metrics), metrics)


class Sequencer:
    """The state machine of requests, from the queue or called directly (``committer.StateMachine``)."""

    def __init__(
        self, aws: Aws, service: Service, clock: Callable[[], int], announcer: Announcer, metrics: Metrics
    ) -> None:
        self._aws = aws
        self._service = service
        self._clock = clock
        self._metrics = metrics
        self._announcer = announcer
        self._subtrees = (0, Subtrees())
        self._queue = sha256(service.requests.encode()).hexdigest()[:12]
        self._suspects: frozenset[str] = frozenset()
        """What was taken to be missing by attempts since the last that succeeded."""

    def is_applied(self, head: Head, entry: Entry) -> bool:
        applied = head.applied if entry.call is None else head.lanes.applied(entry.call.lane, entry.call.since)
        return applied is not None and entry.position <= applied

    async def build(self, head: Head, entries: Sequence[Entry]) -> Batch:
        subtrees = await self._of_subtrees(head)
        batch = await build_batch(self._aws, self._service, head, entries, subtrees, self._clock(), self._suspects)
        self._suspects |= batch.assumed
        return batch

    def refuse(self, head: Head, entry: Entry) -> Batch:
        logger.error("request %d of %s", entry.request.number, entry.gateway)
        return Batch([entry], [Outcome(Code.SYSTEM_ERROR, head.zxid)])

    async def find_head(self, invocation: Invocation) -> Head | None:
        """Complete by our own commit's success, or by asking DynamoDB."""
        head = await read_head(self._aws, self._service)
        if head is None:
            return await self._found(invocation)
        if head.journal:
            return await self._carry_on(invocation, head)
        return self._own(head) if await confirm_complete(self._aws, self._service, head) else None

    def _own(self, head: Head) -> Head:
        """Positions of another queue say nothing about this one's (a restored service)."""
        return head if head.queue == self._queue else replace(head, applied=_NOTHING_APPLIED)

    async def _of_subtrees(self, head: Head) -> Subtrees:
        """Read again only when the head says that they changed."""
        if self._subtrees[0] != head.subtrees_epoch:
            self._subtrees = (head.subtrees_epoch, await read_subtrees(self._aws, self._service))
        return self._subtrees[1]

    async def _found(self, invocation: Invocation) -> Head | None:
        """The first transaction of a service: the tree as a fresh ensemble has it."""
        state = State(dict.fromkeys(GENESIS))
        for path, node in GENESIS.items():
            state.put(path, node)
        first = plan(self._service, state, Snapshot(), (), Subtrees(), 0, 0)
        head = Head(0, 0, tuple(first.keys), _NOTHING_APPLIED, queue=self._queue)
        return head if await invocation.transact(transaction(self._service, first, None, head)) else None

    async def commit(self, invocation: Invocation, head: Head, batch: Batch) -> Head | None:
        answers = [
            (entry.gateway, entry.request.number, outcome)
            for entry, outcome in zip(batch.entries, batch.outcomes, strict=True)
        ]
        if batch.plan is None and (invocation.unsettled or any(entry.may_come_again for entry in batch.entries)):
            # what changes nothing leaves no trace: another copy could be applied later, when it would change something
            batch = replace(batch, plan=Plan(), zxid=head.zxid + 1)
        if batch.plan is None:
            # what was checked must be the present: another instance may have gone on since, and even when the head
            # still looks the same, what was loaded may be of a transaction that was just becoming visible
            if not await confirm_complete(self._aws, self._service, head, ()):
                return None
            self._count(batch)
            await self._announcer.announce(head, head.zxid, answers, Watched())
            return head
        following = self._following(head, batch, tuple(batch.plan.keys), answers)
        written = await self._write(invocation, batch.plan, head, following)
        if written is None:
            return None
        self._count(batch)
        self._metrics.set("Sessions", following.sessions)
        await self._announcer.announce(following, head.zxid, answers, batch.plan.watched, batch.detached)
        return written

    def _following(
        self, head: Head, batch: Batch, keys: tuple[Key, ...], answers: Sequence[tuple[str, int, Outcome]]
    ) -> Head:
        """The head that the batch makes of ``head``."""
        following = replace(
            head,
            zxid=batch.zxid,
            base=head.zxid,
            keys=keys,
            subtrees_epoch=batch.zxid if batch.subtrees_changed else head.subtrees_epoch,
            detached=tuple(batch.detached),
            detached_at=batch.zxid if batch.detached else head.detached_at,
            sessions=head.sessions + batch.sessions,
            queue=self._queue,
            changes=head.changes.followed_by(batch.zxid, map(digest, changed_paths(keys))),
        )
        if not batch.entries:
            return following
        last = batch.entries[-1]
        kept = tuple(answer for answer in answers if outcome_size(answer[2]) < _MAX_HEAD_OUTCOME_BYTES)
        if last.call is None:
            return replace(following, applied=last.position, outcomes=kept, call_outcomes=_small(head.call_outcomes))
        return replace(
            following,
            lanes=head.lanes.moved(last.call.lane, last.position, batch.zxid),
            call_outcomes=kept,
            outcomes=_small(head.outcomes),
        )

    async def _write(self, invocation: Invocation, planned: Plan, previous: Head, head: Head) -> Head | None:
        """The head that follows. None if another transaction came first, or may have. Raises Rejected."""
        if not planned.storable:
            raise Rejected("an item would be larger than DynamoDB takes, or two things in one")
        if not planned.fits:
            return await self._write_in_steps(invocation, planned, previous, head)
        written = await invocation.transact(transaction(self._service, planned, previous, head))
        return head if written else None

    async def _write_in_steps(self, invocation: Invocation, planned: Plan, previous: Head, head: Head) -> Head | None:
        """A transaction too large for one TransactWriteItems. None if it was not begun."""
        journal = journal_of(journal_key(self._service, head.zxid), planned, head)
        # once its first step is done there is no way back
        if item_size(journal.head) > MAX_ITEM_BYTES:
            raise Rejected("the head would be larger than DynamoDB takes")
        try:
            await write_journal(self._aws, self._service, journal)
        except TooLarge as error:
            raise Rejected(f"its journal is too large: {error}") from error
        if not await invocation.transact(opening(self._service, planned, previous, journal)):
            return None
        finished = await self._steps(invocation, journal, 0)
        return finished or await invocation.until_found(lambda: self.find_head(invocation))

    async def _carry_on(self, invocation: Invocation, head: Head) -> Head | None:
        """Finishes the journal that another instance began. None if it did not get through."""
        journal = await read_journal(self._aws, self._service, head.journal)
        before = journal.steps[head.journal_step - 1][0] if head.journal_step else ()
        if not await confirm_complete(self._aws, self._service, head, before):
            return None
        logger.warning("journal %s is carried on from step %d", journal.key, head.journal_step)
        try:
            return await self._steps(invocation, journal, head.journal_step)
        except Rejected:
            if head.journal_step:
                raise
            return None  # it was abandoned: whoever builds it again will refuse it

    async def _steps(self, invocation: Invocation, journal: Journal, first: int) -> Head | None:
        """The head that the last step sets. None if another instance was faster with one of them, or may have been."""
        for index in range(first, len(journal.steps)):
            if index > first:
                invocation.mind_the_time()
            try:
                written = await invocation.transact(step(self._service, journal, index))
            except Rejected:
                if index == 0:
                    # nothing of it is done
                    await invocation.transact([abandoning(self._service, journal)])
                raise
            if not written:
                return None
        return self._own(head_of(journal.head))

    def _count(self, batch: Batch) -> None:
        self._suspects = frozenset()
        self._metrics.add("Operations", len(batch.entries))
        failed = sum(outcome.code is not Code.OK for outcome in batch.outcomes)
        if failed:
            self._metrics.add("FailedOperations", failed)
        if batch.expired:
            self._metrics.add("ExpiredSessions", batch.expired)

    async def answer_again(self, head: Head, covered: Sequence[Entry]) -> None:
        """Covered requests were applied by an instance that may have died before it answered."""
        again = {(entry.gateway, entry.request.number) for entry in covered}
        by_call = covered[0].call is not None
        answers = [answer for answer in (head.call_outcomes if by_call else head.outcomes) if answer[:2] in again]
        if not answers:
            return
        # they may be of a transaction before the last: whoever else that concerned finds out by the head
        watched = Watched()
        if any(key.table == "ledger" for key in head.keys):
            events = await read_events(self._aws, self._service, head.base, head.zxid)
            sets = {
                (event.path, name) for event in events for name in (FIRED[WATCH_DATA], FIRED[WATCH_CHILD], WATCH_STAY)
            }
            subtrees = await self._of_subtrees(head)
            gateways = frozenset[str]().union(*(subtrees.watching_above(event.path) for event in events))
            watched = Watched(tuple(events), tuple(sorted(sets)), gateways)
        await self._announcer.announce(head, head.base, answers, watched, head.detached)


def _small(outcomes: tuple[tuple[str, int, Outcome], ...]) -> tuple[tuple[str, int, Outcome], ...]:
    """Outcomes of the other way of requests, queue or calls, that stay in the head: only a function that died has still
    to tell them, and every write pays for what the head holds."""
    size = sum(len(gateway) + _NUMBER_BYTES + outcome_size(outcome) for gateway, _, outcome in outcomes)
    return outcomes if size <= _MAX_KEPT_OUTCOME_BYTES else ()
