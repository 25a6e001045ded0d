"""Metrics by CloudWatch's embedded metric format: one JSON line a batch, no call and no library."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

NAMESPACE = "FaaSKeeper"
DIMENSION = "Service"


class Metrics:
    """Counts of one invocation, by metric name. ``UNITS`` has the names there are: here those that the blocks count;
    a service adds its own in a subclass.

    What happened is counted once its success is known, so at most once: of an instance that dies, or whose answer is
    lost, the repetition finds it done.
    """

    UNITS: ClassVar[Mapping[str, str]] = {
        "Messages": "Count",
        "Operations": "Count",
        "Transactions": "Count",
        "CancelledTransactions": "Count",
        "CommitLatency": "Milliseconds",
        "Redeliveries": "Count",
        "WriteLatency": "Milliseconds",
        "Quarantined": "Count",
        "FailedTimers": "Count",
    }

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()

    def add(self, name: str, value: int = 1) -> None:
        assert name in self.UNITS, name
        self._values[name] += value

    def set(self, name: str, value: int) -> None:
        """A level and not a count: the last one stands."""
        assert name in self.UNITS, name
        self._values[name] = value

    def emit(self, service: str, time: int) -> None:
        """Prints what was counted and begins anew; ``time`` is in ms since the epoch."""
        if not self._values:
            return
        print(
            json.dumps(
                {
                    "_aws": {
                        "Timestamp": time,
                        "CloudWatchMetrics": [
                            {
                                "Namespace": NAMESPACE,
                                "Dimensions": [[DIMENSION]],
                                "Metrics": [{"Name": name, "Unit": self.UNITS[name]} for name in self._values],
                            }
                        ],
                    },
                    DIMENSION: service,
                    **self._values,
                }
            ),
            flush=True,
        )
        self._values.clear()
