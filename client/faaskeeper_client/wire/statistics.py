"""What ZooKeeper counts of a connection and of a server, for its administrators (ServerCnxn, ServerStats)."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from .requests import Op

LATENCY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; the upper ends of the ranges that requests are counted in, but for the last, which has none."""
_RECENT = 1000
"""Requests that quantiles are taken of."""
_EVENT = (-1).to_bytes(4, "big", signed=True)
_UPDATES = frozenset(
    {
        Op.CREATE,
        Op.CREATE2,
        Op.CREATE_CONTAINER,
        Op.CREATE_TTL,
        Op.DELETE,
        Op.SET_DATA,
        Op.SET_ACL,
        Op.MULTI,
        Op.CREATE_SESSION,
        Op.CLOSE_SESSION,
    }
)


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

    def came(self, frame: bytes) -> None:
        """A packet from a client; ``frame`` is its body."""
        self.received += 1

    def went(self, frame: bytes) -> None:
        """A packet to a client, with its length at the beginning."""
        self.sent += 1

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


@dataclass(slots=True)
class Latencies:
    """``counts`` of requests by the ranges of LATENCY_BOUNDS; ``total`` seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Recent:
    """Latencies in ms: all of them counted, the latest kept."""

    count: int = 0
    total: int = 0
    _latest: deque[int] = field(default_factory=lambda: deque[int](maxlen=_RECENT))

    def add(self, latency: int) -> None:
        self.count += 1
        self.total += latency
        self._latest.append(latency)

    def quantiles(self, *shares: float) -> list[float]:
        """Of the latest thousand; not a number if there is none."""
        ordered = sorted(self._latest)
        if not ordered:
            return [float("nan") for _ in shares]
        return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in shares]


@dataclass(slots=True)
class ServerStatistics(Statistics):
    """Of all connections. Sizes are in bytes; those of replies are without the length in front of each
    (ClientResponseStats). ``reads`` and ``updates`` are as ServerStats.updateLatency tells them apart."""

    bytes_received: int = 0
    response_bytes: int = 0
    watch_bytes: int = 0
    last_response_size: int = -1
    min_response_size: int = -1
    max_response_size: int = -1
    connection_requests: int = 0
    reads: Recent = field(default_factory=Recent)
    updates: Recent = field(default_factory=Recent)
    by_operation: dict[int, Latencies] = field(default_factory=dict[int, Latencies])

    def reset(self) -> ServerStatistics:
        """A new beginning for all that srst resets: packets, latencies and sizes. What ServerMetrics keeps goes on."""
        return ServerStatistics(
            bytes_received=self.bytes_received,
            response_bytes=self.response_bytes,
            watch_bytes=self.watch_bytes,
            connection_requests=self.connection_requests,
            reads=self.reads,
            updates=self.updates,
            by_operation=self.by_operation,
        )

    def came(self, frame: bytes) -> None:
        self.received += 1
        self.bytes_received += len(frame) + 4

    def went(self, frame: bytes) -> None:
        self.sent += 1
        size = len(frame) - 4
        if frame[4:8] == _EVENT:
            self.watch_bytes += size
            return
        self.response_bytes += size
        self.last_response_size = size
        self.min_response_size = size if self.min_response_size < 0 else min(size, self.min_response_size)
        self.max_response_size = max(size, self.max_response_size)

    def replied(self, op: int, xid: int, zxid: int, arrived: float, now: float) -> None:
        # slots make another class of this one, of which super() without arguments knows nothing
        Statistics.replied(self, op, xid, zxid, arrived, now)
        self.connection_requests += op == Op.CREATE_SESSION
        (self.updates if op in _UPDATES else self.reads).add(self.last_latency)
        self.by_operation.setdefault(op, Latencies()).add(now - arrived)


@dataclass(slots=True)
class CacheStatistics:
    """What a gateway answers from memory; ZooKeeper has no such thing. ``hits`` are reads that were answered from
    memory, ``misses`` those that were not. ``invalidations`` are entries that a transaction changed, or may have."""

    hits: int = 0
    misses: int = 0
    invalidations: int = 0
    entries: int = 0
    bytes: int = 0
