"""A Lambda function that uses the tree, with the gateway inside it."""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from faaskeeper_cdk import CoordinationService, LambdaGateway, Tier

HANDLER = Path(__file__).with_name("lambda_handler.py")


class LambdaStack(cdk.Stack):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        service = CoordinationService(self, "Coordination", tier=Tier.development(), service_name="in-lambda")
        logged = logs.LogGroup(self, "Logs", retention=logs.RetentionDays.ONE_WEEK)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        logged.grant_write(role)
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_14,
            handler="index.handler",
            code=lambda_.Code.from_inline(HANDLER.read_text()),
            timeout=cdk.Duration.seconds(30),
            memory_size=512,
            log_group=logged,
            role=role,
        )
        cdk.Validations.of(self.function).acknowledge(
            cdk.Acknowledgment(id="Serverless::Serverless-LambdaDLQ", reason="whoever invokes it waits for its answer"),
            cdk.Acknowledgment(id="Serverless::Serverless-LambdaTracing", reason="an example"),
        )
        self.gateway = LambdaGateway(self, "Gateway", service=service, function=self.function, subtree="/visits")
