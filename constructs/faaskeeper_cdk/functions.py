"""The functions: what starts each, what each may touch, and one zip for all."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import Duration, Tags
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from faaskeeper.blocks.blobs import blob_key
from faaskeeper.blocks.runtime import KEEP_WARM
from faaskeeper.functions.emptier.function import TAG
from faaskeeper.protocol.service import ENVIRONMENT_VARIABLE, Service
from faaskeeper.storage.journal import PREFIX as JOURNAL_PREFIX
from faaskeeper.storage.znodes import FIRED
from faaskeeper_cdk.access import (
    OWN_BLOBS,
    OWN_REPLIES,
    READ,
    WATCH_ATTRIBUTES,
    allow,
    allow_keys,
    blobs_arn,
    only_attributes,
    reply_queues_arn,
)
from faaskeeper_cdk.queues import Queues
from faaskeeper_cdk.review import acknowledge, acknowledge_controls
from faaskeeper_cdk.storage import Storage
from faaskeeper_cdk.tier import LONGEST_TIMEOUT, Tier
from faaskeeper_cdk.worker import Worker, runtime_code

WRITE = ("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
MIN_EVENT_AGE = Duration.seconds(60)
"""The least that Lambda takes for how long an asynchronous invocation may wait (MaximumEventAgeInSeconds)."""
KEEP_WARM_INTERVAL = Duration.minutes(5)
"""An assumption: Lambda keeps an idle instance for longer. AWS does not say for how long."""
LIST_QUEUES = "sqs:ListQueues knows no resources"


class Functions(Construct):
    """``sequencer`` (commits batches of ``requests``), ``direct`` (commits what a gateway that invokes it asks for),
    ``notifier`` (large fan-outs, invoked by both),
    ``reaper`` (timers that come due) and ``janitor`` (on a schedule), each with its own role and, unless ``log_group``
    is one for all, its own log group.

    ``service`` is the description the functions are started with. ``emptier`` and ``emptying``, the custom resource
    that it serves, are None unless the tier asks for them and the bucket is the service's own: what is in somebody
    else's is not for a service to delete. The bucket has a tag for as long as it is to be emptied, for CloudFormation
    asks for that also when the service moves to a tier that keeps the bucket: see ``functions.emptier``.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        tier: Tier,
        service: Service,
        storage: Storage,
        queues: Queues,
        encryption_key: kms.IKey | None = None,
        log_group: logs.ILogGroup | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._tier = tier
        self._key = encryption_key
        self._log_group = log_group
        self._code = runtime_code()
        self._service_name = service.name
        self._environment = {ENVIRONMENT_VARIABLE: service.to_json()}
        replies = reply_queues_arn(self, service.reply_prefix)
        blobs = blobs_arn(storage.blobs, service)

        self.notifier = self._function("Notifier", "Sends the hints of a large fan-out")
        allow(self.notifier, ["sqs:SendMessage"], [replies, queues.dead_letters.queue_arn], because=OWN_REPLIES)
        allow(self.notifier, ["sqs:ListQueues"], ["*"], because=LIST_QUEUES)
        allow(self.notifier, ["s3:PutObject"], [blobs], because=OWN_BLOBS)
        self.notifier_retries = lambda_.CfnEventInvokeConfig(
            self,
            "NotifierRetries",
            function_name=self.notifier.function_name,
            qualifier="$LATEST",
            # a hint that is minutes old is worth nothing: gateways that watch or own ephemerals look at the head
            # every third of the shortest session timeout
            maximum_event_age_in_seconds=MIN_EVENT_AGE.to_seconds(),
            maximum_retry_attempts=1,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=queues.dead_letters.queue_arn)
            ),
        )

        commits = "Commits requests of the queue in order"
        self.sequencer = self._committing("Sequencer", commits, tier, storage, [replies], blobs, loops=True)
        allow(self.sequencer, ["sqs:SendMessage"], [queues.timers.queue_arn, queues.dead_letters.queue_arn])
        self.direct = self._committing(
            "Direct", "Commits requests of a gateway that calls it", tier, storage, [replies], blobs
        )
        self.direct_retries = lambda_.CfnEventInvokeConfig(
            self,
            "DirectRetries",
            function_name=self.direct.function_name,
            qualifier="$LATEST",
            # gateways wait for the answer; nobody waits for that of an asynchronous invocation
            maximum_event_age_in_seconds=MIN_EVENT_AGE.to_seconds(),
            maximum_retry_attempts=0,
        )
        self.requests_mapping = self.sequencer.take_requests(queues.requests, tier)

        self.keep_warm: events.Rule | None = None
        if tier.keep_warm:
            # nobody waits for what a schedule invokes; the next time is the retry
            self.sequencer.configure_async_invoke(retry_attempts=0, max_event_age=MIN_EVENT_AGE)
            self.keep_warm = events.Rule(
                self,
                "KeepWarm",
                schedule=events.Schedule.rate(KEEP_WARM_INTERVAL),
                targets=[
                    targets.LambdaFunction(
                        function, event=events.RuleTargetInput.from_object(KEEP_WARM), retry_attempts=0
                    )
                    for function in (self.sequencer, self.direct)
                ],
            )

        self.reaper = self._function("Reaper", "Asks for the expiry of gateways that stopped beating", loops=True)
        allow(
            self.reaper,
            ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"],
            [storage.sessions.table_arn],
        )
        allow(self.reaper, ["sqs:SendMessage"], [queues.requests.queue_arn, queues.timers.queue_arn])
        allow(self.reaper, ["s3:PutObject"], [blobs], because=OWN_BLOBS)
        self.timers_mapping = self.reaper.take_timers(queues.timers)

        self.janitor = self._function("Janitor", "Removes what nobody refers to any more", loops=True)
        allow(
            self.janitor, ["dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:Scan"], [storage.znodes.table_arn]
        )
        allow(
            self.janitor,
            ["dynamodb:UpdateItem"],
            [storage.znodes.table_arn],
            only_attributes([*WATCH_ATTRIBUTES, *FIRED.values()]),
        )
        allow(self.janitor, ["dynamodb:BatchGetItem", "dynamodb:Scan"], [storage.sessions.table_arn])
        allow(
            self.janitor,
            ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"],
            [storage.ledger.table_arn],
        )
        allow(
            self.janitor,
            ["s3:ListBucket"],
            [storage.blobs.bucket_arn],
            {"StringLike": {"s3:prefix": [blob_key(service, "*")]}},
        )
        allow(self.janitor, ["s3:DeleteObject", "s3:PutObject"], [blobs], because=OWN_BLOBS)
        allow(self.janitor, ["sqs:ListQueues"], ["*"], because=LIST_QUEUES)
        allow(self.janitor, ["sqs:DeleteQueue", "sqs:GetQueueAttributes"], [replies], because=OWN_REPLIES)
        allow(self.janitor, ["sqs:SendMessage"], [queues.requests.queue_arn, queues.timers.queue_arn])
        # SQS tells who sent a request: only these may ask for an expiry or a removal in nobody's name
        trusted = ",".join(function.execution_role.role_id for function in (self.reaper, self.janitor))
        self.sequencer.add_environment("TRUSTED_SENDERS", trusted)
        self.janitor_schedule = events.Rule(
            self,
            "JanitorSchedule",
            schedule=events.Schedule.rate(Duration.minutes(tier.janitor_interval_minutes)),
            targets=[targets.LambdaFunction(self.janitor, retry_attempts=0)],
        )
        # the rule's retries are about its delivery to Lambda, which repeats runs that fail by itself: two at once, late
        self.janitor.configure_async_invoke(retry_attempts=0, max_event_age=MIN_EVENT_AGE)  # the next run is the retry

        self.emptier: Worker | None = None
        self.emptying: cdk.CustomResource | None = None
        if tier.empty_bucket_on_removal and storage.own_blobs:
            Tags.of(storage.own_blobs).add(TAG, "true")
            self.emptier = self._function(
                "Emptier", "Empties the bucket when the stack is deleted", timeout=LONGEST_TIMEOUT
            )
            allow(self.emptier, ["s3:GetBucketTagging", "s3:ListBucketVersions"], [storage.blobs.bucket_arn])
            allow(
                self.emptier,
                ["s3:DeleteObject", "s3:DeleteObjectVersion"],
                [storage.blobs.arn_for_objects("*")],
                because="the bucket is emptied before the stack deletes it",
            )
            # once CloudFormation gives up, there is nobody to answer
            self.emptier.configure_async_invoke(retry_attempts=2, max_event_age=Duration.seconds(LONGEST_TIMEOUT))
            self.emptying = cdk.CustomResource(
                self,
                "EmptyBlobs",
                resource_type="Custom::FaaSKeeperEmptyBucket",
                service_token=self.emptier.function_arn,
                service_timeout=Duration.seconds(LONGEST_TIMEOUT),
                properties={"Bucket": storage.blobs.bucket_name},
            )

        for function in self.all:
            allow_keys(function, storage.keys)
        kept = (
            "the queues that start sequencer and reaper keep what failed; gateways that call the direct function are "
            "told; the notifier has an on-failure destination; "
            "the janitor's next run is its retry; CloudFormation repeats the emptier"
        )
        acknowledge_controls(
            self,
            {
                "LambdaDLQ": kept,
                "LambdaConcurrency": "bounded by what starts them: the sequencer by one message group, which is one "
                "run at a time; the direct function by its gateways, which use the queue where Lambda refuses; the "
                "notifier by the sequencer; the janitor by a schedule; the reaper by the maximum "
                "concurrency of its mapping; the emptier by CloudFormation",
            },
        )
        acknowledge(
            self,
            {
                "Serverless-LambdaDLQ": kept,
                "Serverless-LambdaAsyncFailureDestination": kept,
                "Serverless-LambdaEventSourceMappingDestination": "mappings of SQS queues have no destinations",
                "Serverless-EventBusDLQ": "the next run of the schedule is the retry",
            },
        )
        if not tier.tracing:
            acknowledge(self, {"Serverless-LambdaTracing": "costs per request; on in the critical tier"})

    @property
    def all(self) -> tuple[Worker, ...]:
        """In no order; the emptier only where there is one."""
        return tuple(
            function
            for function in (self.sequencer, self.direct, self.notifier, self.reaper, self.janitor, self.emptier)
            if function is not None
        )

    def _committing(
        self,
        id: str,
        description: str,
        tier: Tier,
        storage: Storage,
        replies: list[str],
        blobs: str,
        *,
        loops: bool = False,
    ) -> Worker:
        """A function that writes znodes."""
        made = self._function(
            id,
            description,
            memory=tier.sequencer_memory,
            timeout=tier.sequencer_timeout,
            environment={"NOTIFIER_FUNCTION": self.notifier.function_name},
            loops=loops,
        )
        allow(made, [*READ, "dynamodb:BatchGetItem", *WRITE], [table.table_arn for table in storage.tables])
        allow(made, ["sqs:SendMessage"], replies, because=OWN_REPLIES)
        allow(made, ["lambda:InvokeFunction"], [self.notifier.function_arn])
        journals = storage.blobs.arn_for_objects(f"{JOURNAL_PREFIX}{self._service_name}/*")
        allow(made, ["s3:GetObject", "s3:PutObject"], [blobs, journals], because=OWN_BLOBS)
        return made

    def _function(
        self,
        id: str,
        description: str,
        *,
        memory: int | None = None,
        timeout: int | None = None,
        environment: dict[str, str] | None = None,
        loops: bool = False,
    ) -> Worker:
        return Worker(
            self,
            id,
            description=f"FaaSKeeper: {description}",
            handler=f"faaskeeper.functions.{id.lower()}.handler",
            code=self._code,
            tier=self._tier,
            environment=self._environment | (environment or {}),
            encryption_key=self._key,
            log_group=self._log_group,
            memory=memory,
            timeout=timeout,
            loops=loops,
        )
