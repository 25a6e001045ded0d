"""Who may do what: exact actions on exact resources, and conditions where an action alone says too much.

``TransactGetItems`` is authorized as ``GetItem`` of each item and ``TransactWriteItems`` as ``PutItem``,
``UpdateItem``, ``DeleteItem`` and ``ConditionCheckItem`` (DynamoDB developer guide, "Using IAM with DynamoDB
transactions"), unless a condition on ``dynamodb:EnclosingOperation`` forbids it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm
from constructs import Construct, IConstruct

from faaskeeper.blocks.blobs import blob_key
from faaskeeper.blocks.parts import Parts
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import gateway_partition
from faaskeeper_cdk.queues import Queues
from faaskeeper_cdk.review import acknowledge_resource
from faaskeeper_cdk.storage import Storage

READ = ("dynamodb:GetItem", "dynamodb:Query")
WATCH_ATTRIBUTES = ("path", "part", "watch_data", "watch_child", "watch_stay")
LIVENESS_ATTRIBUTES = ("id", "part", "beat", "timeout")
REPLY_ACTIONS = (
    "sqs:CreateQueue",
    "sqs:DeleteMessage",
    "sqs:DeleteQueue",
    "sqs:ReceiveMessage",
)
OWN_REPLIES = "gateways come and go, and each makes a reply queue of its own under the service's prefix"
OWN_BLOBS = "objects under the service's prefix, each with a random name"
KEY_ACTIONS = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
"""What DynamoDB's guide asks of a table's users, spelled out; it contains what SQS and S3 ask."""


NO_RESOURCES = "IAM knows no resources for CloudWatch's metrics"

Conditions = dict[str, dict[str, object]]

OUTSIDE_TRANSACTIONS: Conditions = {"Null": {"dynamodb:EnclosingOperation": "true"}}
"""The request is no part of a transaction. ``UpdateItem`` also authorizes the updates of a TransactWriteItems, and
whoever repeats such a transaction on an item cancels all others on it (TransactionConflict): the sequencer's, too."""

NEW_OBJECTS: Conditions = {"Null": {"s3:if-none-match": "false"}}
"""The request says that it must not overwrite: ``If-None-Match`` has no value but "*"."""


class InvalidSubtree(ValueError):
    """Not an absolute znode path without a trailing slash."""


class UnexplainedWildcard(ValueError):
    """A resource with a wildcard and no reason for it."""


def allow(
    grantee: iam.IGrantable,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Mapping[str, object]] | None = None,
    *,
    because: str | None = None,
) -> None:
    """``because`` tells the reviewer why a resource has to have a wildcard. Raises UnexplainedWildcard."""
    principal = grantee.grant_principal
    arns: list[str] = []
    for resource in resources:
        if "*" in resource:
            if because is None:
                raise UnexplainedWildcard(f"{', '.join(actions)} on {resource}")
            if isinstance(principal, Construct):
                resource = acknowledge_resource(principal, resource, because)
        arns.append(resource)
    iam.Grant.add_to_principal(
        grantee=grantee, actions=list(actions), resource_arns=arns, conditions=conditions or None
    ).assert_success()


def allow_keys(grantee: iam.IGrantable, keys: Sequence[kms.IKey]) -> None:
    """Use of customer-managed keys, each perhaps named twice, only through the services that hold our data."""
    if not keys:
        return
    stack = Stack.of(keys[0])
    via = [f"{service}.{stack.region}.{stack.url_suffix}" for service in ("dynamodb", "s3", "sqs")]
    arns = list(dict.fromkeys(key.key_arn for key in keys))
    allow(grantee, KEY_ACTIONS, arns, {"StringEquals": {"kms:ViaService": via}})


def reply_queues_arn(scope: IConstruct, reply_prefix: str) -> str:
    """All reply queues of a service, which its gateways make and remove themselves."""
    return Stack.of(scope).format_arn(service="sqs", resource=f"{reply_prefix}*")


def blobs_arn(bucket: s3.IBucket, service: Parts) -> str:
    """All blobs of a service, in a bucket that it may share with others."""
    return bucket.arn_for_objects(blob_key(service, "*"))


class Access:
    """Grants on one service. ``subtree`` narrows what may be read and watched of the tree to a znode and all below
    it; blobs have random names that only a readable znode tells."""

    def __init__(
        self,
        *,
        service: Service,
        storage: Storage,
        queues: Queues,
        parameter: ssm.IStringParameter,
        log_groups: Sequence[logs.ILogGroup],
    ) -> None:
        self._service = service
        self._storage = storage
        self._queues = queues
        self._parameter = parameter
        self._log_groups = log_groups

    def grant_read(self, grantee: iam.IGrantable, subtree: str | None = None) -> None:
        """Reading the tree, without watches or sessions. Raises InvalidSubtree."""
        storage = self._storage
        allow(grantee, READ, [storage.znodes.table_arn], _only_below(subtree))
        allow(grantee, READ, [storage.ledger.table_arn])
        allow(grantee, ["s3:GetObject"], [blobs_arn(storage.blobs, self._service)], because=OWN_BLOBS)
        allow(grantee, ["ssm:GetParameter"], [self._parameter.parameter_arn])
        allow_keys(grantee, storage.keys)

    def grant_client(self, grantee: iam.IGrantable, subtree: str | None = None) -> None:
        """All that a gateway needs. It can write nothing but watches, its own liveness and requests: changes of the
        tree are the sequencer's alone. Raises InvalidSubtree."""
        storage, queues = self._storage, self._queues
        self.grant_read(grantee, subtree)
        allow(grantee, READ, [storage.sessions.table_arn])
        allow(
            grantee,
            ["dynamodb:UpdateItem"],
            [storage.znodes.table_arn],
            merge(OUTSIDE_TRANSACTIONS, only_attributes(WATCH_ATTRIBUTES), _only_below(subtree)),
        )
        allow(
            grantee,
            ["dynamodb:UpdateItem"],
            [storage.sessions.table_arn],
            merge(OUTSIDE_TRANSACTIONS, only_attributes(LIVENESS_ATTRIBUTES), only_keys([gateway_partition("*")])),
        )
        allow(grantee, ["sqs:SendMessage"], [queues.requests.queue_arn, queues.timers.queue_arn])
        allow(grantee, REPLY_ACTIONS, [reply_queues_arn(queues, self._service.reply_prefix)], because=OWN_REPLIES)
        allow(grantee, ["s3:PutObject"], [blobs_arn(storage.blobs, self._service)], NEW_OBJECTS, because=OWN_BLOBS)

    def grant_admin(self, grantee: iam.IGrantable) -> None:
        """What the command line asks of an operator: ``faaskeeper status``, ``sessions`` and ``dead-letters``. Nothing
        of the tree's data, for which there are ``grant_read`` and ``grant_client``, and no ``restore``, which writes
        the tables: nobody but the sequencer may, and whoever administers the account."""
        storage, queues = self._storage, self._queues
        allow(grantee, ["ssm:GetParameter"], [self._parameter.parameter_arn])
        allow(grantee, ["dynamodb:GetItem"], [storage.ledger.table_arn])
        allow(grantee, ["dynamodb:Scan"], [storage.sessions.table_arn])
        allow(
            grantee,
            ["sqs:GetQueueAttributes"],
            [queue.queue_arn for queue in (queues.requests, queues.timers, queues.dead_letters)],
        )
        allow(
            grantee,
            ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage"],
            [queues.dead_letters.queue_arn],
        )
        allow(grantee, ["sqs:SendMessage"], [queues.timers.queue_arn])
        allow(grantee, ["cloudwatch:GetMetricStatistics"], ["*"], because=NO_RESOURCES)
        allow(
            grantee,
            ["logs:FilterLogEvents"],
            [group.log_group_arn for group in self._log_groups],
            because="the streams of the service's log groups",
        )
        allow_keys(grantee, storage.keys)


def only_attributes(names: Sequence[str]) -> Conditions:
    """The request names no other attribute. ForAllValues is also true of a request that names none: hence Null."""
    return {
        "ForAllValues:StringEquals": {"dynamodb:Attributes": list(names)},
        "Null": {"dynamodb:Attributes": "false"},
    }


def only_keys(patterns: Sequence[str]) -> Conditions:
    """The request's partition keys all match one of ``patterns``; IAM has no condition on sort keys."""
    return {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(patterns)},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }


def _only_below(subtree: str | None) -> Conditions:
    if subtree is None:
        return {}
    if not subtree.startswith("/") or subtree.endswith("/") or set("*?$") & set(subtree):
        raise InvalidSubtree(f"{subtree!r}: an absolute path without trailing slash and without *, ? and $ is needed")
    return only_keys([subtree, f"{subtree}/*"])


def merge(*conditions: Conditions) -> Conditions:
    """All hold: of operators that are in several, the keys of each."""
    merged: Conditions = {}
    for each in conditions:
        for operator, keys in each.items():
            merged.setdefault(operator, {}).update(keys)
    return merged
