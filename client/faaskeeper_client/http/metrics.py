"""A gateway's figures in Prometheus's format.

Names without ``faaskeeper_`` are those of ZooKeeper's own provider (PrometheusMetricsProvider), with its meaning and
its units, ms and bytes, so that dashboards made for ZooKeeper work. All others have their unit in their name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from faaskeeper_client.http.gateway_view import GatewayView
from faaskeeper_client.http.usage import FUNCTIONS_PER_WRITE, Usage
from faaskeeper_client.wire.four_letter import Snapshot, monitor, operation_name
from faaskeeper_client.wire.statistics import LATENCY_BOUNDS, CacheStatistics, Latencies, Recent

CONTENT_TYPE = CONTENT_TYPE_LATEST
_QUANTILES = (0.5, 0.9, 0.99)
"""As ZooKeeper's summaries of its detail level ADVANCED."""


class Metrics:
    """Of one gateway, and of the process it runs in."""

    def __init__(self, gateway: GatewayView, usage: Usage) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_GatewayCollector(gateway, usage))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _GatewayCollector(Collector):
    def __init__(self, gateway: GatewayView, usage: Usage) -> None:
        self._gateway = gateway
        self._usage = usage

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        snapshot = self._gateway.snapshot()
        yield from _as_zookeeper(snapshot)
        yield from _of_the_gateway(snapshot)
        yield from _of_aws(snapshot, self._usage)


def _as_zookeeper(snapshot: Snapshot) -> Iterator[Metric]:
    for name, value in monitor(snapshot).items():
        if not isinstance(value, str):
            yield GaugeMetricFamily(name, name, value)
    statistics = snapshot.statistics
    counts = {
        "bytes_received_count": statistics.bytes_received,
        "response_bytes": statistics.response_bytes,
        "watch_bytes": statistics.watch_bytes,
        "connection_request_count": statistics.connection_requests,
    }
    for name, count in counts.items():
        # a counter that this library makes has _total at its end, ZooKeeper's have not
        metric = Metric(name, name, "unknown")
        metric.add_sample(name, {}, count)
        yield metric
    yield _summary("readlatency", statistics.reads)
    yield _summary("updatelatency", statistics.updates)


def _of_the_gateway(snapshot: Snapshot) -> Iterator[Metric]:
    about = {name: str(snapshot.configuration.get(name, "")) for name in ("service", "region", "gateway")}
    yield InfoMetricFamily(
        "faaskeeper_gateway", "Which gateway of which service this is.", about | {"version": snapshot.version}
    )
    yield GaugeMetricFamily(
        "faaskeeper_gateway_serving",
        "1 while the gateway may answer, else 0: it cannot beat.",
        int(snapshot.serving),
    )
    yield GaugeMetricFamily(
        "faaskeeper_gateway_zxid", "The last transaction that the gateway knows to be complete.", snapshot.zxid
    )
    yield from _of_the_cache(snapshot.cache)
    requests = HistogramMetricFamily(
        "faaskeeper_gateway_request_duration_seconds",
        "From a request's arrival at the gateway to its reply, by ZooKeeper's short name of the operation.",
        labels=["operation"],
    )
    merged: dict[str, list[Latencies]] = {}
    for op, latencies in snapshot.statistics.by_operation.items():
        merged.setdefault(operation_name(op), []).append(latencies)
    for name, parts in sorted(merged.items()):
        _add_histogram(requests, [name], parts)
    yield requests


def _of_the_cache(cache: CacheStatistics) -> Iterator[Metric]:
    reads = CounterMetricFamily(
        "faaskeeper_gateway_cache_reads",
        "Reads that were answered from memory (hit), or by storage (miss), since the gateway last began anew.",
        labels=["outcome"],
    )
    reads.add_metric(["hit"], cache.hits)
    reads.add_metric(["miss"], cache.misses)
    yield reads
    yield CounterMetricFamily(
        "faaskeeper_gateway_cache_invalidations",
        "Entries dropped because a transaction changed their znode, or may have.",
        cache.invalidations,
    )
    yield GaugeMetricFamily("faaskeeper_gateway_cache_entries", "Znodes in memory.", cache.entries)
    yield GaugeMetricFamily("faaskeeper_gateway_cache_bytes", "What they take, about.", cache.bytes)


def _of_aws(snapshot: Snapshot, usage: Usage) -> Iterator[Metric]:
    labels = ["service", "operation"]
    calls = CounterMetricFamily(
        "faaskeeper_aws_calls", "Calls of the gateway to AWS; outcome is ok, or the error.", labels=[*labels, "outcome"]
    )
    units = CounterMetricFamily(
        "faaskeeper_aws_billed_units",
        "What AWS bills the gateway's calls by: DynamoDB's units, requests to queues and to the bucket.",
        labels=["unit"],
    )
    durations = HistogramMetricFamily(
        "faaskeeper_aws_call_duration_seconds", "Of the gateway's calls to AWS; long polls wait in it.", labels=labels
    )
    sums: dict[str, float] = {}
    parts: dict[tuple[str, str], list[Latencies]] = {}
    for each in usage:
        calls.add_metric([each.service, each.operation, each.outcome], each.count)
        sums[each.unit] = sums.get(each.unit, 0.0) + each.units
        parts.setdefault((each.service, each.operation), []).append(each.latencies)
    for unit, value in sorted(sums.items()):
        units.add_metric([unit], value)
    for key, latencies in parts.items():
        _add_histogram(durations, list(key), latencies)
    yield from (calls, units, durations)
    yield CounterMetricFamily(
        "faaskeeper_gateway_cost_dollars", "Of the gateway's calls, at the prices in docs/cost.md.", usage.dollars
    )
    yield CounterMetricFamily(
        "faaskeeper_functions_assumed_cost_dollars",
        "What the functions are assumed to have used for this gateway's writes, as docs/cost.md has it of a set.",
        snapshot.statistics.updates.count * FUNCTIONS_PER_WRITE,
    )


def _summary(name: str, recent: Recent) -> Metric:
    metric = SummaryMetricFamily(name, name, count_value=recent.count, sum_value=recent.total)
    for share, value in zip(_QUANTILES, recent.quantiles(*_QUANTILES), strict=True):
        metric.add_sample(name, {"quantile": str(share)}, value)
    return metric


def _add_histogram(metric: HistogramMetricFamily, labels: list[str], parts: list[Latencies]) -> None:
    counts = accumulate(sum(column) for column in zip(*(part.counts for part in parts), strict=True))
    bounds = [*(str(bound) for bound in LATENCY_BOUNDS), "+Inf"]
    metric.add_metric(labels, list(zip(bounds, counts, strict=True)), sum(part.total for part in parts))
