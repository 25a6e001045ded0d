"""The clock by which deaths are judged."""

from __future__ import annotations

import time


def boot_time() -> float:
    """Seconds since boot, sleep included where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
