"""Znodes' data that is in the bucket: its keys, and who refers to them.

Each blob that a znode holds has a reference in the ledger, written by the same transaction as the znode. So a blob
without one, that is older than any request that could still give it one, can go.
"""

from __future__ import annotations

import re

from faaskeeper.blocks.attributes import get_string, string
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import blob_key
from faaskeeper.blocks.query import query_all
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import REFERENCE


def data_key(service: Service, gateway: str, number: int) -> str:
    """Of a znode's data; ``number`` is a random one of 128 bits."""
    return blob_key(service, gateway, f"{number:032x}")


def is_data_key(service: Service, gateway: str, key: str) -> bool:
    """Whether ``gateway`` can have put a znode's data there."""
    return re.fullmatch(f"{re.escape(blob_key(service, gateway, ''))}[0-9a-f]{{32}}", key) is not None


async def list_references(aws: Aws, service: Service, first: str, last: str) -> frozenset[str]:
    """The keys from ``first`` to ``last`` of blobs that znodes hold."""
    items = await query_all(
        aws,
        TableName=service.ledger,
        KeyConditionExpression="pk = :reference AND sk BETWEEN :first AND :last",
        ExpressionAttributeValues={":reference": string(REFERENCE), ":first": string(first), ":last": string(last)},
    )
    return frozenset(get_string(item, "sk") for item in items)
