"""The sequencer: what the commands of the requests queue are to the znodes, and what else is done for those who sent
them. Order, and exactly once, are ``committing``'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.committer import Committer, Rejected
from faaskeeper.blocks.errors import TooLarge
from faaskeeper.blocks.transactions import Position
from faaskeeper.functions.sequencer.announcer import Announcer
from faaskeeper.functions.sequencer.batch import Batch, Entry, build_batch
from faaskeeper.protocol.messages import outcome_size
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import MAX_ITEM_BYTES, Plan, Watched, item_size, plan, transaction
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
from faaskeeper.storage.ledger import Head, Subtrees, confirm_complete, read_events, read_head, read_subtrees
from faaskeeper.storage.loading import Snapshot
from faaskeeper.storage.znodes import FIRED, WATCH_CHILD, WATCH_DATA, WATCH_STAY
from faaskeeper.znode.errors import Code
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.operations import Outcome
from faaskeeper.znode.state import State

logger = logging.getLogger(__name__)

_NOTHING_APPLIED = Position(0, 0)
_MAX_HEAD_OUTCOME_BYTES = 100_000
"""Of an outcome in the head. A larger one, of a huge multi, is answered once: if that is lost, so is the connection."""


class Sequencer(Committer[Entry, Head, Batch]):
    """One instance of the sequencer function. ``clock`` gives ms since the epoch, ``notifier`` is a function name."""

    def __init__(self, aws: Aws, service: Service, clock: Callable[[], int], notifier: str | None = None) -> None:
        super().__init__(aws, clock)
        self._service = service
        self._announcer = Announcer(aws, service, notifier, self.metrics)
        self._subtrees = (0, Subtrees())
        self._queue = sha256(service.requests.encode()).hexdigest()[:12]
        self._suspects: frozenset[str] = frozenset()
        """What was taken to be missing by attempts since the last that succeeded."""

    async def _build(self, head: Head, entries: Sequence[Entry]) -> Batch:
        subtrees = await self._of_subtrees(head)
        batch = await build_batch(self._aws, self._service, head, entries, subtrees, self._clock(), self._suspects)
        self._suspects |= batch.assumed
        return batch

    def _refusal(self, head: Head, entry: Entry) -> Batch:
        """The watermark stays if there is time, as the request would fail again."""
        logger.error("request %d of %s", entry.request.number, entry.gateway)
        return Batch([entry], [Outcome(Code.SYSTEM_ERROR, head.zxid)])

    async def _find_head(self) -> Head | None:
        """Complete by our own commit's success, or by asking DynamoDB."""
        head = await read_head(self._aws, self._service)
        if head is None:
            await self._found()
        elif head.journal:
            await self._carry_on(head)
        elif await confirm_complete(self._aws, self._service, head):
            # positions of another queue say nothing about this one's (a restored service)
            applied = head.applied if head.queue == self._queue else _NOTHING_APPLIED
            return replace(head, applied=applied)
        return self._head

    async def _of_subtrees(self, head: Head) -> Subtrees:
        """Read again only when the head says that they changed."""
        if self._subtrees[0] != head.subtrees_epoch:
            self._subtrees = (head.subtrees_epoch, await read_subtrees(self._aws, self._service))
        return self._subtrees[1]

    async def _found(self) -> None:
        """The first transaction of a service: the tree as a fresh ensemble has it."""
        state = State(dict.fromkeys(GENESIS))
        for path, node in GENESIS.items():
            state.put(path, node)
        first = plan(self._service, state, Snapshot(), (), Subtrees(), 0, 0)
        head = Head(0, 0, tuple(first.keys), _NOTHING_APPLIED, queue=self._queue)
        await self._write(transaction(self._service, first, None, head), head)

    async def _commit(self, head: Head, batch: Batch) -> bool:
        """Makes the batch true and answers it. False if another transaction came first, or may have."""
        answers = [
            (entry.gateway, entry.request.number, outcome)
            for entry, outcome in zip(batch.entries, batch.outcomes, strict=True)
        ]
        if batch.plan is None and self._late:
            batch = replace(batch, plan=Plan(), zxid=head.zxid + 1)
        if batch.plan is None:
            # what was checked must be the present: another instance may have gone on since, and even when the head
            # still looks the same, what was loaded may be of a transaction that was just becoming visible
            if not await confirm_complete(self._aws, self._service, head, ()):
                self._head = None
                return False
            self._count(batch)
            await self._announcer.announce(head.zxid, head.zxid, answers, Watched(), detached_at=head.detached_at)
            return True
        following = Head(
            batch.zxid,
            head.zxid,
            tuple(batch.plan.keys),
            batch.entries[-1].position if batch.entries else head.applied,
            tuple(answer for answer in answers if outcome_size(answer[2]) < _MAX_HEAD_OUTCOME_BYTES),
            subtrees_epoch=batch.zxid if batch.subtrees_changed else head.subtrees_epoch,
            detached=tuple(batch.detached),
            detached_at=batch.zxid if batch.detached else head.detached_at,
            sessions=head.sessions + batch.sessions,
            queue=self._queue,
        )
        if not batch.plan.storable:
            raise Rejected("an item would be larger than DynamoDB takes, or two things in one")
        if batch.plan.fits:
            written = await self._write(transaction(self._service, batch.plan, head, following), following)
        else:
            written = await self._write_in_steps(batch.plan, head, following)
        if not written:
            return False
        self._count(batch)
        self.metrics.set("Sessions", following.sessions)
        await self._announcer.announce(
            batch.zxid, head.zxid, answers, batch.plan.watched, batch.detached, detached_at=following.detached_at
        )
        return True

    async def _write_in_steps(self, planned: Plan, previous: Head, head: Head) -> bool:
        """A transaction too large for one TransactWriteItems. False if it was not begun."""
        journal = journal_of(journal_key(self._service, head.zxid), planned, head)
        # once its first step is done there is no way back
        if item_size(journal.head) > MAX_ITEM_BYTES:
            raise Rejected("the head would be larger than DynamoDB takes")
        try:
            await write_journal(self._aws, self._service, journal)
        except TooLarge as error:
            raise Rejected(f"its journal is too large: {error}") from error
        begun = replace(previous, journal=journal.key)
        if not await self._write(opening(self._service, planned, previous, journal), begun):
            return False
        if not await self._steps(journal, 0):
            await self._complete_head()
        return True

    async def _carry_on(self, head: Head) -> bool:
        """Finishes the journal that another instance began."""
        journal = await read_journal(self._aws, self._service, head.journal)
        before = journal.steps[head.journal_step - 1][0] if head.journal_step else ()
        if not await confirm_complete(self._aws, self._service, head, before):
            return False
        logger.warning("journal %s is carried on from step %d", journal.key, head.journal_step)
        try:
            return await self._steps(journal, head.journal_step)
        except Rejected:
            if head.journal_step:
                raise
            return False  # it was abandoned: whoever builds it again will refuse it

    async def _steps(self, journal: Journal, first: int) -> bool:
        for index in range(first, len(journal.steps)):
            if index > first:
                self._mind_the_time()
            try:
                written = await self._write(step(self._service, journal, index), None)
            except Rejected:
                if index == 0:
                    # nothing of it is done
                    await self._write([abandoning(self._service, journal)], None)
                raise
            if not written:
                return False
        head = await read_head(self._aws, self._service)
        # whoever was faster may have gone on to later transactions
        self._head = head if head and not head.journal and head.attributes() == journal.head else None
        return True

    def _count(self, batch: Batch) -> None:
        self._suspects = frozenset()
        self.metrics.add("Operations", len(batch.entries))
        failed = sum(outcome.code is not Code.OK for outcome in batch.outcomes)
        if failed:
            self.metrics.add("FailedOperations", failed)
        if batch.expired:
            self.metrics.add("ExpiredSessions", batch.expired)

    async def _answer_again(self, head: Head, covered: Sequence[Entry]) -> None:
        """Covered requests were applied by an instance that may have died before it answered."""
        again = {(entry.gateway, entry.request.number) for entry in covered}
        answers = [answer for answer in head.outcomes if answer[:2] in again]
        if not answers:
            return
        watched = Watched()
        if any(key.table == "ledger" for key in head.keys):
            events = await read_events(self._aws, self._service, head.base, head.zxid)
            sets = {
                (event.path, name) for event in events for name in (FIRED[WATCH_DATA], FIRED[WATCH_CHILD], WATCH_STAY)
            }
            subtrees = await self._of_subtrees(head)
            gateways = frozenset[str]().union(*(subtrees.watching_above(event.path) for event in events))
            watched = Watched(tuple(events), tuple(sorted(sets)), gateways)
        await self._announcer.announce(
            head.zxid, head.base, answers, watched, head.detached, detached_at=head.detached_at
        )
