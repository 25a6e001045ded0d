"""What any service needs to know of transactions that follow one another in the order of a queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faaskeeper.blocks.attributes import Item
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.retry import passing


class Moved(Exception):
    """Another transaction went on while this one loaded: load again, from its head."""


@dataclass(frozen=True, order=True, slots=True)
class Position:
    """Where an operation stands in the requests queue: SQS's SequenceNumber and the index in the message. SQS
    guarantees that sequence numbers of a message group increase."""

    sequence_number: int
    index: int


async def read_together(aws: Aws, keys: Sequence[tuple[str, Item]]) -> list[Item] | None:
    """The items at ``keys`` (table name, primary key; at most 100), empty where there is none, all of one moment; None
    while that cannot be had.

    TransactGetItems is refused while a transaction is under way on any of its items (DynamoDB's isolation of
    transactions), so an answer says besides that the transactions that wrote them are complete.
    """
    try:
        response = await aws.call(
            "dynamodb",
            "transact_get_items",
            TransactItems=[{"Get": {"TableName": table, "Key": dict(key)}} for table, key in keys],
        )
    except AwsError as error:
        if passing(error):
            return None
        raise
    return [each.get("Item", {}) for each in response["Responses"]]
