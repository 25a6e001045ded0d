"""The queues between gateways and functions."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from faaskeeper_cdk.review import acknowledge
from faaskeeper_cdk.tier import Tier

MAX_MESSAGE_BYTES = 1_048_576
TIMER_ATTEMPTS = 20


class Queues(Construct):
    """``requests`` (FIFO, one message group: the order of all writes), ``timers`` (delayed messages that come due at
    the reaper) and ``dead_letters``.

    ``requests`` has no redrive policy on purpose: SQS would move healthy writes aside during an outage and so reorder
    the rest. The sequencer itself sends what it cannot parse to ``dead_letters``.
    """

    def __init__(self, scope: Construct, id: str, *, tier: Tier, encryption_key: kms.IKey | None = None) -> None:
        super().__init__(scope, id)
        encryption = sqs.QueueEncryption.KMS if encryption_key else sqs.QueueEncryption.SQS_MANAGED
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=encryption,
            encryption_master_key=encryption_key,
            enforce_ssl=True,
            max_message_size_bytes=MAX_MESSAGE_BYTES,
            retention_period=Duration.days(14),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.requests = sqs.Queue(
            self,
            "Requests",
            fifo=True,
            # the sender gives each message its deduplication id: two equal writes are two writes
            content_based_deduplication=False,
            encryption=encryption,
            encryption_master_key=encryption_key,
            enforce_ssl=True,
            max_message_size_bytes=MAX_MESSAGE_BYTES,
            visibility_timeout=Duration.seconds(tier.requests_visibility),
            retention_period=Duration.days(4),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.timers = sqs.Queue(
            self,
            "Timers",
            encryption=encryption,
            encryption_master_key=encryption_key,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(tier.worker_timeout),
            retention_period=Duration.days(4),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=TIMER_ATTEMPTS),
            removal_policy=RemovalPolicy.DESTROY,
        )
        no_redrive = "moving messages aside would reorder writes; the sequencer quarantines what it cannot parse"
        acknowledge(self.requests, {"AwsSolutions-SQS3": no_redrive, "Serverless-SQSRedrivePolicy": no_redrive})
        acknowledge(self.dead_letters, {"Serverless-SQSRedrivePolicy": "it is the dead-letter queue"})
