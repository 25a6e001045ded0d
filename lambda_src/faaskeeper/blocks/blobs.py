"""Data too large for an item or a message, in the bucket under ``blobs/SERVICE/``: written before anything names it
(claim check), and never written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AccessDenied, AwsError, ConditionFailed, NotFound
from faaskeeper.blocks.parts import Parts
from faaskeeper.blocks.retry import repeat

PREFIX = "blobs/"
_MAX_PAGE_OBJECTS = 1000
"""Objects that S3 lists or deletes at once."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """``modified`` is in ms since the epoch, by S3's clock."""

    key: str
    modified: int


def blob_key(service: Parts, *names: str) -> str:
    """Begins with the service's name, so that services with different names can share a bucket."""
    return "/".join((f"{PREFIX}{service.name}", *names))


async def write_blob(aws: Aws, service: Parts, key: str, data: bytes) -> None:
    """``key`` must be random: what is there is never overwritten, and clients are permitted nothing else."""
    try:
        await repeat(
            lambda: aws.call("s3", "put_object", Bucket=service.blobs, Key=key, Body=data, IfNoneMatch="*"),
            seconds=20.0,
        )
    except ConditionFailed:
        return  # by an earlier try, whose answer was lost


async def read_blob(aws: Aws, service: Parts, key: str) -> bytes:
    """Raises NotFound if the blob was removed, AccessDenied, TooLarge."""
    try:
        response = await repeat(lambda: aws.call("s3", "get_object", Bucket=service.blobs, Key=key), seconds=20.0)
    except AccessDenied as error:
        # what S3 says of an object that does not exist to whoever may not list the bucket; but credentials that ran
        # out have other codes, and a key that may not be used is named
        if error.code != "AccessDenied" or "kms:" in error.message:
            raise
        raise NotFound("s3", "get_object", error.code, f"{key}: {error.message}") from error
    return bytes(response["Body"])


async def list_blobs(aws: Aws, service: Parts, after: str) -> tuple[list[StoredBlob], bool]:
    """A page of the service's blobs with keys above ``after``, in order, and whether there are more."""
    response = await repeat(
        lambda: aws.call(
            "s3",
            "list_objects_v2",
            Bucket=service.blobs,
            Prefix=blob_key(service, ""),
            StartAfter=after,
            MaxKeys=_MAX_PAGE_OBJECTS,
        )
    )
    found: list[dict[str, Any]] = response.get("Contents", [])
    blobs = [StoredBlob(each["Key"], int(each["LastModified"].timestamp() * 1000)) for each in found]
    return blobs, bool(response["IsTruncated"])


async def delete_blobs(aws: Aws, service: Parts, keys: Sequence[str]) -> None:
    """At most 1,000, and at least one; such as do not exist are ignored. Raises AwsError if S3 refuses any."""
    response = await repeat(
        lambda: aws.call(
            "s3",
            "delete_objects",
            Bucket=service.blobs,
            Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
        )
    )
    for error in response.get("Errors", ()):
        raise AwsError("s3", "delete_objects", error["Code"], f"{error['Key']}: {error['Message']}")
