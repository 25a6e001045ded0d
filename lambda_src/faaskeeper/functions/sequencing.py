"""The sequencer: brings the requests of the queue, in their order, into the tables, exactly once.

What SQS and Lambda may do to it - redeliver, run two at once, stall, kill - is settled by three things alone: the
head's condition lets one transaction follow each state, the watermark in the head tells what is applied, and nobody
goes on from a head before its transaction is known to be complete.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from faaskeeper.functions.announcing import Announcer
from faaskeeper.functions.batch import Batch, Entry, build_batch
from faaskeeper.functions.metrics import Metrics
from faaskeeper.protocol.service import Service
from faaskeeper.storage.aws import Aws
from faaskeeper.storage.commit import Plan, Watched, plan, transaction
from faaskeeper.storage.errors import AwsError, TransactionCancelled
from faaskeeper.storage.ledger import Head, Position, confirm_complete, read_events, read_head
from faaskeeper.storage.loading import Snapshot
from faaskeeper.storage.retry import delay, passing
from faaskeeper.storage.znodes import FIRED, WATCH_CHILD, WATCH_DATA, WATCH_STAY
from faaskeeper.znode.errors import Code
from faaskeeper.znode.genesis import GENESIS
from faaskeeper.znode.operations import Outcome
from faaskeeper.znode.state import State

logger = logging.getLogger(__name__)

_NOTHING_APPLIED = Position(0, 0)


class Stalled(Exception):
    """The queue could not be brought forward in the time given; its messages must come again."""


class Rejected(Exception):
    """A transaction that DynamoDB does not accept as it is; trying again would not help."""


class Sequencer:
    """One instance of the sequencer function. ``clock`` gives ms since the epoch, ``notifier`` is a function name.

    Keeps nothing but the head of its own last transaction, which a lost race corrects.
    """

    def __init__(self, aws: Aws, service: Service, clock: Callable[[], int], notifier: str | None = None) -> None:
        self.metrics = Metrics()
        self._aws = aws
        self._service = service
        self._clock = clock
        self._announcer = Announcer(aws, service, notifier, self.metrics)
        self._head: Head | None = None
        self._queue = sha256(service.requests.encode()).hexdigest()[:12]

    async def process(self, entries: Sequence[Entry], seconds: float) -> None:
        """Applies, commits and answers ``entries``, which are in queue order, within about ``seconds``.

        Raises Stalled or AwsError when it could not; then they must be delivered again, in whatever composition.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        remaining = list(entries)
        suspects: frozenset[str] = frozenset()
        most = len(remaining)
        attempt = 0
        while remaining:
            head = await self._complete_head(deadline)
            covered = [entry for entry in remaining if entry.position <= head.applied]
            if covered:
                self.metrics.add("Redeliveries", len(covered))
                await self._answer_again(head, covered)
                remaining = [entry for entry in remaining if entry.position > head.applied]
                continue
            taken = remaining[:most]
            batch = await build_batch(self._aws, self._service, head, taken, (), self._clock(), suspects)
            try:
                committed = await self._commit(head, batch)
            except Rejected:
                if len(batch.entries) > 1:
                    most = 1  # to find the one at fault
                    continue
                logger.exception("request %d of %s", taken[0].request.number, taken[0].gateway)
                await self._refuse(head, taken[0])
                committed = True
            if committed:
                remaining = remaining[len(batch.entries) :]
                suspects, attempt = frozenset[str](), 0
            else:
                suspects |= batch.assumed
                await self._pause(attempt, deadline)
                attempt += 1

    async def _complete_head(self, deadline: float) -> Head:
        """The head, its transaction known to be complete: by our own commit's success, or by asking DynamoDB."""
        attempt = 0
        while self._head is None:
            head = await read_head(self._aws, self._service)
            if head is None:
                await self._found()
            elif await confirm_complete(self._aws, self._service, head):
                # positions of another queue say nothing about this one's (a restored service)
                applied = head.applied if head.queue == self._queue else _NOTHING_APPLIED
                self._head = replace(head, applied=applied)
                break
            await self._pause(attempt, deadline)
            attempt += 1
        return self._head

    async def _found(self) -> None:
        """The first transaction of a service: the tree as a fresh ensemble has it."""
        state = State(dict.fromkeys(GENESIS))
        for path, node in GENESIS.items():
            state.put(path, node)
        first = plan(self._service, state, Snapshot(), (), (), 0, 0)
        head = Head(0, 0, tuple(first.keys), _NOTHING_APPLIED, queue=self._queue)
        await self._write(first, None, head)

    async def _commit(self, head: Head, batch: Batch) -> bool:
        """Makes the batch true and answers it. False if another transaction came first, or may have."""
        answers = [
            (entry.gateway, entry.request.number, outcome)
            for entry, outcome in zip(batch.entries, batch.outcomes, strict=True)
        ]
        if batch.plan is None:
            # what was checked must be the present: another instance may have gone on since
            now = await read_head(self._aws, self._service)
            if now is None or now.zxid != head.zxid:
                self._head = None
                return False
            self._count(batch)
            await self._announcer.announce(head.zxid, head.zxid, answers, Watched())
            return True
        following = Head(
            batch.zxid,
            head.zxid,
            tuple(batch.plan.keys),
            batch.entries[-1].position,
            tuple(answers),
            recursive_epoch=head.recursive_epoch,
            detached=tuple(batch.detached),
            queue=self._queue,
        )
        if not await self._write(batch.plan, head, following):
            return False
        self._count(batch)
        await self._announcer.announce(batch.zxid, head.zxid, answers, batch.plan.watched, batch.detached)
        return True

    async def _write(self, planned: Plan, previous: Head | None, head: Head) -> bool:
        """One TransactWriteItems. False if it was cancelled, or its answer lost: the next read of the head tells."""
        self._head = None
        began = self._clock()
        self.metrics.add("Transactions")
        try:
            await self._aws.call(
                "dynamodb",
                "transact_write_items",
                TransactItems=transaction(self._service, planned, previous, head),
            )
        except AwsError as error:
            if type(error) is AwsError or (isinstance(error, TransactionCancelled) and _invalid(error)):
                raise Rejected(str(error)) from error
            if not passing(error) and not _lost_race(error):
                raise
            self.metrics.add("CancelledTransactions")
            logger.info("transaction %d did not go through: %s", head.zxid, error)
            return False
        self.metrics.add("CommitLatency", self._clock() - began)
        self._head = head
        return True

    def _count(self, batch: Batch) -> None:
        self.metrics.add("Operations", len(batch.entries))
        failed = sum(outcome.code is not Code.OK for outcome in batch.outcomes)
        if failed:
            self.metrics.add("FailedOperations", failed)

    async def _refuse(self, head: Head, entry: Entry) -> None:
        """A request that cannot be stored must not hold up all others. The watermark stays: it would fail again."""
        outcome = Outcome(Code.SYSTEM_ERROR, head.zxid)
        await self._announcer.announce(
            head.zxid, head.zxid, [(entry.gateway, entry.request.number, outcome)], Watched()
        )

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
            watched = Watched(tuple(events), tuple(sorted(sets)))
        await self._announcer.announce(head.zxid, head.base, answers, watched, head.detached)

    async def _pause(self, attempt: int, deadline: float) -> None:
        pause = delay(attempt)
        if asyncio.get_running_loop().time() + pause > deadline:
            raise Stalled(f"gave up after {attempt + 1} attempts")
        await asyncio.sleep(pause)


def _invalid(error: TransactionCancelled) -> bool:
    return any(reason.code == "ValidationError" for reason in error.reasons)


def _lost_race(error: AwsError) -> bool:
    """Whether a condition failed: the head moved, a watch was registered, an assumed name exists, a gateway died."""
    return isinstance(error, TransactionCancelled) and any(
        reason.code == "ConditionalCheckFailed" for reason in error.reasons
    )
