"""CPU time of one call to AWS, by operation: as the service sends it, and by boto3's own client.

A server in a process of its own answers with documents of the usual size, so the figures are those of this process:
parameters to bytes, signature, connection, answer to values. Connections stay open, as in a warm instance.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import botocore.config

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.local.cloud import CloudSession

CALLS = 100
_ROUNDS = 20
"""The best round counts: what else runs on the machine only adds."""
_KEY = {"pk": {"S": "znodes"}, "sk": {"S": "node#/app/config/flags"}}
_ITEM = {
    **_KEY,
    **{name: {"N": "1234567890123"} for name in ("czxid", "mzxid", "pzxid", "ctime", "mtime", "version")},
    "data": {"B": b"x" * 100},
    "acl": {"L": [{"M": {"perms": {"N": "31"}, "scheme": {"S": "world"}, "id": {"S": "anyone"}}}]},
}
_ITEM_ENCODED = {**_ITEM, "data": {"B": "eHh4" * 33 + "eA=="}}
_PUT = {"TableName": "table", "Item": _ITEM, "ConditionExpression": "attribute_not_exists(pk)"}
_UPDATE = {
    "TableName": "table",
    "Key": _KEY,
    "UpdateExpression": "SET #d = :d, mzxid = :z REMOVE watch_data",
    "ConditionExpression": "mzxid < :z",
    "ExpressionAttributeNames": {"#d": "data"},
    "ExpressionAttributeValues": {":d": {"B": b"x" * 100}, ":z": {"N": "1234567890124"}},
    "ReturnValues": "ALL_OLD",
}
_WRITES = [{"Put": _PUT}, *({"Update": {k: v for k, v in _UPDATE.items() if k != "ReturnValues"}} for _ in range(4))]
_QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/requests.fifo"
_MESSAGE = {"MessageId": "0" * 36, "ReceiptHandle": "r" * 200, "MD5OfBody": "0" * 32, "Body": "x" * 300}
_OPERATIONS: list[tuple[str, str, str, dict[str, Any], Any]] = [
    (
        "get",
        "dynamodb",
        "get_item",
        {"TableName": "table", "Key": _KEY, "ConsistentRead": True},
        {"Item": _ITEM_ENCODED},
    ),
    ("put, conditional", "dynamodb", "put_item", _PUT, {}),
    ("update, conditional", "dynamodb", "update_item", _UPDATE, {"Attributes": _ITEM_ENCODED}),
    (
        "query, 100 items",
        "dynamodb",
        "query",
        {"TableName": "table", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "a"}}},
        {"Items": [_ITEM_ENCODED] * 100, "Count": 100},
    ),
    (
        "batch get, 10 items",
        "dynamodb",
        "batch_get_item",
        {"RequestItems": {"table": {"Keys": [_KEY] * 10, "ConsistentRead": True}}},
        {"Responses": {"table": [_ITEM_ENCODED] * 10}, "UnprocessedKeys": {}},
    ),
    ("transaction, 5 items", "dynamodb", "transact_write_items", {"TransactItems": _WRITES}, {}),
    (
        "send, FIFO",
        "sqs",
        "send_message",
        {"QueueUrl": _QUEUE, "MessageBody": "x" * 300, "MessageGroupId": "g", "MessageDeduplicationId": "g-1"},
        {"MD5OfMessageBody": "0" * 32, "MessageId": "0" * 36, "SequenceNumber": "18849496460467696128"},
    ),
    (
        "receive, 10 messages",
        "sqs",
        "receive_message",
        {"QueueUrl": _QUEUE, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20},
        {"Messages": [_MESSAGE] * 10},
    ),
    ("delete", "sqs", "delete_message", {"QueueUrl": _QUEUE, "ReceiptHandle": "r" * 200}, {}),
    ("invoke", "lambda", "invoke", {"FunctionName": "writer", "Payload": b"x" * 300}, {"outcome": "x" * 300}),
]


class _Answers(asyncio.Protocol):
    def __init__(self, body: bytes) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: %b\r\n" % (
            b"0" * 52
        ) + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        self._read = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            self._read = b""
            self._transport.write(self._answer)


async def serve(answer: bytes) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Answers(answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _ours(aws: BotoAws, service: str, operation: str, parameters: dict[str, Any], together: int) -> float:
    began = time.process_time()
    for _ in range(CALLS // together):
        await asyncio.gather(*(aws.call(service, operation, **parameters) for _ in range(together)))
    return (time.process_time() - began) / (CALLS // together * together)


async def _boto3(client: Any, operation: str, parameters: dict[str, Any]) -> float:
    """In a thread, since it blocks; ``to_thread`` is the cheapest way there is."""
    began = time.process_time()
    for _ in range(CALLS):
        await asyncio.to_thread(getattr(client, operation), **parameters)
    return (time.process_time() - began) / CALLS


async def _measure(service: str, operation: str, parameters: dict[str, Any], url: str) -> tuple[float, float, float]:
    session = CloudSession(url, "123456789012", "us-east-1")
    config = botocore.config.Config(retries={"total_max_attempts": 1, "mode": "standard"})
    client = session.client(service, config=config)
    with closing(BotoAws(session=session)) as aws:
        rounds = [
            (
                await _boto3(client, operation, parameters),
                await _ours(aws, service, operation, parameters, 1),
                await _ours(aws, service, operation, parameters, 10),
            )
            for _ in range(_ROUNDS)
        ]
    boto3, one, ten = (min(column) for column in zip(*rounds, strict=True))
    return boto3, one, ten


def main() -> None:
    print(f"CPU milliseconds of this process a call, the best of {_ROUNDS} rounds of {CALLS}\n")
    print("| | boto3's client | sent by FaaSKeeper | ten at once |\n|---|---|---|---|")
    for name, service, operation, parameters, answer in _OPERATIONS:
        arguments = [sys.executable, "-m", "bench.calls", "--serve", json.dumps(answer)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=dict(os.environ)) as server:
            try:
                assert server.stdout is not None
                url = f"http://127.0.0.1:{int(server.stdout.readline())}"
                boto3, one, ten = asyncio.run(_measure(service, operation, parameters, url))
            finally:
                server.terminate()
        print(f"| {name} | {boto3 * 1000:.2f} | {one * 1000:.2f} | {ten * 1000:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(sys.argv[2].encode()))
    else:
        main()
