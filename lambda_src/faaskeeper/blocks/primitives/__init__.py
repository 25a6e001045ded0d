"""Synchronization on single DynamoDB items, usable on any table and key, by any service.

Each primitive is one conditional UpdateItem where that suffices, which DynamoDB executes one after the other on an
item (linearizable). What differs is what a lost answer means. An update that is the same however often it happens
(a set's, a lock's) is repeated. One that is not (adding to a counter or list, a register's write) goes through
TransactWriteItems with a ClientRequestToken: DynamoDB executes a token once within ten minutes and answers its
repetitions alike, at twice the price. So every method either returns, and has taken effect once; or raises one of
its own errors, and has not; or raises ``Unavailable`` after seconds of trying, and may have. Besides, each raises
``AwsError`` for what AWS refuses.

Capacity units are those of items up to 1 KB (writes) and 4 KB (reads); larger items cost as many times more.
"""

from __future__ import annotations

from faaskeeper.blocks.primitives.counter import AtomicCounter
from faaskeeper.blocks.primitives.heartbeat import Heartbeat, Pulse
from faaskeeper.blocks.primitives.lock import Lease, LockHeld, LockLost, TimedLock
from faaskeeper.blocks.primitives.register import Register, Versioned, VersionMismatch
from faaskeeper.blocks.primitives.sets import AtomicList, AtomicSet, Entries, SetFull

__all__ = [
    "AtomicCounter",
    "AtomicList",
    "AtomicSet",
    "Entries",
    "Heartbeat",
    "Lease",
    "LockHeld",
    "LockLost",
    "Pulse",
    "Register",
    "SetFull",
    "TimedLock",
    "VersionMismatch",
    "Versioned",
]
