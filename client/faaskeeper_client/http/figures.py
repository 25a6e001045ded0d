"""A gateway's figures for the console: what a person wants to see at a glance."""

from __future__ import annotations

from typing import Any

from faaskeeper_client.http.usage import FUNCTIONS_PER_WRITE, OK, Usage
from faaskeeper_client.wire.four_letter import Snapshot, operation_name


def figures(snapshot: Snapshot, usage: Usage) -> dict[str, Any]:
    """Times in ms, costs in dollars; ``calls`` are to AWS, by service and operation."""
    statistics = snapshot.statistics
    calls: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in usage:
        entry = calls.setdefault(
            (each.service, each.operation, each.unit),
            {"service": each.service, "operation": each.operation, "unit": each.unit, "count": 0, "failed": 0},
        )
        entry["count"] += each.count
        entry["failed"] += 0 if each.outcome == OK else each.count
        entry["units"] = entry.get("units", 0.0) + each.units
        entry["dollars"] = entry.get("dollars", 0.0) + each.dollars
    return {
        "serving": snapshot.serving,
        "zxid": f"{snapshot.zxid:#x}",
        "uptime": snapshot.uptime,
        "outstanding": snapshot.outstanding,
        "connections": len(snapshot.connections),
        "sessions": len(snapshot.sessions),
        "watches": sum(map(len, snapshot.watches.values())) + snapshot.child_watches,
        "received": statistics.received,
        "sent": statistics.sent,
        "reads": _latencies(statistics.reads.count, statistics.reads.quantiles(0.5, 0.99)),
        "updates": _latencies(statistics.updates.count, statistics.updates.quantiles(0.5, 0.99)),
        "operations": {
            operation_name(op): sum(latencies.counts) for op, latencies in sorted(statistics.by_operation.items())
        },
        "calls": list(calls.values()),
        "dollars": usage.dollars,
        "assumedFunctionDollars": statistics.updates.count * FUNCTIONS_PER_WRITE,
    }


def _latencies(count: int, quantiles: list[float]) -> dict[str, Any]:
    median, high = quantiles
    return {"count": count, "p50": median if count else None, "p99": high if count else None}
