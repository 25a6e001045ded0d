"""One function with all that is its own, and how queues start it."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
import jsii
from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

import faaskeeper
from faaskeeper_cdk.access import allow
from faaskeeper_cdk.packages import copy_package
from faaskeeper_cdk.review import acknowledge_controls, acknowledge_resource
from faaskeeper_cdk.tier import Tier

RUNTIME = lambda_.Runtime.PYTHON_3_14
BATCH_SIZE = 10
"""The most messages Lambda takes from a FIFO queue at once."""
TIMER_BATCH_SIZE = 10
MAX_TIMER_RUNS = 5
"""Instances that timers start at once, so that a flood of timers leaves the account's concurrency to others. Lambda
polls a standard queue with five from the beginning (Lambda developer guide, "Configuring scaling behavior for SQS event
source mappings"). Reserved concurrency would do the same, but accounts with a small quota refuse it."""
CONSUME = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")


class Worker(lambda_.Function):
    """A function with a role of its own, which can write its logs and nothing else until it is allowed to, and, unless
    ``log_group`` is one for several, its own log group. ``memory`` (MB) and ``timeout`` (s) default to the tier's for
    workers.

    ``loops``: timers that re-arm themselves look like runaway recursion to Lambda, which would stop the function after
    some 16 rounds.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        description: str,
        handler: str,
        code: lambda_.Code,
        tier: Tier,
        environment: Mapping[str, str],
        encryption_key: kms.IKey | None = None,
        log_group: logs.ILogGroup | None = None,
        memory: int | None = None,
        timeout: int | None = None,
        loops: bool = False,
    ) -> None:
        log_group = log_group or logs.LogGroup(
            scope,
            f"{id}Logs",
            retention=tier.log_retention,
            encryption_key=encryption_key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        allow(role, ["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn], because="its streams")
        if tier.tracing:
            acknowledge_resource(role, "*", "X-Ray's actions know no resources")
        acknowledge_controls(
            role, {"IAMNoInlinePolicy": "the policy is of this role alone, names its resources, and goes with it"}
        )
        self.execution_role = role
        super().__init__(
            scope,
            id,
            description=description,
            code=code,
            handler=handler,
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=memory or tier.worker_memory,
            timeout=Duration.seconds(timeout or tier.worker_timeout),
            environment=environment,
            environment_encryption=encryption_key,
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            # the level of the lines that tell how long an invocation took and how much memory (platform.report)
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            tracing=lambda_.Tracing.ACTIVE if tier.tracing else lambda_.Tracing.DISABLED,
            recursive_loop=lambda_.RecursiveLoop.ALLOW if loops else None,
        )
        acknowledge_controls(
            self,
            {
                "LambdaInsideVPC": "it listens to nothing and calls AWS only, over TLS and with IAM's leave: a VPC "
                "would add endpoints of four services and no boundary"
            },
        )

    def take_requests(self, requests: sqs.IQueue, tier: Tier) -> lambda_.EventSourceMapping:
        """Started by an ordered queue, with batches of its messages."""
        allow(self, CONSUME, [requests.queue_arn])
        return self.add_event_source_mapping(
            "Requests",
            event_source_arn=requests.queue_arn,
            batch_size=BATCH_SIZE,
            provisioned_poller_config=(
                lambda_.ProvisionedPollerConfig(
                    minimum_pollers=tier.requests_pollers, maximum_pollers=tier.requests_pollers
                )
                if tier.requests_pollers
                else None
            ),
        )

    def take_timers(self, timers: sqs.IQueue) -> lambda_.EventSourceMapping:
        """Started by delayed messages that come due; names those that it could not handle."""
        allow(self, CONSUME, [timers.queue_arn])
        return self.add_event_source_mapping(
            "Timers",
            event_source_arn=timers.queue_arn,
            batch_size=TIMER_BATCH_SIZE,
            max_concurrency=MAX_TIMER_RUNS,
            report_batch_item_failures=True,
        )


def runtime_code(*beside: Path) -> lambda_.Code:
    """The package ``faaskeeper``, wherever it is installed, and the packages ``beside`` it, which are folders. Nothing
    else: Lambda's Python has boto3. Its hash depends on its text alone."""
    package = Path(faaskeeper.__file__).parent
    return lambda_.Code.from_asset(
        str(package),
        asset_hash_type=cdk.AssetHashType.OUTPUT,
        bundling=cdk.BundlingOptions(
            image=cdk.DockerImage.from_registry("docker-is-never-used"), local=_CopyPackages(package, *beside)
        ),
    )


@jsii.implements(cdk.ILocalBundling)
class _CopyPackages:
    def __init__(self, *packages: Path) -> None:
        self._packages = packages

    def try_bundle(self, output_dir: str, *, image: cdk.DockerImage, **_: object) -> bool:
        for package in self._packages:
            copy_package(package, Path(output_dir))
        return True
