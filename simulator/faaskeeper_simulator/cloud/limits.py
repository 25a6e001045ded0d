"""AWS's throughput limits: what is asked for above them is throttled.

DynamoDB (on demand): 1,000 write and 3,000 read units a second for each partition, and what a table is limited to
(``DynamoDb.limit``). AWS keeps up to 300 seconds' worth of what was not used for a burst, but guarantees none, and
gives none above a partition's limit (Developer Guide, "Burst and adaptive capacity"; re:Post, "How does DynamoDB handle
spiky workloads"); here it keeps one second's worth. A transaction is cancelled where capacity is insufficient for all
of it (API Reference, TransactionCanceledException), so one of more than a bucket holds is refused for good: that is
inferred, no page says so. SQS FIFO without high throughput: 300 calls a second for each kind of call and queue.
(Developer guides: "Designing partition keys", "Amazon SQS quotas".)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Final

WRITE_UNITS: Final = 1000.0
READ_UNITS: Final = 3000.0
FIFO_CALLS: Final = 300.0


class Limits:
    """Token buckets that hold ``burst`` seconds' worth. ``enforced`` False lets everything pass."""

    def __init__(self, *, enforced: bool, burst: float = 1.0) -> None:
        self._enforced = enforced
        self._burst = burst
        self._full_at: dict[Hashable, float] = {}

    def admit(self, now: float, what: Hashable, rate: float, amount: float) -> bool:
        """Takes ``amount`` of ``rate`` a second; False, and nothing taken, if that is above the limit."""
        return self.admit_all(now, {what: (rate, amount)})

    def admit_all(self, now: float, wanted: Mapping[Hashable, tuple[float, float]]) -> bool:
        """Like ``admit``, of several things (rate and amount of each) together: all or nothing."""
        if not self._enforced:
            return True
        full_at = {
            what: max(self._full_at.get(what, now), now) + amount / rate for what, (rate, amount) in wanted.items()
        }
        if any(full - now > self._burst for full in full_at.values()):
            return False
        self._full_at |= full_at
        return True
