"""A customer-managed key for all that a service stores."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from faaskeeper_cdk.tier import Tier


class Key(Construct):
    """``key`` rotates every year; the logs service may use it for log groups of this account and region."""

    def __init__(self, scope: Construct, id: str, *, tier: Tier) -> None:
        super().__init__(scope, id)
        stack = Stack.of(self)
        self.key = kms.Key(
            self,
            "Key",
            description="FaaSKeeper: tables, queues, blobs, logs",
            enable_key_rotation=True,
            # and kept also by the rollback of an update that made it: what was written meanwhile is encrypted with it
            removal_policy=tier.removal_policy,
        )
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
                actions=["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"],
                resources=["*"],  # in a key's policy: this key
                conditions={
                    "ArnLike": {"kms:EncryptionContext:aws:logs:arn": stack.format_arn(service="logs", resource="*")}
                },
            )
        )
