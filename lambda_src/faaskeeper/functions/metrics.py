"""What FaaSKeeper's functions count besides what the blocks do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from faaskeeper.blocks.metrics import Metrics


class FunctionMetrics(Metrics):
    """The metrics of one function of a service; ``docs/constructs.md`` tells what each says."""

    UNITS: ClassVar[Mapping[str, str]] = {
        **Metrics.UNITS,
        "FailedOperations": "Count",
        "Hints": "Count",
        "Refused": "Count",
        "Sessions": "Count",
        "ExpiredGateways": "Count",
        "ExpiredSessions": "Count",
        "ReapedZnodes": "Count",
        "RemovedItems": "Count",
        "RemovedBlobs": "Count",
        "RemovedQueues": "Count",
    }
