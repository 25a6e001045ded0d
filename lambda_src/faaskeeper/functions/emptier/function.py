"""Lambda handler of a CloudFormation custom resource: empties a bucket before the stack deletes it.

The stack would else fail to delete a bucket that still holds data. Deployed only where a tier asks for it.

CloudFormation sends the Delete request also when the custom resource leaves the template while the bucket stays: a
service moves to a tier that keeps its data, or a move to one that does not is rolled back. The bucket's tag tells
these apart from a deletion: it is there for as long as the template that holds says so. CloudFormation changes, or
changes back, what stays before it deletes what leaves (UPDATE_COMPLETE_CLEANUP_IN_PROGRESS and
UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS come last), so by then the tag has gone.
"""

from __future__ import annotations

import json
import logging
import urllib.request

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, NotFound
from faaskeeper.blocks.runtime import LambdaContext, LambdaEvent, aws, run

logger = logging.getLogger(__name__)

TAG = "faaskeeper:empty-on-deletion"
"""The key of the tag, with the value "true", of a bucket that may be emptied."""
_ANSWER_SECONDS = 10


def handler(event: LambdaEvent, context: LambdaContext) -> None:
    """Answers CloudFormation whatever happens: it would else wait for an hour."""
    status, reason = "SUCCESS", ""
    try:
        if event["RequestType"] == "Delete":
            run(empty(aws(), event["ResourceProperties"]["Bucket"]))
    except Exception as error:
        logger.exception("cannot empty the bucket")
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
    _answer(event, status, reason)


async def empty(aws: Aws, bucket: str) -> None:
    """Deletes all objects with all versions if the bucket has the TAG; a bucket that is gone is empty.
    Raises AwsError."""
    try:
        tags = (await aws.call("s3", "get_bucket_tagging", Bucket=bucket))["TagSet"]
        if {"Key": TAG, "Value": "true"} not in tags:
            logger.info("%s stays as it is: it has no tag %s", bucket, TAG)
            return
        while True:
            page = await aws.call("s3", "list_object_versions", Bucket=bucket)
            objects = [
                {"Key": version["Key"], "VersionId": version["VersionId"]}
                for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            if not objects:
                return
            response = await aws.call("s3", "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in response.get("Errors", ()):
                raise AwsError("s3", "delete_objects", error["Code"], f"{error['Key']}: {error['Message']}")
    except NotFound as error:
        logger.info("%s has nothing to be emptied: %s", bucket, error.code)


def _answer(event: LambdaEvent, status: str, reason: str) -> None:
    body = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": event["ResourceProperties"]["Bucket"],
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
        logger.info("answered %s", status)
