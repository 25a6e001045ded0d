"""Where a service's parts are: the document that the SSM parameter and the functions' environment hold."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields

ENVIRONMENT_VARIABLE = "FAASKEEPER_SERVICE"
PARAMETER_PREFIX = "/faaskeeper/"
DATA_VERSION = 1
"""Version of tables and messages; a gateway and a sequencer that disagree refuse each other."""


class InvalidService(ValueError):
    """The service description is missing, malformed or of another version; the message says which."""


@dataclass(frozen=True, slots=True)
class Service:
    """Names and limits of one deployed service.

    ``znodes``, ``sessions`` and ``ledger`` are table names, ``blobs`` a bucket name, ``requests``, ``timers`` and
    ``dead_letters`` queue URLs. ``reply_prefix`` starts the name of every gateway's reply queue. Data up to
    ``inline_limit`` bytes lives in the znode's item, up to ``blob_limit`` in an item beside it, above that in the
    bucket. ``super_digest`` (``super:base64(sha1(..))``) names the super user, empty for none.
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
    version: int = DATA_VERSION

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Service:
        """Raises InvalidService."""
        try:
            document = json.loads(text)
            known = {field.name: document[field.name] for field in fields(cls) if field.name in document}
            service = cls(**known)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidService(f"not a FaaSKeeper service description: {error}") from error
        if service.version != DATA_VERSION:
            raise InvalidService(
                f"service {service.name!r} has data version {service.version}, this software {DATA_VERSION}: "
                f"upgrade {'this software' if service.version > DATA_VERSION else 'the service'}"
            )
        return service

    @classmethod
    def from_environment(cls) -> Service:
        """The description a Lambda function was deployed with. Raises InvalidService."""
        text = os.environ.get(ENVIRONMENT_VARIABLE)
        if text is None:
            raise InvalidService(f"environment variable {ENVIRONMENT_VARIABLE} is not set")
        return cls.from_json(text)
