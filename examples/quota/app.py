"""In ``examples/quota``, ``npx cdk deploy --app "python3 app.py"``: a quota service of a table, a bucket, three queues
and three functions."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

import quota
from faaskeeper.blocks.blobs import blob_key
from faaskeeper_cdk import BlobBucket, Queues, SynchronizationTable, Tier, Worker, runtime_code
from faaskeeper_cdk.access import (
    NEW_OBJECTS,
    OUTSIDE_TRANSACTIONS,
    OWN_BLOBS,
    OWN_REPLIES,
    REPLY_ACTIONS,
    allow,
    blobs_arn,
    merge,
    only_attributes,
    only_keys,
    reply_queues_arn,
)
from faaskeeper_cdk.review import acknowledge
from quota.parts import CLIENTS_OWN, VARIABLE, Quota

KEYS = ("pk", "sk")


class QuotaService(Construct):
    """``quota`` tells clients where the parts are; ``grant_client`` lets them use it."""

    def __init__(self, scope: Construct, id: str, *, name: str, tier: Tier) -> None:
        super().__init__(scope, id)
        self.table = SynchronizationTable(self, "Table", keys=KEYS, tier=tier)
        self.queues = Queues(self, "Queues", tier=tier)
        # reports are read within the minute, and messages within the hour
        self.blobs = BlobBucket(self, "Blobs", tier=tier, passing=["blobs/"])
        self.quota = Quota(
            name=name,
            table=self.table.table_name,
            blobs=self.blobs.bucket_name,
            requests=self.queues.requests.queue_url,
            timers=self.queues.timers.queue_url,
            dead_letters=self.queues.dead_letters.queue_url,
            reply_prefix=f"quota_{name}_",
        )
        code = runtime_code(Path(quota.__file__).parent)
        environment = {VARIABLE: json.dumps(asdict(self.quota))}

        def worker(id: str, description: str, **options: Any) -> Worker:
            handler = f"quota.{id.lower()}.handler"
            return Worker(
                self,
                id,
                description=description,
                handler=handler,
                code=code,
                tier=tier,
                **{"environment": environment} | options,
            )

        replies = reply_queues_arn(self, self.quota.reply_prefix)
        blobs = blobs_arn(self.blobs, self.quota)
        self.notifier = worker("Notifier", "Tells many clients that a limit changed")
        allow(self.notifier, ["sqs:SendMessage"], [replies], because=OWN_REPLIES)
        self.committer = worker(
            "Committer",
            "Applies commands in order",
            timeout=tier.sequencer_timeout,
            environment=environment | {"NOTIFIER_FUNCTION": self.notifier.function_name},
            loops=True,
        )
        self.committer.take_requests(self.queues.requests, tier)
        allow(
            self.committer,
            ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:ConditionCheckItem"],
            [self.table.table_arn],
        )
        allow(self.committer, ["sqs:SendMessage"], [replies, self.queues.dead_letters.queue_arn], because=OWN_REPLIES)
        allow(self.committer, ["lambda:InvokeFunction"], [self.notifier.function_arn])
        allow(self.committer, ["s3:GetObject", "s3:PutObject"], [blobs], because=OWN_BLOBS)
        self.reaper = worker("Reaper", "Gives back the leases of those who stopped beating", loops=True)
        self.reaper.take_timers(self.queues.timers)
        allow(self.reaper, ["dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"], [self.table.table_arn])
        allow(self.reaper, ["sqs:SendMessage"], [self.queues.requests.queue_arn, self.queues.timers.queue_arn])
        acknowledge(
            self,
            {
                "Serverless-LambdaDLQ": "the queues that start committer and reaper keep what failed; a hint may go",
                "Serverless-LambdaEventSourceMappingDestination": "mappings of SQS queues have no destinations",
                "Serverless-LambdaTracing": "costs per request",
            },
        )

    def grant_client(self, grantee: iam.IGrantable) -> None:
        """What ``quota.client`` does. Limits, leases and the head are written by the functions alone."""
        for partitions, attributes in CLIENTS_OWN.items():
            own = merge(OUTSIDE_TRANSACTIONS, only_attributes([*KEYS, *attributes]), only_keys([partitions]))
            allow(grantee, ["dynamodb:UpdateItem"], [self.table.table_arn], own)
        allow(grantee, ["sqs:SendMessage"], [self.queues.requests.queue_arn, self.queues.timers.queue_arn])
        allow(grantee, REPLY_ACTIONS, [reply_queues_arn(self, self.quota.reply_prefix)], because=OWN_REPLIES)
        allow(grantee, ["s3:GetObject"], [blobs_arn(self.blobs, self.quota)], because=OWN_BLOBS)
        messages = self.blobs.arn_for_objects(blob_key(self.quota, "messages", "*"))
        allow(grantee, ["s3:PutObject"], [messages], NEW_OBJECTS, because=OWN_BLOBS)


class QuotaStack(cdk.Stack):
    def __init__(self, scope: Construct, id: str, **options: Any) -> None:
        super().__init__(scope, id, **options)
        self.service = QuotaService(self, "Service", name="example", tier=Tier.development())
        value = json.dumps(asdict(self.service.quota))
        cdk.CfnOutput(self, "Quota", value=value, description="for quota.client.Client")


if __name__ == "__main__":
    app = cdk.App()
    QuotaStack(app, "Quota")
    app.synth()
