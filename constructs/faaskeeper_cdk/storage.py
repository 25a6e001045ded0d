"""Three tables and a bucket: the tree, its sessions, the ledger of commits, and data too large for an item. And the
kinds of table and bucket that these are, for whatever else is to be built like this."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from faaskeeper.storage.journal import PREFIX as JOURNAL_PREFIX
from faaskeeper.storage.keys import KEY_NAMES
from faaskeeper_cdk.review import acknowledge, acknowledge_controls
from faaskeeper_cdk.tier import Tier

EXPIRY_ATTRIBUTE = "expires"
"""Epoch seconds after which DynamoDB may delete an item of the ledger: event records only."""


class SynchronizationTable(dynamodb.Table):
    """An on-demand table with the ``keys`` (partition, sort; texts) for items that conditions, transactions and the
    primitives of ``faaskeeper.blocks.primitives`` work on. ``expiry`` names the attribute, if any, with epoch seconds
    after which DynamoDB may delete an item.

    ``dynamodb.Table`` and not ``TableV2``: such a table is never replicated (global tables either evaluate conditions
    in each region for itself or know no transactions), and only ``Table`` takes a customer-managed key in a stack
    that does not know its region.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        keys: tuple[str, str],
        tier: Tier,
        encryption_key: kms.IKey | None = None,
        expiry: str | None = None,
    ) -> None:
        partition, sort = keys
        super().__init__(
            scope,
            id,
            partition_key=dynamodb.Attribute(name=partition, type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name=sort, type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            max_read_request_units=tier.max_read_units,
            max_write_request_units=tier.max_write_units,
            time_to_live_attribute=expiry,
            encryption=(
                dynamodb.TableEncryption.CUSTOMER_MANAGED if encryption_key else dynamodb.TableEncryption.DEFAULT
            ),
            encryption_key=encryption_key,
            deletion_protection=tier.deletion_protection,
            point_in_time_recovery_specification=(
                dynamodb.PointInTimeRecoverySpecification(
                    point_in_time_recovery_enabled=True, recovery_period_in_days=tier.point_in_time_recovery_days
                )
                if tier.point_in_time_recovery_days
                else None
            ),
            removal_policy=tier.removal_policy,
        )
        if not tier.point_in_time_recovery_days:
            acknowledge(self, {"AwsSolutions-DDB3": "a tier whose data may be lost"})
        acknowledge_controls(
            self,
            {
                "DynamoDBInBackupPlan": "point-in-time recovery restores every second of the tier's period; plans of "
                "AWS Backup belong to the account and select what they cover by tag or ARN"
            },
        )


PASSING_DAYS = 40
"""Longer than the tables' recovery period, 35 days at most: a head may be restored to the middle of a transaction, and
without its journal nobody could finish it, nor begin another."""


class BlobBucket(s3.Bucket):
    """A private, TLS-only bucket for what is too large for an item or a message, written once under a random name
    before anything refers to it (claim check). Objects under the prefixes ``passing`` go after PASSING_DAYS."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        tier: Tier,
        encryption_key: kms.IKey | None = None,
        passing: Sequence[str] = (),
    ) -> None:
        kept = tier.point_in_time_recovery_days
        super().__init__(
            scope,
            id,
            encryption=s3.BucketEncryption.KMS if encryption_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=encryption_key,
            bucket_key_enabled=True if encryption_key else None,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            # blobs never change: a version is only ever what a restored table still points to
            versioned=bool(kept),
            lifecycle_rules=[
                *(
                    s3.LifecycleRule(
                        id=f"expire-{prefix.strip('/')}s", prefix=prefix, expiration=Duration.days(PASSING_DAYS)
                    )
                    for prefix in passing
                ),
                s3.LifecycleRule(
                    id="expire-what-nothing-can-restore",
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                    noncurrent_version_expiration=Duration.days(kept) if kept else None,
                    expired_object_delete_marker=True if kept else None,
                ),
            ],
            # what a first deployment made before it failed holds nothing yet
            removal_policy=(
                RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
                if tier.removal_policy == RemovalPolicy.RETAIN
                else tier.removal_policy
            ),
        )
        no_logs = (
            "only roles of this service reach the objects, and CloudTrail data events show who; "
            "pass a bucket with server access logs as blobs= where both are wanted"
        )
        acknowledge(self, {"AwsSolutions-S1": no_logs})
        acknowledge_controls(
            self,
            {
                "S3BucketLoggingEnabled": no_logs,
                "S3BucketReplicationEnabled": "objects mean nothing without the tables that refer to them, and an "
                "ensemble is of one region; versions are kept for as long as tables can be restored",
            },
        )


class Storage(Construct):
    """``znodes``, ``sessions``, ``ledger`` (tables) and ``blobs`` (a bucket). ``own_blobs`` is the bucket if it was
    made here, None if it is somebody else's. ``keys`` are all that what is stored may be encrypted with."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        tier: Tier,
        encryption_key: kms.IKey | None = None,
        former_keys: Sequence[kms.IKey] = (),
        blobs: s3.IBucket | None = None,
    ) -> None:
        super().__init__(scope, id)

        def table(id: str, expiry: str | None = None) -> SynchronizationTable:
            keys = KEY_NAMES[id.lower()]
            return SynchronizationTable(self, id, keys=keys, tier=tier, encryption_key=encryption_key, expiry=expiry)

        self.znodes = table("Znodes")
        self.sessions = table("Sessions")
        self.ledger = table("Ledger", EXPIRY_ATTRIBUTE)
        self.own_blobs: BlobBucket | None = None
        if blobs is None:
            blobs = self.own_blobs = BlobBucket(
                self, "Blobs", tier=tier, encryption_key=encryption_key, passing=[JOURNAL_PREFIX]
            )
        self.blobs: s3.IBucket = blobs
        self.keys = tuple(key for key in (encryption_key, blobs.encryption_key, *former_keys) if key)

    @property
    def tables(self) -> tuple[SynchronizationTable, SynchronizationTable, SynchronizationTable]:
        return (self.znodes, self.sessions, self.ledger)
