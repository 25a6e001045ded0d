"""One item and the two ways to change it: one that may be repeated, and one that happens once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from faaskeeper.blocks.attributes import Attribute, Item
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import ConditionFailed, TransactionCancelled
from faaskeeper.blocks.retry import repeat


@dataclass(frozen=True, slots=True)
class StoredItem:
    """The item of ``table`` (a name) with the primary ``key``; it need not exist.

    In expressions, ``#name`` stands for the attribute that ``names`` maps it to, ``:value`` for one of ``values``.
    """

    aws: Aws
    table: str
    key: Item

    async def read(self) -> Item:
        """Empty if there is none. One strongly consistent GetItem."""
        response = await repeat(
            lambda: self.aws.call("dynamodb", "get_item", TableName=self.table, Key=dict(self.key), ConsistentRead=True)
        )
        return response.get("Item", {})

    async def update(
        self,
        expression: str,
        names: Mapping[str, str],
        values: Mapping[str, Attribute],
        condition: str | None = None,
    ) -> Item:
        """The item after an UpdateItem that is sent again while its outcome is unknown.

        Raises ConditionFailed, with the item as it is; that may be the doing of this call's own first try.
        """
        parameters = self._parameters(expression, names, values, condition)
        response = await repeat(lambda: self.aws.call("dynamodb", "update_item", ReturnValues="ALL_NEW", **parameters))
        return response["Attributes"]

    async def update_once(
        self,
        expression: str,
        names: Mapping[str, str],
        values: Mapping[str, Attribute],
        condition: str | None = None,
        token: str | None = None,
    ) -> None:
        """An update that happens once, however often it is sent, also by another process with the same ``token``
        (up to 36 characters, for ten minutes). Raises ConditionFailed, with the item as it is."""
        request = {
            "TransactItems": [{"Update": self._parameters(expression, names, values, condition)}],
            "ClientRequestToken": token or uuid4().hex,
        }
        try:
            await repeat(lambda: self.aws.call("dynamodb", "transact_write_items", **request))
        except TransactionCancelled as error:
            (reason,) = error.reasons
            if reason.code != "ConditionalCheckFailed":
                raise
            raise ConditionFailed(error.service, error.operation, reason.code, item=reason.item) from error

    def _parameters(
        self, expression: str, names: Mapping[str, str], values: Mapping[str, Attribute], condition: str | None
    ) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "TableName": self.table,
            "Key": dict(self.key),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": dict(names),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if values:
            parameters["ExpressionAttributeValues"] = dict(values)
        if condition is not None:
            parameters["ConditionExpression"] = condition
        return parameters
