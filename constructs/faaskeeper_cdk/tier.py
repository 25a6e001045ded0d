"""What a deployment trades between cost, durability and speed, as one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays

from faaskeeper.functions.janitor import function as janitor
from faaskeeper.functions.sequencer import function as sequencer

LONGEST_TIMEOUT = 900
"""Of any function, in seconds (Lambda quotas, "Function timeout")."""
_MEMORY = (128, 10_240, "MB of a Lambda function (Lambda quotas)")
_UNITS = (1, None, "request units a second, or None for no ceiling (DynamoDB, OnDemandThroughput)")
_RANGES: Mapping[str, tuple[int, int | None, str]] = {
    "point_in_time_recovery_days": (0, 35, "days, and 0 for none (DynamoDB, RecoveryPeriodInDays)"),
    "sequencer_memory": _MEMORY,
    "worker_memory": _MEMORY,
    "sequencer_timeout": (
        round(2 * sequencer.MARGIN_SECONDS),
        LONGEST_TIMEOUT,
        f"seconds of a Lambda function, and an attempt ends {sequencer.MARGIN_SECONDS:.0f} s before",
    ),
    "worker_timeout": (
        round(2 * janitor.MARGIN_SECONDS),
        LONGEST_TIMEOUT,
        f"seconds of a Lambda function, and the janitor begins nothing in the last {janitor.MARGIN_SECONDS:.0f}",
    ),
    "requests_visibility": (1, 43_200, "seconds (SQS, VisibilityTimeout)"),
    "janitor_interval_minutes": (1, None, "minutes (EventBridge, rate expressions)"),
    "max_read_units": _UNITS,
    "max_write_units": _UNITS,
}
"""Least and most of what a field may be, and whose rule that is."""


class InvalidTier(ValueError):
    """A field is out of its range, or two contradict each other; the message names field, value and rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Every choice of a deployment that costs money or protects data.

    Start from ``development()``, ``standard()`` or ``critical()`` and override field by field:
    ``dataclasses.replace(Tier.standard(), sequencer_memory=1769)``. Sizes are bytes, memory is MB, times are
    seconds unless the name says otherwise. Raises InvalidTier.
    """

    removal_policy: RemovalPolicy
    """What becomes of tables, bucket and key when they leave the stack. With RemovalPolicy.RETAIN a bucket that the
    failed deployment itself made goes nevertheless: it is empty."""
    deletion_protection: bool
    """DynamoDB refuses to delete the tables, whoever asks."""
    empty_bucket_on_removal: bool
    """With RemovalPolicy.DESTROY: a custom resource deletes the blobs first, as CloudFormation cannot. Not those in a
    bucket that was passed in."""
    point_in_time_recovery_days: int
    """0 for none, else 1 to 35. The bucket keeps deleted blobs as long."""
    customer_managed_key: bool
    """Encrypt with a KMS key of the account (made unless one is passed) instead of keys AWS owns."""

    inline_limit: int = 1024
    """Data up to this size lives in the znode's item: one write unit, and every watch or child pays for it."""
    blob_limit: int = 32768
    """Data above this size goes to the bucket. DynamoDB slows with size sooner than S3 does."""

    sequencer_memory: int = 1024
    worker_memory: int = 512
    """Of the notifier, the reaper and the janitor."""
    sequencer_timeout: int = 10
    requests_visibility: int = 12
    """A batch that a dead sequencer took comes back after this long, and all writes wait for it."""
    worker_timeout: int = 60
    janitor_interval_minutes: int = 1
    """How late container and TTL znodes go at most; one is ZooKeeper's. What a run costs: docs/cost.md."""
    requests_pollers: int = 0
    """0 for Lambda's own scaling, else that many provisioned pollers, 2 to 200: faster pick-up, paid by the hour
    (docs/cost.md)."""

    max_read_units: int | None = None
    max_write_units: int | None = None
    """On-demand ceilings of each table, in units a second, below the account's quota for a table (40,000 unless
    raised). DynamoDB throttles above them as a best effort, so a second may cost more; what a month at them costs:
    docs/cost.md."""

    keep_warm: bool = True
    """A schedule invokes sequencer and direct function each five minutes, so that a first write finds an instance of
    each: about a cent a month."""

    log_retention: RetentionDays = RetentionDays.ONE_MONTH
    tracing: bool = False
    """X-Ray: the first request of each second and 5 % of the others, which cannot be set for Lambda."""
    alarms: bool = True
    """Alarms and a dashboard, paid by the month."""

    def __post_init__(self) -> None:
        for name, (least, most, rule) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (least <= value and (most is None or value <= most)):
                raise InvalidTier(
                    f"{name}={value}: {f'at least {least}' if most is None else f'{least} to {most}'} {rule}"
                )
        if self.requests_visibility < self.sequencer_timeout:
            raise InvalidTier(
                f"requests_visibility={self.requests_visibility} is below sequencer_timeout={self.sequencer_timeout}: "
                "a batch would be handed out twice while the first function still runs, and Lambda refuses the mapping"
            )
        if not 0 < self.inline_limit <= self.blob_limit <= 390_000:
            raise InvalidTier(
                f"inline_limit={self.inline_limit} and blob_limit={self.blob_limit}: "
                "0 < inline_limit <= blob_limit <= 390000 (a DynamoDB item ends at 400 KB)"
            )
        if self.requests_pollers != 0 and not 2 <= self.requests_pollers <= 200:
            raise InvalidTier(f"requests_pollers={self.requests_pollers}: 0, or 2 to 200")
        if self.deletion_protection and self.removal_policy == RemovalPolicy.DESTROY:
            raise InvalidTier("deletion_protection with RemovalPolicy.DESTROY: the stack could never be deleted")
        if self.deletion_protection and self.removal_policy == RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE:
            raise InvalidTier(
                "deletion_protection with RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE: "
                "a first deployment that fails could not be rolled back"
            )
        if self.removal_policy == RemovalPolicy.SNAPSHOT:
            raise InvalidTier("RemovalPolicy.SNAPSHOT: neither tables nor buckets have snapshots")
        if self.empty_bucket_on_removal and self.removal_policy != RemovalPolicy.DESTROY:
            raise InvalidTier("empty_bucket_on_removal needs RemovalPolicy.DESTROY")

    @classmethod
    def development(cls) -> Self:
        """Leaves nothing behind when it is destroyed. Its tables have low ceilings."""
        return cls(
            removal_policy=RemovalPolicy.DESTROY,
            deletion_protection=False,
            empty_bucket_on_removal=True,
            point_in_time_recovery_days=0,
            customer_managed_key=False,
            sequencer_memory=512,
            worker_memory=256,
            max_read_units=1_000,
            max_write_units=500,
            keep_warm=False,
            log_retention=RetentionDays.ONE_WEEK,
            alarms=False,
        )

    @classmethod
    def standard(cls) -> Self:
        """Keeps its data whatever happens to the stack, and costs next to nothing when nobody writes."""
        return cls(
            removal_policy=RemovalPolicy.RETAIN,
            deletion_protection=True,
            empty_bucket_on_removal=False,
            point_in_time_recovery_days=7,
            customer_managed_key=False,
            max_read_units=20_000,
            max_write_units=10_000,
        )

    @classmethod
    def critical(cls) -> Self:
        """For what others depend on: own key, five weeks of recovery, tracing, no ceilings."""
        return cls(
            removal_policy=RemovalPolicy.RETAIN,
            deletion_protection=True,
            empty_bucket_on_removal=False,
            point_in_time_recovery_days=35,
            customer_managed_key=True,
            sequencer_memory=1769,
            worker_memory=1024,
            log_retention=RetentionDays.ONE_YEAR,
            tracing=True,
        )


TIERS: Mapping[str, Callable[[], Tier]] = MappingProxyType(
    {"development": Tier.development, "standard": Tier.standard, "critical": Tier.critical}
)
"""The tiers that have names."""
