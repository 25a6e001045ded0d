"""The simulated S3: buckets of immutable bytes, strongly consistent, slower than the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError, ConditionFailed, NotFound

from .faults import FaultKind, Faults
from .loop import SimulationLoop
from .service import EPOCH, Answer
from .usage import Usage


@dataclass(frozen=True, slots=True)
class Object:
    body: bytes
    modified: datetime
    content_type: str
    metadata: dict[str, str]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body).hexdigest()}"'


@dataclass(slots=True)
class S3:
    loop: SimulationLoop
    faults: Faults
    usage: Usage
    _buckets: dict[str, dict[str, Object]] = field(default_factory=dict[str, dict[str, Object]])

    def create_bucket(self, name: str) -> None:
        self._buckets[name] = {}

    def objects(self, bucket: str) -> dict[str, bytes]:
        """For assertions."""
        return {key: stored.body for key, stored in self._buckets[bucket].items()}

    def call(self, operation: str, parameters: dict[str, Any], sent: float) -> Answer:
        """Raises NotFound, AwsError."""
        method: Callable[[str, dict[str, Object], dict[str, Any]], Response] | None
        method = getattr(self, f"_{operation}", None)
        if method is None:
            raise AwsError("s3", operation, "NotSimulated", "this operation is not simulated")
        bucket = self._buckets.get(parameters["Bucket"])
        if bucket is None:
            raise NotFound("s3", operation, "NoSuchBucket", parameters["Bucket"])
        writes = operation in ("put_object", "list_objects_v2")
        self.usage.add("s3.write" if writes else "s3.read" if not operation.startswith("delete") else "s3.delete")
        return method(operation, bucket, parameters)

    def _put_object(self, operation: str, bucket: dict[str, Object], parameters: dict[str, Any]) -> Response:
        key = parameters["Key"]
        if not 1 <= len(key.encode()) <= 1024:
            raise AwsError("s3", operation, "KeyTooLongError", f"key of {len(key.encode())} bytes")
        if parameters.get("IfNoneMatch") == "*" and key in bucket:
            raise ConditionFailed("s3", operation, "PreconditionFailed", f"{key} exists")
        body = parameters.get("Body", b"")
        content = body.encode() if isinstance(body, str) else bytes(body)
        moment = datetime.fromtimestamp(int(EPOCH + self.loop.time()), UTC)
        bucket[key] = Object(content, moment, parameters.get("ContentType", ""), dict(parameters.get("Metadata", {})))
        return {"ETag": bucket[key].etag}

    def _get_object(self, operation: str, bucket: dict[str, Object], parameters: dict[str, Any]) -> Response:
        found = bucket.get(parameters["Key"])
        if found is None:
            raise NotFound("s3", operation, "NoSuchKey", parameters["Key"])
        return {**_head(found), "Body": found.body}

    def _head_object(self, operation: str, bucket: dict[str, Object], parameters: dict[str, Any]) -> Response:
        found = bucket.get(parameters["Key"])
        if found is None:
            raise NotFound("s3", operation, "404", "Not Found")
        return _head(found)

    def _delete_object(self, operation: str, bucket: dict[str, Object], parameters: dict[str, Any]) -> Response:
        bucket.pop(parameters["Key"], None)
        return {}

    def _delete_objects(self, operation: str, bucket: dict[str, Object], parameters: dict[str, Any]) -> Response:
        wanted = parameters["Delete"]["Objects"]
        if not 1 <= len(wanted) <= 1000:
            raise AwsError("s3", operation, "MalformedXML", f"{len(wanted)} objects; 1 to 1000 are allowed")
        response: Response = {"Deleted": [], "Errors": []}
        for entry in wanted:
            key = entry["Key"]
            if self.faults.happens(FaultKind.PARTIAL_BATCH, lambda key=key: f"s3 {operation} {key}"):
                response["Errors"].append({"Key": key, "Code": "InternalError", "Message": "this entry failed"})
                continue
            bucket.pop(key, None)
            response["Deleted"].append({"Key": key})
        return response

    def _list_objects_v2(self, operation: str, bucket: dict[str, Object], parameters: dict[str, Any]) -> Response:
        prefix = parameters.get("Prefix", "")
        after = max(parameters.get("ContinuationToken", ""), parameters.get("StartAfter", ""))
        keys = sorted((key for key in bucket if key.startswith(prefix) and key > after), key=lambda key: key.encode())
        limit = min(1000, parameters.get("MaxKeys", 1000))
        if self.faults.happens(FaultKind.SHORT_PAGE, operation):
            limit = min(limit, 1 + int(8 * self.faults.share()))
        page = keys[:limit]
        response: Response = {
            "KeyCount": len(page),
            "MaxKeys": limit,
            "Prefix": prefix,
            "IsTruncated": len(keys) > limit,
            "Contents": [
                {
                    "Key": key,
                    "Size": len(bucket[key].body),
                    "LastModified": bucket[key].modified,
                    "ETag": bucket[key].etag,
                }
                for key in page
            ],
        }
        if not page:
            del response["Contents"]
        if len(keys) > limit:
            response["NextContinuationToken"] = page[-1]
        return response


def _head(found: Object) -> Response:
    return {
        "ContentLength": len(found.body),
        "LastModified": found.modified,
        "ETag": found.etag,
        "ContentType": found.content_type,
        "Metadata": dict(found.metadata),
    }
