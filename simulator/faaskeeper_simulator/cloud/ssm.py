"""The simulated Parameter Store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from faaskeeper.blocks.errors import AwsError, NotFound

from .service import Answer
from .usage import Usage


@dataclass(slots=True)
class Ssm:
    usage: Usage
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    """By name; the harness sets them."""

    def call(self, operation: str, parameters: dict[str, Any], sent: float) -> Answer:
        """Raises NotFound, AwsError."""
        if operation != "get_parameter":
            raise AwsError("ssm", operation, "NotSimulated", "this operation is not simulated")
        self.usage.add("ssm.request")
        name = parameters["Name"]
        if name not in self.parameters:
            raise NotFound("ssm", operation, "ParameterNotFound", name)
        return {"Parameter": {"Name": name, "Type": "String", "Value": self.parameters[name], "Version": 1}}
