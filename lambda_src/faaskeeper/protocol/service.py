"""Where a service's parts are: the document that the SSM parameter and the functions' environment hold."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields

from faaskeeper import page

ENVIRONMENT_VARIABLE = "FAASKEEPER_SERVICE"
"""Holds the description of a service."""
SERVICE_NAME_VARIABLE = "FAASKEEPER_SERVICE_NAME"
"""Names the service of a program that names none."""
PARAMETER_PREFIX = "/faaskeeper/"
CACHE_BYTES_VARIABLE = "FAASKEEPER_CACHE_BYTES"
"""By it the constructs tell a gateway how much of what it reads it keeps in memory."""
DATA_VERSION = 1
"""Of what is in tables and bucket. The head of the ledger carries it: whoever does not know it touches nothing."""
PROTOCOL_VERSION = 1
"""Of the messages between gateways and functions. Each carries it: whoever does not know it refuses to answer."""


class InvalidService(ValueError):
    """The service description is missing or malformed; the message says which."""


class IncompatibleVersion(Exception):
    """Somebody is of another version of data or protocol; the message says who has to be upgraded."""


def check_version(what: str, kind: str, theirs: object, ours: int, *, other: str = "the service") -> None:
    """``what``, of ``other``, has version ``theirs`` of ``kind`` (data, protocol), this software ``ours``.
    Raises IncompatibleVersion."""
    if theirs != ours:
        older = isinstance(theirs, int) and theirs < ours
        raise IncompatibleVersion(
            f"{what} has {kind} version {theirs}, this software {ours}: "
            f"upgrade {other if older else 'this software'} ({page('operations.md#upgrade')})"
        )


@dataclass(frozen=True, slots=True)
class Service:
    """Names and limits of one deployed service.

    ``znodes``, ``sessions`` and ``ledger`` are table names, ``blobs`` a bucket name, ``requests``, ``timers`` and
    ``dead_letters`` queue URLs. ``reply_prefix`` starts the name of every gateway's reply queue. Data up to
    ``inline_limit`` bytes lives in the znode's item, up to ``blob_limit`` in an item beside it, above that in the
    bucket. ``super_digest`` (``super:base64(sha1(..))``) names the super user, empty for none. ``encryption_key``
    is the ARN of the customer-managed key of all that is stored, empty for none: gateways make their reply queues with
    it. ``log_groups`` and ``direct``, the function that gateways call, are names, told to clients only.
    """

    name: str
    region: str
    znodes: str
    sessions: str
    ledger: str
    blobs: str
    requests: str
    timers: str
    dead_letters: str
    reply_prefix: str
    inline_limit: int = 1024
    blob_limit: int = 32768
    super_digest: str = ""
    encryption_key: str = ""
    data_version: int = DATA_VERSION
    protocol_version: int = PROTOCOL_VERSION
    log_groups: tuple[str, ...] = ()
    direct: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Service:
        """Raises InvalidService, IncompatibleVersion."""
        try:
            document = json.loads(text)
            name, versions = document["name"], (document["data_version"], document["protocol_version"])
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidService(f"not a FaaSKeeper service description: {error!r}") from error
        # first: what another version describes may look otherwise
        for kind, theirs, ours in zip(("data", "protocol"), versions, (DATA_VERSION, PROTOCOL_VERSION), strict=True):
            check_version(f"service {name!r}", kind, theirs, ours)
        try:
            known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
            known["log_groups"] = tuple(document.get("log_groups", ()))
            return cls(**known)
        except TypeError as error:
            raise InvalidService(f"not a FaaSKeeper service description: {error}") from error

    @classmethod
    def from_environment(cls) -> Service:
        """The description a Lambda function was deployed with. Raises InvalidService, IncompatibleVersion."""
        text = os.environ.get(ENVIRONMENT_VARIABLE)
        if text is None:
            raise InvalidService(f"environment variable {ENVIRONMENT_VARIABLE} is not set")
        return cls.from_json(text)
