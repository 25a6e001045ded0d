"""The meter of the embedded cloud: requests counted once, units as AWS's price list has them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator

import pytest
from kazoo.client import KazooClient

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.meter import Line, Meter, Request, Usage, invocations, item_size, priced


def dynamodb(operation: str, asked: object, answer: object, status: int = 200) -> float:
    request = Request("POST", "/", f"DynamoDB_20120810.{operation}", json.dumps(asked).encode())
    return priced("test", request, status, json.dumps(answer).encode()).units


def item(size: int) -> dict[str, object]:
    return {"d": {"S": "x" * (size - 1)}}


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "äb"}, 3),
        ({"N": "-123"}, 3),
        ({"N": "5"}, 2),
        ({"B": "AAEC"}, 3),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bcd"]}, 4),
        ({"L": [{"S": "a"}, {"S": "b"}]}, 3 + 2 + 2),
        ({"M": {"k": {"S": "v"}}}, 3 + 1 + 2),
    ],
)
def test_item_sizes(value: dict[str, object], size: int) -> None:
    assert item_size({"name": value}) == 4 + size


def test_reads_are_paid_by_4_kb() -> None:
    asked = {"ConsistentRead": True}
    assert dynamodb("GetItem", asked, {}) == 1
    assert dynamodb("GetItem", asked, {"Item": item(4096)}) == 1
    assert dynamodb("GetItem", asked, {"Item": item(4097)}) == 2
    assert dynamodb("GetItem", {}, {"Item": item(4097)}) == 1
    assert dynamodb("Query", asked, {"Items": []}) == 1
    assert dynamodb("Query", asked, {"Items": [item(3000), item(3000)]}) == 2
    assert dynamodb("TransactGetItems", {}, {"Responses": [{"Item": item(5000)}, {}]}) == 4 + 2


def test_a_batch_is_paid_item_by_item() -> None:
    asked = {"RequestItems": {"t": {"ConsistentRead": True, "Keys": [1, 2, 3, 4]}}}
    answer = {"Responses": {"t": [item(3000), item(5000)]}, "UnprocessedKeys": {"t": {"Keys": [4]}}}
    assert dynamodb("BatchGetItem", asked, answer) == 1 + 2 + 1
    asked["RequestItems"]["t"]["ConsistentRead"] = False
    assert dynamodb("BatchGetItem", asked, answer) == 2


def test_refused_writes_are_paid_too() -> None:
    refused = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}
    assert dynamodb("UpdateItem", {}, refused, 400) == 1
    cancelled = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"}
    assert dynamodb("TransactWriteItems", {"TransactItems": [1, 2, 3]}, cancelled, 400) == 6
    assert dynamodb("UpdateItem", {}, {"__type": "x#ValidationException"}, 400) == 0


def test_queues_are_paid_by_64_kb() -> None:
    def send(queue: str, size: int) -> Line:
        body = json.dumps({"QueueUrl": queue, "MessageBody": "x" * size}).encode()
        return priced("test", Request("POST", "/", "AmazonSQS.SendMessage", body), 200, b"{}")

    assert send("http://host/requests.fifo", 10) == Line("test", "SQS", "SendMessage", "FIFO request", 1, 1)
    assert send("http://host/replies", 10).unit == "request"
    assert send("http://host/replies", 130_000).units == 2
    assert send("http://host/requests.fifo", 10).dollars == pytest.approx(0.0000005)


def test_objects() -> None:
    assert priced("test", Request("PUT", "/bucket/key", "", b""), 200, b"").unit == "PUT"
    assert priced("test", Request("GET", "/bucket/key", "", b""), 200, b"").unit == "GET"
    assert priced("test", Request("GET", "/bucket?list-type=2", "", b""), 200, b"").unit == "PUT"


@pytest.fixture(scope="module")
def metered() -> Generator[tuple[EmbeddedCloud, Usage, KazooClient]]:
    usage = Usage()
    with (
        EmbeddedCloud() as cloud,
        Meter(cloud, "gateways", usage) as way,
        Meter(cloud, "functions", usage) as functions,
    ):
        service = cloud.deploy("local")
        functions.lead_functions_here()
        aws = BotoAws(session=way.session())
        with GatewayThread(aws, service, cache_bytes=0) as gateway:
            client = KazooClient(gateway.hosts)
            client.start()
            yield cloud, usage, client
            client.stop()
            client.close()
        aws.close()


def counts(usage: Usage) -> Counter[tuple[str, str, str]]:
    return Counter({(line.who, line.operation, line.unit): line.count for line in usage})


def test_a_write_is_what_the_design_says(metered: tuple[EmbeddedCloud, Usage, KazooClient]) -> None:
    """One invocation, one batch of reads, one transaction, and no queue."""
    cloud, usage, client = metered
    client.create("/metered", b"x" * 100)
    before = counts(usage) + counts(invocations(cloud))
    for _ in range(10):
        client.set("/metered", b"y" * 100)
    made = counts(usage) + counts(invocations(cloud)) - before
    assert made["functions", "Direct", "invocation"] == 10
    assert made["functions", "BatchGetItem", "read unit"] <= 10
    assert made["functions", "TransactWriteItems", "write unit"] == 10
    assert not [key for key in made if key[1] == "SendMessage"]


def test_a_read_is_one_request(metered: tuple[EmbeddedCloud, Usage, KazooClient]) -> None:
    _, usage, client = metered
    client.create("/read", b"x" * 100)
    client.get("/read")
    before = counts(usage)
    for _ in range(10):
        client.get("/read")
    made = counts(usage) - before
    # no watch, so all that the gateway reads is what it is asked for
    assert sum(count for (_, _, unit), count in made.items() if unit == "read unit") == 10


def test_large_data_passes_unharmed(metered: tuple[EmbeddedCloud, Usage, KazooClient]) -> None:
    _, usage, client = metered
    data = bytes(range(256)) * 3500
    client.create("/large", data)
    assert client.get("/large")[0] == data
    assert counts(usage)["gateways", "PutObject", "PUT"] == 1
