"""How a client finds a service by its name: one SSM parameter with one JSON document."""

from __future__ import annotations

import re

from aws_cdk import CfnOutput
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from faaskeeper.protocol.service import PARAMETER_PREFIX, Service

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}")


class InvalidServiceName(ValueError):
    """A service's name is 1 to 32 letters, digits and hyphens, beginning with a letter."""


def checked_name(name: str) -> str:
    """Raises InvalidServiceName."""
    if not _NAME.fullmatch(name):
        raise InvalidServiceName(
            f"{name!r}: a service name is 1 to 32 letters, digits and hyphens, beginning with a letter"
        )
    return name


def reply_prefix(name: str) -> str:
    """Begins the names of the service's reply queues. A service name has no "_", so no prefix begins another."""
    return f"faaskeeper_{name}_"


class Discovery(Construct):
    """``parameter`` ``/faaskeeper/<service name>`` holds ``service`` as JSON, and stack outputs name both."""

    def __init__(self, scope: Construct, id: str, *, service: Service) -> None:
        super().__init__(scope, id)
        self.parameter = ssm.StringParameter(
            self,
            "Parameter",
            parameter_name=PARAMETER_PREFIX + checked_name(service.name),
            description="Where the parts of this FaaSKeeper service are",
            string_value=service.to_json(),
        )
        CfnOutput(self, "ServiceName", value=service.name, description="faaskeeper gateway --service ...")
        CfnOutput(self, "ParameterName", value=self.parameter.parameter_name)
