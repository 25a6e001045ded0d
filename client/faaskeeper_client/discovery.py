"""Finding a deployed service by its name."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from faaskeeper.blocks.errors import NO_CREDENTIALS, AccessDenied, AwsError, NotFound, Throttled
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.service import (
    ENVIRONMENT_VARIABLE,
    PARAMETER_PREFIX,
    SERVICE_NAME_VARIABLE,
    IncompatibleVersion,
    InvalidService,
    Service,
)

DEFAULT_SERVICE = "faaskeeper"
"""What ``cdk deploy`` names a service that it is given no name for."""
_PATIENCE = 20.0
"""Seconds for which a throttled read is repeated: Parameter Store takes 40 a second of all programs of an account."""

if TYPE_CHECKING:
    import boto3.session


class DiscoveryError(Exception):
    """The service cannot be found; the message is one line that says why."""


class ServiceNotFound(DiscoveryError):
    """No service of that name is deployed in the account and region asked."""


class NoCredentials(DiscoveryError):
    """There are no AWS credentials, or AWS does not accept them."""


class NoPermission(DiscoveryError):
    """The credentials are valid and do not allow reading the service's description."""


class WrongVersion(DiscoveryError):
    """The service was deployed by a version that this one does not understand."""


def default_service() -> str:
    """What the environment names, and without it ``cdk deploy``."""
    return os.environ.get(SERVICE_NAME_VARIABLE) or DEFAULT_SERVICE


def find_service(
    name: str = DEFAULT_SERVICE, *, region: str | None = None, session: boto3.session.Session | None = None
) -> Service:
    """The service of that name in ``session``'s account and region, or in those of the environment.

    Without a ``session``, its description may be in the environment too (``LambdaGateway``); else it is
    read from Parameter Store. Raises ServiceNotFound, NoCredentials, NoPermission, WrongVersion, and DiscoveryError if
    AWS cannot be reached.
    """
    if session is None and (described := _in_environment(name, region)) is not None:
        return described
    # loaded here because the command line uses the errors above, and mostly no AWS
    import boto3.session
    import botocore.config
    import botocore.exceptions

    from faaskeeper.blocks.aws import typed_error

    config = botocore.config.Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2})
    deadline, attempt = time.monotonic() + _PATIENCE, 0
    try:
        session = session or boto3.session.Session()
        region = region or session.region_name
        client: Any = session.client("ssm", region_name=region, config=config)  # pyright: ignore[reportUnknownMemberType]
        while True:
            try:
                return Service.from_json(client.get_parameter(Name=PARAMETER_PREFIX + name)["Parameter"]["Value"])
            except botocore.exceptions.ClientError as error:
                if not isinstance(typed_error("ssm", "get_parameter", error), Throttled) or time.monotonic() > deadline:
                    raise
            time.sleep(delay(attempt))
            attempt += 1
    except IncompatibleVersion as error:
        raise WrongVersion(str(error)) from error
    except InvalidService as error:
        raise DiscoveryError(f"{PARAMETER_PREFIX}{name}: {error}") from error
    except botocore.exceptions.NoRegionError as error:
        raise DiscoveryError("no AWS region is set: name one, or set AWS_DEFAULT_REGION") from error
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise _explained(typed_error("ssm", "get_parameter", error), name, region) from error


def _in_environment(name: str, region: str | None) -> Service | None:
    """None if the environment describes another service, none, or one in terms of another version."""
    with suppress(InvalidService, IncompatibleVersion):
        described = Service.from_json(os.environ.get(ENVIRONMENT_VARIABLE, ""))
        if described.name == name and region in (None, described.region):
            return described
    return None


def _explained(error: AwsError, name: str, region: str | None) -> DiscoveryError:
    reason = " ".join(error.message.split())
    match error:
        case NotFound():
            return ServiceNotFound(f"there is no FaaSKeeper service {name!r} in {region} of this AWS account")
        case AccessDenied(code=code) if code in ("AccessDenied", "AccessDeniedException"):
            return NoPermission(f"no permission to read the description of service {name!r}: {reason}")
        case AccessDenied(code=code) if code == NO_CREDENTIALS:
            return NoCredentials(f"no AWS credentials: {reason}")
        case AccessDenied():
            return NoCredentials(f"AWS does not accept the credentials: {reason}")
        case _:
            return DiscoveryError(f"service {name!r} in {region} cannot be looked up: {reason or error.code}")
