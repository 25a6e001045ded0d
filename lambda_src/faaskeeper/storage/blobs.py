"""Data too large for DynamoDB, in the bucket: written before the request that names it (claim check), immutable."""

from __future__ import annotations

from faaskeeper.protocol.service import Service
from faaskeeper.storage.aws import Aws
from faaskeeper.storage.retry import repeat

PREFIX = "blobs/"


async def write_blob(aws: Aws, service: Service, key: str, data: bytes) -> None:
    await repeat(lambda: aws.call("s3", "put_object", Bucket=service.blobs, Key=key, Body=data), seconds=20.0)


async def read_blob(aws: Aws, service: Service, key: str) -> bytes:
    """Raises NotFound if no znode holds the key any more and the janitor has removed it."""
    response = await repeat(lambda: aws.call("s3", "get_object", Bucket=service.blobs, Key=key), seconds=20.0)
    return bytes(response["Body"])
