"""The simulated DynamoDB on a good day: operations, limits, capacity."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, ConditionFailed, NotFound, Throttled, TransactionCancelled
from faaskeeper_simulator.cloud import Cloud, Faults, Usage, run

T = TypeVar("T")


def on_cloud(work: Callable[[Cloud, Aws], Awaitable[T]], faults: Faults | None = None, seed: int = 1) -> T:
    async def main() -> T:
        cloud = Cloud(faults)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        return await work(cloud, cloud.client("client"))

    return run(seed, main())


def key(pk: str, sk: str = "node") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


async def put(aws: Aws, pk: str, sk: str = "node", **attributes: Any) -> None:
    await aws.call("dynamodb", "put_item", TableName="t", Item={**key(pk, sk), **attributes})


async def get(aws: Aws, pk: str, sk: str = "node") -> dict[str, Any] | None:
    return (await aws.call("dynamodb", "get_item", TableName="t", Key=key(pk, sk), ConsistentRead=True)).get("Item")


def update(pk: str, expression: str, condition: str | None = None, **values: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {"TableName": "t", "Key": key(pk), "UpdateExpression": expression}
    if condition is not None:
        parameters["ConditionExpression"] = condition
    if values:
        parameters["ExpressionAttributeValues"] = {f":{name}": value for name, value in values.items()}
    return parameters


def test_returned_values_are_of_before_or_after() -> None:
    async def work(cloud: Cloud, aws: Aws) -> list[Any]:
        await put(aws, "a", n={"N": "1"}, m={"N": "5"})
        change = update("a", "SET n = n + :one", one={"N": "1"})
        return [
            (await aws.call("dynamodb", "update_item", **change, ReturnValues=returned)).get("Attributes")
            for returned in ("NONE", "ALL_OLD", "UPDATED_OLD", "UPDATED_NEW", "ALL_NEW")
        ]

    assert on_cloud(work) == [
        None,
        {**key("a"), "n": {"N": "2"}, "m": {"N": "5"}},
        {"n": {"N": "3"}},
        {"n": {"N": "5"}},
        {**key("a"), "n": {"N": "6"}, "m": {"N": "5"}},
    ]


def test_what_the_caller_holds_is_a_copy() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        item = {**key("a"), "list": {"L": [{"N": "1"}]}}
        await aws.call("dynamodb", "put_item", TableName="t", Item=item)
        item["list"]["L"].append({"N": "2"})
        found = await get(aws, "a")
        assert found is not None
        found["list"]["L"].clear()
        return await get(aws, "a")

    assert on_cloud(work) == {**key("a"), "list": {"L": [{"N": "1"}]}}


def test_the_last_element_takes_its_set_along() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        await put(aws, "a", watch={"SS": ["one", "two"]})
        await aws.call("dynamodb", "update_item", **update("a", "DELETE watch :g", g={"SS": ["one", "three"]}))
        one = await get(aws, "a")
        await aws.call("dynamodb", "update_item", **update("a", "DELETE watch :g", g={"SS": ["two"]}))
        return one, await get(aws, "a")

    assert on_cloud(work) == ({**key("a"), "watch": {"SS": ["two"]}}, key("a"))


def test_a_condition_that_fails_changes_nothing() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        await put(aws, "a", n={"N": "1"})
        with pytest.raises(ConditionFailed):
            await aws.call("dynamodb", "update_item", **update("a", "SET n = :two", "n = :two", two={"N": "2"}))
        with pytest.raises(ConditionFailed):
            await aws.call(
                "dynamodb",
                "put_item",
                TableName="t",
                Item=key("a"),
                ConditionExpression="attribute_not_exists(pk)",
            )
        return await get(aws, "a")

    assert on_cloud(work) == {**key("a"), "n": {"N": "1"}}


def test_a_cancelled_transaction_names_its_reasons_in_order() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        await put(aws, "b", n={"N": "1"})
        with pytest.raises(TransactionCancelled) as caught:
            await aws.call(
                "dynamodb",
                "transact_write_items",
                TransactItems=[
                    {"Put": {"TableName": "t", "Item": key("a")}},
                    {
                        "Update": {
                            **update("b", "SET n = :two", "attribute_not_exists(n)", two={"N": "2"}),
                            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                        }
                    },
                    {
                        "ConditionCheck": {
                            "TableName": "t",
                            "Key": key("c"),
                            "ConditionExpression": "attribute_exists(pk)",
                        }
                    },
                ],
            )
        return [(reason.code, reason.item) for reason in caught.value.reasons], await get(aws, "a")

    reasons, item = on_cloud(work)
    assert reasons == [
        ("None", {}),
        ("ConditionalCheckFailed", {**key("b"), "n": {"N": "1"}}),
        ("ConditionalCheckFailed", {}),
    ]
    assert item is None


def test_a_transaction_repeated_with_its_token_happens_once() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        transaction = {
            "TransactItems": [{"Update": update("a", "ADD n :one", one={"N": "1"})}],
            "ClientRequestToken": "once",
        }
        await aws.call("dynamodb", "transact_write_items", **transaction)
        await aws.call("dynamodb", "transact_write_items", **transaction)
        with pytest.raises(AwsError, match="IdempotentParameterMismatchException"):
            await aws.call(
                "dynamodb",
                "transact_write_items",
                TransactItems=[{"Update": update("a", "ADD n :one", one={"N": "2"})}],
                ClientRequestToken="once",
            )
        return await get(aws, "a")

    assert on_cloud(work) == {**key("a"), "n": {"N": "1"}}


def test_queries_page_and_scans_cover_everything() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        for number in range(25):
            await put(aws, "a", f"child#{number:02d}")
            await put(aws, f"p{number}")
        names: list[str] = []
        pages = 0
        start: dict[str, Any] = {}
        while True:
            page = await aws.call(
                "dynamodb",
                "query",
                TableName="t",
                KeyConditionExpression="pk = :pk AND begins_with(sk, :child)",
                ExpressionAttributeValues={":pk": {"S": "a"}, ":child": {"S": "child#"}},
                Limit=10,
                **start,
            )
            pages += 1
            names += [item["sk"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        scanned: list[str] = []
        start = {}
        while True:
            page = await aws.call("dynamodb", "scan", TableName="t", Limit=7, **start)
            scanned += [item["pk"]["S"] + item["sk"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        return names, pages, len(scanned), len(set(scanned))

    names, pages, scanned, distinct = on_cloud(work)
    assert names == [f"child#{number:02d}" for number in range(25)]
    assert pages == 3
    assert scanned == distinct == 50


def test_a_page_ends_at_a_megabyte() -> None:
    async def work(cloud: Cloud, aws: Aws) -> Any:
        for number in range(4):
            await put(aws, "a", str(number), data={"B": bytes(390 * 1024)})
        page = await aws.call(
            "dynamodb",
            "query",
            TableName="t",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "a"}},
        )
        return len(page["Items"]), page["LastEvaluatedKey"]

    assert on_cloud(work) == (3, key("a", "2"))


@pytest.mark.parametrize(
    ("operation", "parameters", "message"),
    [
        ("put_item", {"Item": {**key("a"), "data": {"B": bytes(400 * 1024)}}}, "maximum allowed size"),
        ("put_item", {"Item": {**key("a"), "set": {"SS": []}}}, "may not be empty"),
        ("put_item", {"Item": {**key("a"), "set": {"SS": ["x", "x"]}}}, "duplicates"),
        ("put_item", {"Item": key("")}, "0 bytes"),
        ("put_item", {"Item": key("a" * 2049)}, "2049 bytes"),
        ("put_item", {"Item": key("a", "b" * 1025)}, "1025 bytes"),
        ("put_item", {"Item": {"pk": {"S": "a"}, "sk": {"N": "1"}}}, "Type mismatch"),
        ("put_item", {"Item": {"pk": {"S": "a"}}}, "Missing the key"),
        ("get_item", {"Key": {"pk": {"S": "a"}}}, "does not match the schema"),
        ("update_item", update("a", "SET sk = :v", v={"S": "b"}), "part of the key"),
        ("update_item", update("a", "SET name = :v", v={"S": "b"}), "reserved keyword"),
        ("update_item", update("a", "SET a = :v, a = :v", v={"S": "b"}), "overlap"),
        ("update_item", update("a", "SET a.b = :v", v={"S": "b"}), "invalid for update"),
        ("update_item", update("a", "ADD m.n :v", v={"N": "1"}), "top-level"),
        ("update_item", update("a", "SET a = :v", "((b = :v))", v={"S": "b"}), "redundant parentheses"),
        ("update_item", update("a", "SET a = :v", "b = b", v={"S": "b"}), "distinct"),
        ("update_item", update("a", "SET a = :v", v={"N": "1" * 39}), "numeric value"),
        ("delete_item", {"Key": key("a"), "ConditionExpression": "size(a) < :n"}, "not defined"),
    ],
)
def test_what_dynamodb_refuses(operation: str, parameters: dict[str, Any], message: str) -> None:
    async def work(cloud: Cloud, aws: Aws) -> None:
        with pytest.raises(AwsError, match=message) as caught:
            await aws.call("dynamodb", operation, **{"TableName": "t", **parameters})
        assert caught.value.code == "ValidationException"

    on_cloud(work)


def test_limits_of_transactions() -> None:
    async def work(cloud: Cloud, aws: Aws) -> None:
        def puts(count: int, size: int = 0) -> list[dict[str, Any]]:
            data = {"data": {"B": bytes(size)}} if size else {}
            return [{"Put": {"TableName": "t", "Item": {**key(str(number)), **data}}} for number in range(count)]

        for actions, message in (
            (puts(101), "101 actions"),
            (puts(11, 390 * 1024), "are allowed"),
            ([*puts(1), *puts(1)], "multiple operations on one item"),
        ):
            with pytest.raises(AwsError, match=message):
                await aws.call("dynamodb", "transact_write_items", TransactItems=actions)
        await aws.call("dynamodb", "transact_write_items", TransactItems=puts(100))

    on_cloud(work)


def test_misspelt_and_unknown_parameters_are_errors() -> None:
    async def work(cloud: Cloud, aws: Aws) -> None:
        with pytest.raises(AwsError, match="ConditonExpression"):
            await aws.call("dynamodb", "put_item", TableName="t", Item=key("a"), ConditonExpression="x")
        with pytest.raises(AwsError, match="no such operation"):
            await aws.call("dynamodb", "put_items", TableName="t")
        with pytest.raises(AwsError, match="NotSimulated"):
            await aws.call("dynamodb", "describe_table", TableName="t")
        with pytest.raises(NotFound):
            await aws.call("dynamodb", "put_item", TableName="none", Item=key("a"))

    on_cloud(work)


def test_capacity_is_counted_as_aws_bills_it() -> None:
    async def work(cloud: Cloud, aws: Aws) -> list[tuple[float, float]]:
        bills: list[tuple[float, float]] = []

        async def billed(operation: str, **parameters: Any) -> None:
            before: Usage = cloud.usage.copy()
            await aws.call("dynamodb", operation, **parameters)
            units = cloud.usage.since(before).units
            bills.append((units.get("dynamodb.read", 0), units.get("dynamodb.write", 0)))

        large = {"data": {"B": bytes(5000)}}
        await billed("put_item", TableName="t", Item=key("small"))
        await billed("put_item", TableName="t", Item={**key("large"), **large})
        await billed("get_item", TableName="t", Key=key("large"), ConsistentRead=True)
        await billed("get_item", TableName="t", Key=key("large"))
        await billed("get_item", TableName="t", Key=key("none"), ConsistentRead=True)
        await billed("transact_get_items", TransactItems=[{"Get": {"TableName": "t", "Key": key("small")}}])
        await billed(
            "transact_write_items",
            TransactItems=[
                {"Put": {"TableName": "t", "Item": key("one")}},
                {"Update": update("large", "REMOVE x")},
            ],
        )
        await billed("delete_item", TableName="t", Key=key("large"))
        await billed(
            "query",
            TableName="t",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "small"}},
            ConsistentRead=True,
        )
        await billed(
            "batch_get_item",
            RequestItems={"t": {"Keys": [key("small"), key("one"), key("none")], "ConsistentRead": True}},
        )
        return bills

    assert on_cloud(work) == [
        (0, 1),
        (0, 5),
        (2, 0),
        (1, 0),
        (1, 0),
        (2, 0),
        (0, 12),
        (0, 5),
        (1, 0),
        (3, 0),
    ]


@pytest.mark.parametrize("spread", [False, True], ids=["one key", "many keys"])
def test_a_partition_takes_a_thousand_write_units_a_second(spread: bool) -> None:
    async def main() -> tuple[int, int]:
        cloud = Cloud(limits=True, sdk_attempts=1)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        throttled = 0

        async def write(number: int) -> None:
            nonlocal throttled
            await asyncio.sleep(number / 2000)
            try:
                await put(cloud.client("p"), f"p{number % 10}" if spread else "hot")
            except Throttled:
                throttled += 1

        await asyncio.gather(*(write(number) for number in range(6000)))
        return throttled, len(cloud.dynamodb.items("t"))

    throttled, _ = run(1, main())
    # three seconds at 2,000 a second: what a second's reserve and three seconds' allowance leave over
    assert throttled == 0 if spread else 1500 < throttled < 2500


def test_time_to_live_removes_an_item_some_time_after_its_moment() -> None:
    async def main() -> list[int]:
        cloud = Cloud()
        cloud.dynamodb.create_table("events", ("pk", "S"), ttl="expires")
        moment = int(cloud.process("p").clock()) + 100
        for pk, expires in (("kept", moment * 2), ("gone", moment)):
            await cloud.admin.call(
                "dynamodb", "put_item", TableName="events", Item={"pk": {"S": pk}, "expires": {"N": str(expires)}}
            )
        counts: list[int] = []
        for seconds in (99, 200_000):
            await asyncio.sleep(seconds)
            counts.append(len(cloud.dynamodb.items("events")))
        return counts

    assert run(1, main()) == [2, 1]
