"""What ZooKeeper counts of a connection and of a server, for its four-letter words (ServerCnxn, ServerStats)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """``received`` and ``sent`` are packets; latencies are ms from a request's arrival to its reply. ``last_op`` is an
    opcode, ``last_response`` ms on a monotonic clock. To begin anew, begin with a new one."""

    received: int = 0
    sent: int = 0
    replies: int = 0
    total_latency: int = 0
    min_latency: int = 0
    max_latency: int = 0
    last_op: int | None = None
    last_xid: int | None = None
    last_zxid: int = -1
    last_response: int = 0
    last_latency: int = 0

    @property
    def average_latency(self) -> float:
        return self.total_latency / self.replies if self.replies else 0.0

    def replied(self, op: int, xid: int, zxid: int, arrived: float, now: float) -> None:
        """A request that ``arrived`` at that second was answered ``now``. Pings and the like have negative xids, which
        do not show."""
        latency = int(1000 * (now - arrived))
        self.min_latency = min(self.min_latency, latency) if self.replies else latency
        self.max_latency = max(self.max_latency, latency)
        self.replies += 1
        self.total_latency += latency
        self.last_op = op
        if xid >= 0:
            self.last_xid = xid
        self.last_zxid = zxid
        self.last_response = int(1000 * now)
        self.last_latency = latency
