"""A service inside a platform: a stage with what the platform has already, a nested stack for the service, and another
team's stack that uses a part of the tree."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from faaskeeper_cdk import CoordinationService, Tier


class Platform(cdk.Stack):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        key = kms.Key(self, "Key", enable_key_rotation=True)
        pager = sns.Topic(self, "Pager", master_key=key, enforce_ssl=True)
        key.grant(
            iam.ServicePrincipal("cloudwatch.amazonaws.com"), "kms:Decrypt", "kms:GenerateDataKey"
        )  # or alarms could not be told to the topic
        boundary = iam.ManagedPolicy.from_managed_policy_name(self, "Boundary", "platform-boundary")
        self.service = CoordinationService(
            cdk.NestedStack(self, "Coordination"),
            "Service",
            tier=Tier.critical(),
            service_name="composed",
            encryption_key=key,
            log_group=logs.LogGroup(self, "Logs", retention=logs.RetentionDays.ONE_YEAR),
            permissions_boundary=boundary,
            alarm_topic=pager,
        )


class Team(cdk.Stack):
    def __init__(self, scope: Construct, id: str, *, service: CoordinationService) -> None:
        super().__init__(scope, id)
        member = iam.Role(self, "Member", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        service.grant_client(member, subtree="/team")


class Environment(cdk.Stage):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        platform = Platform(self, "Platform")
        Team(self, "Team", service=platform.service)
