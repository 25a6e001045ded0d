"""Whole tables, for what an operator asks: nothing that serves clients scans."""

from __future__ import annotations

from faaskeeper.blocks.attributes import Item
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.retry import repeat


async def scan_all(aws: Aws, table: str) -> list[Item]:
    """Every item, by strongly consistent pages of 1 MB each. Not one state of the table, if it changes meanwhile.
    Raises AwsError."""
    items: list[Item] = []
    page: dict[str, object] = {"TableName": table, "ConsistentRead": True}
    while True:
        response = await repeat(lambda page=page: aws.call("dynamodb", "scan", **page))
        items += response["Items"]
        if "LastEvaluatedKey" not in response:
            return items
        page = {**page, "ExclusiveStartKey": response["LastEvaluatedKey"]}
