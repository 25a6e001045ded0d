"""Queries over as many pages as there are."""

from __future__ import annotations

from typing import Any

from faaskeeper.blocks.attributes import Item
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.retry import repeat


async def query_all(aws: Aws, **parameters: Any) -> list[Item]:
    """Every item that a strongly consistent Query with ``parameters`` finds; a request for each MB.

    Pages are of different moments: the caller must know what belongs together.
    """
    items: list[Item] = []
    page = {**parameters, "ConsistentRead": True}
    while True:
        response = await _once(aws, page)
        items.extend(response["Items"])
        if "LastEvaluatedKey" not in response:
            return items
        page = {**page, "ExclusiveStartKey": response["LastEvaluatedKey"]}


async def _once(aws: Aws, page: dict[str, Any]) -> dict[str, Any]:
    return await repeat(lambda: aws.call("dynamodb", "query", **page))
