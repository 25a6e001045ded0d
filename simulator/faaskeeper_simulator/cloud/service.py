"""What every simulated service is to the seam."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError

EPOCH: Final = 1_750_000_000.0
"""Unix time, in seconds, at which every simulation starts."""


@dataclass(frozen=True, slots=True)
class At:
    """An answer that the service gives later: at ``when``, in virtual seconds."""

    when: float
    result: Response | AwsError


@dataclass(frozen=True, slots=True)
class Committed(At):
    """Of a transaction. From ``visible`` on all that it wrote is; the items that it only checked may be held longer."""

    visible: float


Answer: TypeAlias = Response | At | asyncio.Future[Response]


class Service(Protocol):
    def call(self, operation: str, parameters: dict[str, Any], sent: float) -> Answer:
        """Takes effect now; ``sent`` is when the request left the caller. Raises AwsError."""
        ...


def invalid(service: str, operation: str, message: str) -> AwsError:
    code = "ValidationException" if service in ("dynamodb", "ssm") else "InvalidParameterValue"
    return AwsError(service, operation, code, message)
