"""Finding a deployed service by its name."""

from __future__ import annotations

from faaskeeper.protocol.service import PARAMETER_PREFIX, Service
from faaskeeper.storage.aws import Aws
from faaskeeper.storage.errors import NotFound


class ServiceNotFound(Exception):
    """No service of that name is deployed in the account and region asked."""


async def find_service(aws: Aws, name: str) -> Service:
    """Raises ServiceNotFound, InvalidService (another version of the software), or AwsError."""
    try:
        response = await aws.call("ssm", "get_parameter", Name=PARAMETER_PREFIX + name)
    except NotFound as error:
        raise ServiceNotFound(
            f"no FaaSKeeper service {name!r} in this account and region: there is no parameter {PARAMETER_PREFIX}{name}"
        ) from error
    return Service.from_json(response["Parameter"]["Value"])
