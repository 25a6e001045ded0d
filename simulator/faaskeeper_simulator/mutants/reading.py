"""Breaks what makes reads exact, and the order in which a gateway answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from faaskeeper.storage import znodes
from faaskeeper.storage.znodes import NodeItem
from faaskeeper_client.gateway import storage_reads
from faaskeeper_client.gateway.pipeline import Pipeline
from faaskeeper_simulator.cloud import FaultKind
from faaskeeper_simulator.mutants.registry import mutant, schedules

_VISIBILITY = (FaultKind.TORN, FaultKind.SLOW_COMMIT, FaultKind.SHORT_PAGE, FaultKind.DELAY)


@mutant(
    "Deleting a node leaves a tombstone, so that NoNode has a zxid", schedules(kinds=_VISIBILITY, rate=6, gateways=3)
)
def tombstones_tell_no_zxid() -> Iterator[None]:
    real = NodeItem.zxid

    def zxid(self: NodeItem) -> int:
        return real.__get__(self) if "czxid" in self.attributes else 0

    with patch.object(NodeItem, "zxid", property(zxid)):
        yield


@mutant(
    "A list of children must match the parent's count and children sum", schedules("wide", kinds=_VISIBILITY, rate=6)
)
def listings_are_not_checked() -> Iterator[None]:
    with patch.object(storage_reads, "read_children", _unchecked_children):
        yield


async def _unchecked_children(aws: Any, service: Any, path: str) -> Any:
    items = await znodes.query_all(
        aws,
        TableName=service.znodes,
        KeyConditionExpression="#path = :path AND part <= :node",
        ExpressionAttributeNames={"#path": "path"},
        ExpressionAttributeValues={":path": {"S": znodes.node_key(path).partition}, ":node": {"S": znodes.NODE}},
        ScanIndexForward=False,
    )
    node, names = NodeItem(path, {}), list[str]()
    for item in items:
        if item["part"]["S"] == znodes.NODE:
            node = NodeItem(path, item)
        else:
            names.append(item["part"]["S"].removeprefix(znodes.CHILD_PREFIX))
    return znodes.Listing(node, tuple(names))


@mutant("Data beside the node must match its mzxid", schedules("large", kinds=_VISIBILITY, rate=6, clients=5))
def values_are_not_checked() -> Iterator[None]:
    async def value(aws: Any, service: Any, node: NodeItem) -> bytes | None:
        response = await aws.call(
            "dynamodb",
            "get_item",
            TableName=service.znodes,
            Key=znodes.value_key(node.path).attributes,
            ConsistentRead=True,
        )
        return bytes(response["Item"]["data"]["B"]) if "Item" in response else None

    with (
        patch.object(storage_reads, "read_node_and_value", _unchecked_both),
        patch.object(storage_reads, "read_value", value),
    ):
        yield


async def _unchecked_both(aws: Any, service: Any, path: str) -> tuple[NodeItem, bytes | None]:
    items = await znodes.query_all(
        aws,
        TableName=service.znodes,
        KeyConditionExpression="#path = :path AND part >= :node",
        ExpressionAttributeNames={"#path": "path"},
        ExpressionAttributeValues={":path": {"S": znodes.node_key(path).partition}, ":node": {"S": znodes.NODE}},
    )
    parts = {item["part"]["S"]: item for item in items}
    beside = parts.get("value")
    return NodeItem(path, parts.get(znodes.NODE, {})), bytes(beside["data"]["B"]) if beside else None


@mutant(
    "A pipelined read whose predecessor showed something newer is made again",
    schedules(kinds=_VISIBILITY, rate=4, clients=6),
)
def reads_are_not_made_again() -> Iterator[None]:
    real = Pipeline._execute

    async def execute(self: Pipeline, request: Any) -> Any:
        _, result = await real(self, request)
        # as if it surely reflected what is complete only now
        return self._life.observer.complete, result

    with patch.object(Pipeline, "_execute", execute):
        yield


class _Impatient:
    """A count that nobody waits for."""

    def up(self) -> None: ...

    def down(self) -> None: ...

    async def none(self) -> None: ...

    async def below(self, limit: int) -> None: ...


@mutant(
    "A write is sent after the session's earlier reads have executed", schedules(kinds=_VISIBILITY, rate=4, clients=6)
)
def writes_do_not_wait_for_reads() -> Iterator[None]:
    real = Pipeline.__init__

    def initialize(self: Pipeline, *arguments: Any) -> None:
        real(self, *arguments)
        self._reads = _Impatient()  # type: ignore[assignment]

    with patch.object(Pipeline, "__init__", initialize):
        yield
