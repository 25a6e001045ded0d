"""AWS's throughput limits: what is asked for above them is throttled.

DynamoDB (on demand): 1,000 write and 3,000 read units a second for each partition key. SQS FIFO without high
throughput: 300 calls a second for each kind of call and queue. (Developer guides: "Designing partition keys",
"Amazon SQS quotas".)
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

WRITE_UNITS: Final = 1000.0
READ_UNITS: Final = 3000.0
FIFO_CALLS: Final = 300.0


class Limits:
    """Token buckets that hold one second's worth. ``enforced`` False lets everything pass."""

    def __init__(self, *, enforced: bool) -> None:
        self._enforced = enforced
        self._full_at: dict[Hashable, float] = {}

    def admit(self, now: float, what: Hashable, rate: float, amount: float) -> bool:
        """Takes ``amount`` of ``rate`` a second; False, and nothing taken, if that is above the limit."""
        if not self._enforced:
            return True
        full_at = max(self._full_at.get(what, now), now)
        if full_at - now + amount / rate > 1.0:
            return False
        self._full_at[what] = full_at + amount / rate
        return True
