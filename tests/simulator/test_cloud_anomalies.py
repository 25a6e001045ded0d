"""What DynamoDB permits occurs for some seed; what it forbids never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import (
    AwsError,
    ConditionFailed,
    Conflict,
    Throttled,
    TransactionCancelled,
    Unavailable,
)
from faaskeeper_simulator.cloud import Cloud, FaultKind, Faults, run

SEEDS = 60
KEYS = [{"pk": {"S": name}, "sk": {"S": "node"}} for name in "abc"]
TOGETHER = [{"pk": {"S": "one"}, "sk": {"S": name}} for name in "abc"]

Read = Callable[[Aws, list[dict[str, Any]]], Coroutine[Any, Any, "list[int] | None"]]


async def write_all(aws: Aws, keys: list[dict[str, Any]], value: int) -> bool:
    """Brings all items from ``value - 1`` to ``value`` in one transaction; False if it was cancelled."""
    try:
        await aws.call(
            "dynamodb",
            "transact_write_items",
            TransactItems=[
                {
                    "Update": {
                        "TableName": "t",
                        "Key": key,
                        "UpdateExpression": "SET n = :new",
                        "ConditionExpression": "n = :old",
                        "ExpressionAttributeValues": {":new": {"N": str(value)}, ":old": {"N": str(value - 1)}},
                    }
                }
                for key in keys
            ],
        )
    except TransactionCancelled:
        return False
    return True


def _numbers(items: list[dict[str, Any]]) -> list[int]:
    return [int(item["n"]["N"]) for item in items]


async def by_query(aws: Aws, keys: list[dict[str, Any]]) -> list[int] | None:
    answer = await aws.call(
        "dynamodb",
        "query",
        TableName="t",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "one"}},
        ConsistentRead=True,
    )
    return _numbers(answer["Items"])


async def by_batch(aws: Aws, keys: list[dict[str, Any]]) -> list[int] | None:
    answer = await aws.call("dynamodb", "batch_get_item", RequestItems={"t": {"Keys": keys, "ConsistentRead": True}})
    return _numbers(answer["Responses"]["t"])


async def one_by_one(aws: Aws, keys: list[dict[str, Any]]) -> list[int] | None:
    answers = [await aws.call("dynamodb", "get_item", TableName="t", Key=key, ConsistentRead=True) for key in keys]
    return _numbers([answer["Item"] for answer in answers])


async def by_transaction(aws: Aws, keys: list[dict[str, Any]]) -> list[int] | None:
    try:
        answer = await aws.call(
            "dynamodb", "transact_get_items", TransactItems=[{"Get": {"TableName": "t", "Key": key}} for key in keys]
        )
    except TransactionCancelled:
        return None
    return _numbers([response["Item"] for response in answer["Responses"]])


def reads_while_writing(seed: int, read: Read, keys: list[dict[str, Any]], faults: Faults) -> list[list[int] | None]:
    """Reads all items again and again while one transaction after the other raises all of them by one."""

    async def main() -> list[list[int] | None]:
        cloud = Cloud(faults)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        for key in keys:
            await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={**key, "n": {"N": "0"}})
        done = asyncio.Event()

        async def write() -> None:
            for value in range(1, 8):
                assert await write_all(cloud.client("writer"), keys, value)
            done.set()

        async def reader() -> list[list[int] | None]:
            seen: list[list[int] | None] = []
            while not done.is_set():
                seen.append(await read(cloud.client("reader"), keys))
            return seen

        _, seen = await asyncio.gather(write(), reader())
        return seen

    return run(seed, main())


def is_torn(numbers: list[int] | None) -> bool:
    return numbers is not None and len(set(numbers)) > 1


@pytest.mark.parametrize(
    ("read", "keys"), [(by_query, TOGETHER), (by_batch, KEYS), (one_by_one, KEYS)], ids=["query", "batch", "gets"]
)
def test_reads_can_see_part_of_a_transaction(read: Read, keys: list[dict[str, Any]]) -> None:
    torn = [
        seed
        for seed in range(SEEDS)
        if any(map(is_torn, reads_while_writing(seed, read, keys, Faults.only(seed, FaultKind.TORN))))
    ]
    assert len(torn) > SEEDS / 10


@pytest.mark.parametrize(
    "faults", [Faults.only(0, FaultKind.TORN, FaultKind.SLOW_COMMIT), Faults.none()], ids=["torn", "calm"]
)
def test_transactional_reads_are_never_torn(faults: Faults) -> None:
    seen = [
        numbers
        for seed in range(SEEDS)
        for numbers in reads_while_writing(seed, by_transaction, KEYS, Faults(seed, faults.rates))
    ]
    assert not any(map(is_torn, seen))
    assert None in seen, "no read met a transaction"
    assert any(numbers is not None for numbers in seen)


def test_transactional_reads_conflict_with_single_writes_too() -> None:
    async def main() -> list[list[int] | None]:
        cloud = Cloud()
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        for key in KEYS:
            await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={**key, "n": {"N": "0"}})

        async def write() -> None:
            for value in range(50):
                item = {**KEYS[0], "n": {"N": str(value)}}
                await cloud.client("writer").call("dynamodb", "put_item", TableName="t", Item=item)

        async def read() -> list[list[int] | None]:
            return [await by_transaction(cloud.client("reader"), KEYS) for _ in range(20)]

        _, seen = await asyncio.gather(write(), read())
        return seen

    seen = run(1, main())
    assert None in seen
    assert any(seen)


def test_a_query_can_be_torn_within_one_answer_only_with_that_fault() -> None:
    for seed in range(SEEDS):
        assert not any(map(is_torn, reads_while_writing(seed, by_query, TOGETHER, Faults.none())))


def test_single_items_never_go_back() -> None:
    """GetItem with ConsistentRead is linearizable, whatever transactions do."""
    for seed in range(SEEDS):
        faults = Faults.only(seed, FaultKind.TORN, FaultKind.SLOW_COMMIT)
        seen = reads_while_writing(seed, one_by_one, KEYS, faults)
        for column in zip(*[numbers for numbers in seen if numbers is not None], strict=True):
            assert list(column) == sorted(column)


def test_a_success_is_answered_when_everything_is_visible() -> None:
    async def main(seed: int) -> tuple[list[int] | None, float]:
        cloud = Cloud(Faults.only(seed, FaultKind.SLOW_COMMIT, rate=1.0))
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        for key in KEYS:
            await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={**key, "n": {"N": "0"}})
        begun = cloud.loop.time()
        assert await write_all(cloud.client("writer"), KEYS, 1)
        return await one_by_one(cloud.client("reader"), KEYS), cloud.loop.time() - begun

    results = [run(seed, main(seed)) for seed in range(SEEDS)]
    assert [numbers for numbers, _ in results] == [[1, 1, 1]] * SEEDS
    assert max(seconds for _, seconds in results) > 1, "no commit was slow"


def test_a_committing_transaction_holds_each_item_until_it_is_visible_and_no_longer() -> None:
    async def main(seed: int) -> list[set[str]]:
        cloud = Cloud(Faults.only(seed, FaultKind.SLOW_COMMIT, rate=1.0))
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        for key in KEYS:
            await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={**key, "n": {"N": "0"}})
        commit = asyncio.create_task(write_all(cloud.client("writer"), KEYS, 1))
        moments: list[set[str]] = []
        while not commit.done():
            seen: set[str] = set()
            for key in KEYS:
                try:
                    answer = await cloud.admin.call(
                        "dynamodb",
                        "update_item",
                        TableName="t",
                        Key=key,
                        UpdateExpression="ADD m :one",
                        ExpressionAttributeValues={":one": {"N": "1"}},
                        ReturnValues="ALL_NEW",
                    )
                    seen.add(f"n={answer['Attributes']['n']['N']}")
                except Conflict:
                    found = await cloud.admin.call("dynamodb", "get_item", TableName="t", Key=key, ConsistentRead=True)
                    seen.add(f"held, n={found['Item']['n']['N']}")
            moments.append(seen)
            await asyncio.sleep(0.005)
        return moments

    moments = [seen for seed in range(20) for seen in run(seed, main(seed))]
    assert {state for seen in moments for state in seen} == {"n=0", "held, n=0", "n=1"}
    assert {"held, n=0", "n=1"} in moments


def contended(seed: int, faults: Faults) -> tuple[int, int, list[AwsError]]:
    """Five processes raise a counter by compare-and-set or transactions; returns it, the successes, the errors."""

    async def main() -> tuple[int, int, list[AwsError]]:
        cloud = Cloud(faults, sdk_attempts=1)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={**KEYS[0], "n": {"N": "0"}})
        errors: list[AwsError] = []
        successes = 0

        async def raise_counter(name: str, transactional: bool) -> None:
            nonlocal successes
            aws = cloud.client(name)
            for _ in range(6):
                found = await aws.call("dynamodb", "get_item", TableName="t", Key=KEYS[0], ConsistentRead=True)
                value = int(found["Item"]["n"]["N"])
                change: dict[str, Any] = {
                    "TableName": "t",
                    "Key": KEYS[0],
                    "UpdateExpression": "SET n = :new",
                    "ConditionExpression": "n = :old",
                    "ExpressionAttributeValues": {":new": {"N": str(value + 1)}, ":old": {"N": str(value)}},
                }
                try:
                    if transactional:
                        await aws.call("dynamodb", "transact_write_items", TransactItems=[{"Update": change}])
                    else:
                        await aws.call("dynamodb", "update_item", **change)
                    successes += 1
                except AwsError as error:
                    errors.append(error)

        await asyncio.gather(*(raise_counter(f"p{number}", number % 2 == 0) for number in range(5)))
        found = await cloud.admin.call("dynamodb", "get_item", TableName="t", Key=KEYS[0], ConsistentRead=True)
        return int(found["Item"]["n"]["N"]), successes, errors

    return run(seed, main())


def test_conditional_writes_lose_no_update() -> None:
    for seed in range(SEEDS):
        faults = Faults.only(seed, FaultKind.TORN, FaultKind.SLOW_COMMIT, FaultKind.CONFLICT, FaultKind.DELAY)
        value, successes, _ = contended(seed, faults)
        assert value == successes


def test_writes_that_meet_a_transaction_conflict() -> None:
    errors = [error for seed in range(SEEDS) for error in contended(seed, Faults.none())[2]]
    assert any(isinstance(error, Conflict) for error in errors)
    assert any(isinstance(error, ConditionFailed) for error in errors)
    codes = {reason.code for error in errors if isinstance(error, TransactionCancelled) for reason in error.reasons}
    assert codes == {"TransactionConflict", "ConditionalCheckFailed"}


def single_write(seed: int, faults: Faults, **options: Any) -> tuple[AwsError | None, bool, bool, float]:
    """One PutItem: its error, whether it took effect by the time of the answer, and ever, and how long it took."""

    async def main() -> tuple[AwsError | None, bool, bool, float]:
        cloud = Cloud(faults, **options)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        error = None
        try:
            await cloud.client("p").call("dynamodb", "put_item", TableName="t", Item=KEYS[0])
        except AwsError as raised:
            error = raised
        at_answer = bool(cloud.dynamodb.items("t"))
        took = cloud.loop.time()
        await asyncio.sleep(100)
        return error, at_answer, bool(cloud.dynamodb.items("t")), took

    return run(seed, main())


@pytest.mark.parametrize(
    ("kind", "error", "at_answer", "ever"),
    [
        (FaultKind.UNAVAILABLE, Unavailable, False, False),
        (FaultKind.LOST_ANSWER, Unavailable, True, True),
        (FaultKind.THROTTLE, Throttled, False, False),
    ],
)
def test_what_an_error_says_about_the_effect(
    kind: FaultKind, error: type[AwsError], at_answer: bool, ever: bool
) -> None:
    for seed in range(10):
        raised, then, later, _ = single_write(seed, Faults.only(seed, kind, rate=1.0), sdk_attempts=1)
        assert type(raised) is error
        assert (then, later) == (at_answer, ever)


def test_a_write_can_take_effect_after_its_caller_gave_up() -> None:
    results = [
        single_write(seed, Faults.only(seed, FaultKind.LATE_EFFECT, rate=1.0), sdk_attempts=1) for seed in range(40)
    ]
    assert all(isinstance(error, Unavailable) and ever for error, _, ever, _ in results)
    assert not all(at_answer for _, at_answer, _, _ in results)


def test_a_call_can_be_slow() -> None:
    assert max(single_write(seed, Faults.only(seed, FaultKind.DELAY, rate=1.0))[3] for seed in range(30)) > 1


def test_the_sdk_repeats_a_call_once_and_so_can_fail_what_succeeded() -> None:
    """A conditional write whose answer was lost is sent again by the SDK, and then its own effect refuses it."""

    async def main() -> tuple[type[AwsError] | None, int]:
        faults = Faults.none()
        faults.script = lambda site: FaultKind.LOST_ANSWER if site.number == 1 else None
        cloud = Cloud(faults, sdk_attempts=2)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        try:
            await cloud.client("p").call(
                "dynamodb",
                "put_item",
                TableName="t",
                Item=KEYS[0],
                ConditionExpression="attribute_not_exists(pk)",
            )
        except AwsError as error:
            return type(error), len(cloud.dynamodb.items("t"))
        return None, len(cloud.dynamodb.items("t"))

    assert run(1, main()) == (ConditionFailed, 1)


def test_the_sdk_repeats_a_transaction_with_the_same_token() -> None:
    async def main() -> int:
        faults = Faults.none()
        faults.script = lambda site: FaultKind.LOST_ANSWER if site.number == 1 else None
        cloud = Cloud(faults, sdk_attempts=2)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        await cloud.admin.call("dynamodb", "put_item", TableName="t", Item={**KEYS[0], "n": {"N": "0"}})
        assert await write_all(cloud.client("p"), KEYS[:1], 1)
        return int(cloud.dynamodb.items("t")[0]["n"]["N"])

    assert run(1, main()) == 1


def test_reads_without_consistency_can_be_stale() -> None:
    async def main(seed: int, consistent: bool) -> bool:
        cloud = Cloud(Faults.only(seed, FaultKind.STALE))
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        aws = cloud.client("p")
        await aws.call("dynamodb", "put_item", TableName="t", Item=KEYS[0])
        return "Item" in await aws.call("dynamodb", "get_item", TableName="t", Key=KEYS[0], ConsistentRead=consistent)

    assert {run(seed, main(seed, False)) for seed in range(SEEDS)} == {True, False}
    assert {run(seed, main(seed, True)) for seed in range(SEEDS)} == {True}


def test_batches_can_be_left_partly_undone() -> None:
    async def main(seed: int) -> tuple[int, int]:
        cloud = Cloud(Faults.only(seed, FaultKind.PARTIAL_BATCH, rate=0.3), sdk_attempts=1)
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        aws = cloud.client("p")
        try:
            written = await aws.call(
                "dynamodb", "batch_write_item", RequestItems={"t": [{"PutRequest": {"Item": key}} for key in KEYS]}
            )
            left = len(written["UnprocessedItems"].get("t", []))
            assert len(cloud.dynamodb.items("t")) == len(KEYS) - left
            read = await aws.call(
                "dynamodb", "batch_get_item", RequestItems={"t": {"Keys": KEYS, "ConsistentRead": True}}
            )
        except Throttled:  # nothing at all was processed
            return 0, 0
        unread = len(read["UnprocessedKeys"].get("t", {"Keys": []})["Keys"])
        assert len(read["Responses"]["t"]) <= len(KEYS) - unread
        return left, unread

    results = [run(seed, main(seed)) for seed in range(SEEDS)]
    assert any(left for left, _ in results)
    assert any(unread for _, unread in results)


def test_pages_can_be_short_and_still_cover_everything() -> None:
    async def main(seed: int) -> tuple[int, list[str]]:
        cloud = Cloud(Faults.only(seed, FaultKind.SHORT_PAGE, rate=0.5))
        cloud.dynamodb.create_table("t", ("pk", "S"), ("sk", "S"))
        for number in range(20):
            item = {"pk": {"S": "one"}, "sk": {"S": f"{number:02d}"}}
            await cloud.admin.call("dynamodb", "put_item", TableName="t", Item=item)
        names: list[str] = []
        pages = 0
        start: dict[str, Any] = {}
        while True:
            page = await cloud.client("p").call(
                "dynamodb",
                "query",
                TableName="t",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": "one"}},
                **start,
            )
            pages += 1
            names += [item["sk"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return pages, names
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    results = [run(seed, main(seed)) for seed in range(20)]
    assert all(names == [f"{number:02d}" for number in range(20)] for _, names in results)
    assert max(pages for pages, _ in results) > 2
