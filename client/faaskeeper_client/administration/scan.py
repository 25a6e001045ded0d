"""Whole tables, for what an operator asks: nothing that serves clients scans."""

from __future__ import annotations

from faaskeeper.blocks.attributes import Item
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.retry import repeat
from faaskeeper_client.administration.progress import Progress, untold


async def scan_all(aws: Aws, table: str, tell: Progress = untold) -> list[Item]:
    """Every item, by strongly consistent pages of 1 MB each. Not one state of the table, if it changes meanwhile.
    Raises AwsError."""
    items: list[Item] = []
    page: dict[str, object] = {"TableName": table, "ConsistentRead": True}
    while True:
        response = await repeat(lambda page=page: aws.call("dynamodb", "scan", **page))
        items += response["Items"]
        tell(f"items read of {table}", len(items))
        if "LastEvaluatedKey" not in response:
            return items
        page = {**page, "ExclusiveStartKey": response["LastEvaluatedKey"]}
