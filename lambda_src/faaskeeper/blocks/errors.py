"""What a call to AWS can fail with, as types, so that callers decide by meaning and not by error strings; and what is
wrong with a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class AwsError(Exception):
    """A call that AWS refused. ``code`` is AWS's own error code."""

    def __init__(self, service: str, operation: str, code: str, message: str = "") -> None:
        super().__init__(f"{service} {operation}: {code}: {message}" if message else f"{service} {operation}: {code}")
        self.service = service
        self.operation = operation
        self.code = code
        self.message = message


class ConditionFailed(AwsError):
    """A condition did not hold (ConditionalCheckFailedException, S3's PreconditionFailed). ``item`` is what it was held
    against, if the call asked for it (ReturnValuesOnConditionCheckFailure) and there is one."""

    def __init__(
        self, service: str, operation: str, code: str, message: str = "", *, item: dict[str, Any] | None = None
    ) -> None:
        super().__init__(service, operation, code, message)
        self.item: dict[str, Any] = item or {}


class Conflict(AwsError):
    """A transaction is under way on the item (TransactionConflictException), or a write of the object; nothing was
    done."""


class Throttled(AwsError):
    """Over a throughput limit; nothing was done."""


class NotFound(AwsError):
    """The table, queue, object, parameter or function does not exist, or the bucket has no tags."""


class AccessDenied(AwsError):
    """The caller has no permission, or no valid credentials; ``code`` is NO_CREDENTIALS if it has none at all."""


NO_CREDENTIALS = "NoCredentials"


class TooLarge(AwsError):
    """An object larger than any that the service makes (``aws.MAX_OBJECT_BYTES``); it was not read."""


class NotSent(AwsError):
    """The call waited too long for its turn and was not sent (``aws.MAX_SECONDS_UNSENT``); nothing was done."""


class Unavailable(AwsError):
    """No answer, or a server-side failure: whether the call took effect is unknown."""


@dataclass(frozen=True, slots=True)
class CancellationReason:
    """Why one item of a transaction did not go through; ``code`` is "None" for items that were fine."""

    code: str
    item: dict[str, Any] = field(default_factory=dict[str, Any])


class TransactionCancelled(AwsError):
    """A transaction that did not happen. ``reasons`` has one entry an item, in the request's order."""

    def __init__(self, operation: str, reasons: tuple[CancellationReason, ...]) -> None:
        super().__init__(
            "dynamodb", operation, "TransactionCanceledException", ", ".join(reason.code for reason in reasons)
        )
        self.reasons = reasons


class InvalidMessage(ValueError):
    """A message on a queue that no sender of this version can have sent."""
