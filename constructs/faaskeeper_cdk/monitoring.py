"""What a service tells of itself: metrics, alarms on them, and a dashboard.

Queues, tables and functions report to CloudWatch by themselves; the functions add their own metrics in the embedded
metric format (namespace ``FaaSKeeper``, dimension ``Service``).
"""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from faaskeeper import page
from faaskeeper.blocks.metrics import DIMENSION, NAMESPACE
from faaskeeper.functions.metrics import FunctionMetrics
from faaskeeper.protocol.service import Service
from faaskeeper_cdk.functions import Functions
from faaskeeper_cdk.queues import Queues
from faaskeeper_cdk.storage import Storage

MINUTE = Duration.minutes(1)
RUNBOOK = page("runbook.md")
_SUM, _MAXIMUM = cloudwatch.Stats.SUM, cloudwatch.Stats.MAXIMUM
_TABLE_OPERATIONS = {
    "znodes": ("BatchGetItem", "TransactWriteItems", "UpdateItem"),
    "sessions": ("TransactWriteItems", "UpdateItem"),
    "ledger": ("GetItem", "TransactGetItems", "TransactWriteItems"),
}
"""What writes, reads and beats cannot do without; an alarm takes ten metrics at most."""
_FEW_TRANSACTIONS = 20
"""A minute: below that the share that was cancelled says nothing."""


class InvalidMetric(ValueError):
    """The functions report no metric of that name."""


class ServiceMetrics:
    """Metrics of one service, by the minute. A mixin of constructs with the attributes below."""

    service: Service
    queues: Queues
    storage: Storage
    functions: Functions

    def metric(self, name: str, statistic: str = _SUM) -> cloudwatch.Metric:
        """One of the functions' own, by its name in ``faaskeeper.functions.metrics``. Raises InvalidMetric."""
        if name not in FunctionMetrics.UNITS:
            raise InvalidMetric(f"{name!r}: one of {', '.join(FunctionMetrics.UNITS)}")
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={DIMENSION: self.service.name},
            statistic=statistic,
            period=MINUTE,
            label=name,
        )

    def metric_operations(self) -> cloudwatch.Metric:
        """Operations committed."""
        return self.metric("Operations")

    def metric_batch_size(self) -> cloudwatch.Metric:
        """Operations that were committed by one invocation, on average."""
        return self.metric("Operations", cloudwatch.Stats.AVERAGE)

    def metric_failed_operations(self) -> cloudwatch.Metric:
        """Operations answered with an error of ZooKeeper's (NoNode, BadVersion, ...)."""
        return self.metric("FailedOperations")

    def metric_commit_latency(self, statistic: str = "p99") -> cloudwatch.Metric:
        """Of an invocation's transactions together, in ms."""
        return self.metric("CommitLatency", statistic)

    def metric_cancelled_transactions(self) -> cloudwatch.Metric:
        """Transactions that met another on an item, or a newer state."""
        return self.metric("CancelledTransactions")

    def metric_redeliveries(self) -> cloudwatch.Metric:
        """Operations that came again after they had been applied."""
        return self.metric("Redeliveries")

    def metric_hints(self) -> cloudwatch.Metric:
        """Gateways told that a watch fired."""
        return self.metric("Hints")

    def metric_quarantined(self) -> cloudwatch.Metric:
        """Messages that the sequencer could not parse."""
        return self.metric("Quarantined")

    def metric_refused(self) -> cloudwatch.Metric:
        """Messages of gateways that speak another version of the protocol."""
        return self.metric("Refused")

    def metric_write_latency(self, statistic: str = "p99") -> cloudwatch.Metric:
        """From the sending of a batch's oldest message to the end of its invocation, in ms."""
        return self.metric("WriteLatency", statistic)

    def metric_expired_gateways(self) -> cloudwatch.Metric:
        """Gateways that stopped beating."""
        return self.metric("ExpiredGateways")

    def metric_sessions(self) -> cloudwatch.Metric:
        """How many there are; no value in minutes without a write."""
        return self.metric("Sessions", _MAXIMUM)

    def metric_expired_sessions(self) -> cloudwatch.Metric:
        """Sessions that ended because nobody was heard of for their timeout, with a dead gateway or without."""
        return self.metric("ExpiredSessions")

    def metric_messages(self) -> cloudwatch.Metric:
        """Requests taken from the queue; each carries one operation and more."""
        return self.metric("Messages")

    def metric_transactions(self) -> cloudwatch.Metric:
        """Transactions committed or tried."""
        return self.metric("Transactions")

    def metric_failed_timers(self) -> cloudwatch.Metric:
        """Timers that the reaper could not look at and left in the queue."""
        return self.metric("FailedTimers")

    def metric_reaped_znodes(self) -> cloudwatch.Metric:
        """Container and TTL znodes that the janitor had deleted."""
        return self.metric("ReapedZnodes")

    def metric_removed_items(self) -> cloudwatch.Metric:
        """Tombstones, placeholders and the like that the janitor removed."""
        return self.metric("RemovedItems")

    def metric_removed_blobs(self) -> cloudwatch.Metric:
        """Objects that no znode refers to any more."""
        return self.metric("RemovedBlobs")

    def metric_removed_queues(self) -> cloudwatch.Metric:
        """Reply queues that gateways left behind."""
        return self.metric("RemovedQueues")

    def metric_queue_age(self) -> cloudwatch.Metric:
        """Age of the oldest request, in seconds. SQS leaves out what was received three times and more."""
        return self.queues.requests.metric_approximate_age_of_oldest_message(period=MINUTE, statistic=_MAXIMUM)

    def metric_queue_depth(self) -> cloudwatch.MathExpression:
        """Requests that wait or are with the sequencer."""
        requests = self.queues.requests
        return cloudwatch.MathExpression(
            expression="waiting + taken",
            using_metrics={
                "waiting": requests.metric_approximate_number_of_messages_visible(period=MINUTE, statistic=_MAXIMUM),
                "taken": requests.metric_approximate_number_of_messages_not_visible(period=MINUTE, statistic=_MAXIMUM),
            },
            label="Queue depth",
            period=MINUTE,
        )

    def metric_write_stall(self) -> cloudwatch.MathExpression:
        """1 in a minute in which requests were there and none was done with, else 0. All of it is SQS's word: it also
        sees what ``metric_queue_age`` leaves out, and what functions that do not run cannot report."""
        return cloudwatch.MathExpression(
            expression="IF(depth > 0 AND done == 0, 1, 0)",
            using_metrics={
                "depth": self.metric_queue_depth(),
                "done": self.queues.requests.metric_number_of_messages_deleted(period=MINUTE, statistic=_SUM),
            },
            label="Write stall",
            period=MINUTE,
        )

    def metric_cancelled_share(self) -> cloudwatch.MathExpression:
        """Per cent of the transactions, 0 where there were few."""
        return cloudwatch.MathExpression(
            expression=f"IF(transactions >= {_FEW_TRANSACTIONS}, 100 * FILL(cancelled, 0) / transactions, 0)",
            using_metrics={
                "cancelled": self.metric_cancelled_transactions(),
                "transactions": self.metric("Transactions"),
            },
            label="Cancelled, %",
            period=MINUTE,
        )

    def metric_dead_letters(self) -> cloudwatch.Metric:
        """Messages in the dead-letter queue."""
        return self.queues.dead_letters.metric_approximate_number_of_messages_visible(
            period=MINUTE, statistic=_MAXIMUM, label="Dead letters"
        )

    def metric_reaper_failures(self) -> cloudwatch.MathExpression:
        """Runs of the reaper that failed, and timers that failed in runs that did not."""
        return _sum(
            {"errors": self.functions.reaper.metric_errors(period=MINUTE), "timers": self.metric("FailedTimers")},
            "Reaper failures",
        )

    def metric_table_throttles(self) -> cloudwatch.MathExpression:
        """Reads and writes that DynamoDB refused for lack of throughput, of all three tables."""
        return _sum(
            {
                f"{role}{what}": table.metric(f"{what}ThrottleEvents", statistic=_SUM, period=MINUTE)
                for role, table in self._tables().items()
                for what in ("Read", "Write")
            },
            "Throttled by DynamoDB",
        )

    def metric_table_errors(self) -> cloudwatch.MathExpression:
        """Requests that failed inside DynamoDB (HTTP 500)."""
        return _sum(
            {
                f"{role}{operation}": table.metric(
                    "SystemErrors",
                    dimensions_map={"TableName": table.table_name, "Operation": operation},
                    statistic=_SUM,
                    period=MINUTE,
                )
                for role, table in self._tables().items()
                for operation in _TABLE_OPERATIONS[role]
            },
            "DynamoDB errors",
        )

    def _tables(self) -> dict[str, dynamodb.Table]:
        return {"znodes": self.storage.znodes, "sessions": self.storage.sessions, "ledger": self.storage.ledger}


class Monitoring(Construct):
    """``alarms``, by the name of their entry in the runbook, and a ``dashboard``. All alarms, and their ends, are told
    to ``alarm_topic`` (a topic with a key must let CloudWatch use it)."""

    def __init__(
        self, scope: Construct, id: str, *, metrics: ServiceMetrics, alarm_topic: sns.ITopic | None = None
    ) -> None:
        super().__init__(scope, id)
        self._metrics = metrics
        self._action = actions.SnsAction(alarm_topic) if alarm_topic else None
        self.alarms: dict[str, cloudwatch.Alarm] = {}
        functions = metrics.functions

        self._alarm("WriteStall", "Requests wait and none is done with", metrics.metric_write_stall(), 1, 2)
        self._alarm("QueueAge", "Writes take 30 s and more", metrics.metric_queue_age(), 30, 2, of=3)
        self._alarm(
            "SequencerErrors", "The sequencer fails", functions.sequencer.metric_errors(period=MINUTE), 1, 3, of=5
        )
        self._alarm(
            "SequencerThrottles",
            "Lambda does not start the sequencer",
            functions.sequencer.metric_throttles(period=MINUTE),
            1,
            2,
            of=3,
        )
        self._alarm("DirectErrors", "Direct calls fail", functions.direct.metric_errors(period=MINUTE), 1, 3, of=5)
        self._alarm(
            "DirectThrottles",
            "Lambda does not start the direct function: writes go by the queue",
            functions.direct.metric_throttles(period=MINUTE),
            1,
            2,
            of=3,
        )
        self._alarm(
            "Quarantined", "A message could not be parsed and was put aside", metrics.metric_quarantined(), 1, 1
        )
        self._alarm("Refused", "Gateways of another version are turned away", metrics.metric_refused(), 1, 1)
        self._alarm(
            "DeadLetters",
            "Messages were given up",
            metrics.metric_dead_letters(),
            1,
            1,
            # SQS stops reporting on an idle queue: that does not empty it
            missing=cloudwatch.TreatMissingData.IGNORE,
        )
        self._alarm("ReaperErrors", "Dead sessions may not expire", metrics.metric_reaper_failures(), 1, 3, of=5)
        self._alarm(
            "JanitorErrors",
            "Container and TTL znodes may stay, and garbage too",
            functions.janitor.metric_errors(period=MINUTE),
            1,
            5,
            of=15,
        )
        self._alarm(
            "CancelledTransactions",
            "A fifth of all transactions is made in vain",
            metrics.metric_cancelled_share(),
            20,
            3,
            of=5,
        )
        self._alarm("TableThrottles", "DynamoDB refuses requests", metrics.metric_table_throttles(), 1, 3, of=5)
        self._alarm("TableErrors", "Requests fail inside DynamoDB", metrics.metric_table_errors(), 1, 3, of=5)
        self.dashboard = self._dashboard()

    def _alarm(
        self,
        name: str,
        meaning: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        minutes: int,
        *,
        of: int | None = None,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        """Goes off when ``metric`` was at ``threshold`` or above in ``minutes`` of the last ``of`` minutes."""
        service = self._metrics.service.name
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"faaskeeper-{service}-{name}",
            alarm_description=f"{meaning}. What to do: {RUNBOOK}#{name.lower()}",
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            datapoints_to_alarm=minutes,
            evaluation_periods=of or minutes,
            treat_missing_data=missing,
        )
        if self._action:
            alarm.add_alarm_action(self._action)
            alarm.add_ok_action(self._action)
        self.alarms[name] = alarm

    def _dashboard(self) -> cloudwatch.Dashboard:
        """From the top: does it work, how well, what is wrong underneath."""
        metrics, functions = self._metrics, self._metrics.functions
        return cloudwatch.Dashboard(
            self,
            "Dashboard",
            # dashboards are of an account, not of a region
            dashboard_name=f"faaskeeper-{metrics.service.name}-{Stack.of(self).region}",
            default_interval=Duration.hours(3),
            period_override=cloudwatch.PeriodOverride.INHERIT,
            widgets=[
                [
                    cloudwatch.AlarmStatusWidget(
                        title=f"{metrics.service.name}: alarms", alarms=list(self.alarms.values()), width=24, height=3
                    )
                ],
                [
                    _graph("Write stall (1: requests wait, none is done with)", [metrics.metric_write_stall()]),
                    _graph(
                        "Commit latency, ms",
                        [metrics.metric_commit_latency(each) for each in ("p50", "p99", "Maximum")],
                    ),
                    _graph(
                        "Operations a batch; messages",
                        [metrics.metric_batch_size()],
                        [metrics.metric("Messages", cloudwatch.Stats.AVERAGE)],
                    ),
                ],
                [
                    _graph(
                        "Operations a minute; failed ones too",
                        [metrics.metric_operations(), metrics.metric_failed_operations()],
                    ),
                    _graph("Cancelled transactions, %", [metrics.metric_cancelled_share()]),
                    _graph("Redelivered operations", [metrics.metric_redeliveries()]),
                ],
                [
                    _graph("Hints to gateways", [metrics.metric_hints()]),
                    _graph(
                        "Age of the oldest request, s; requests",
                        [metrics.metric_queue_age()],
                        [metrics.metric_queue_depth()],
                    ),
                    _graph(
                        "Expired gateways and sessions; sessions",
                        [metrics.metric_expired_gateways(), metrics.metric_expired_sessions()],
                        [metrics.metric_sessions()],
                    ),
                ],
                [
                    _graph(
                        "Function errors", [_named(each.metric_errors(period=MINUTE), each) for each in functions.all]
                    ),
                    _graph(
                        "DynamoDB: throttled, failed", [metrics.metric_table_throttles(), metrics.metric_table_errors()]
                    ),
                    _graph(
                        "Dead letters, quarantined, refused",
                        [metrics.metric_dead_letters(), metrics.metric_quarantined(), metrics.metric_refused()],
                    ),
                ],
                [
                    _graph(
                        "From sending to commit, ms", [metrics.metric_write_latency(each) for each in ("p50", "p99")]
                    ),
                    _graph("Timers that failed", [metrics.metric("FailedTimers")]),
                    _graph(
                        "Removed by the janitor",
                        [
                            metrics.metric(each)
                            for each in ("ReapedZnodes", "RemovedItems", "RemovedBlobs", "RemovedQueues")
                        ],
                    ),
                ],
            ],
        )


def _sum(metrics: Mapping[str, cloudwatch.IMetric], label: str) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        # a metric of an error has no value before the first one: a plain sum would have none either
        expression=f"SUM([{', '.join(f'FILL({name}, 0)' for name in metrics)}])",
        using_metrics=dict(metrics),
        label=label,
        period=MINUTE,
    )


def _graph(
    title: str, left: Sequence[cloudwatch.IMetric], right: Sequence[cloudwatch.IMetric] = ()
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(left), right=list(right), width=8, height=6, left_y_axis=cloudwatch.YAxisProps(min=0)
    )


def _named(metric: cloudwatch.Metric, function: lambda_.Function) -> cloudwatch.Metric:
    return metric.with_(label=function.node.id)
