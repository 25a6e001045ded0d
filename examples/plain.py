"""A service by itself, and who may do what with it."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from faaskeeper_cdk import CoordinationService, Tier


class PlainStack(cdk.Stack):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        service = CoordinationService(self, "Coordination", tier=Tier.standard(), service_name="plain")
        for name, grant in (
            ("Application", service.grant_client),
            ("Auditor", service.grant_read),
            ("Operator", service.grant_admin),
        ):
            grant(iam.Role(self, name, assumed_by=iam.AccountPrincipal(self.account)))
