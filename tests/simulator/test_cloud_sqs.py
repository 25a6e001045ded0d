"""Queues: what SQS promises of them, and what it does not."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, NotFound
from faaskeeper_simulator.cloud import Cloud, FaultKind, Faults, run

T = TypeVar("T")
SEEDS = 60


def on_queue(
    work: Callable[[Cloud, Aws, str], Awaitable[T]],
    *,
    fifo: bool = True,
    faults: Faults | None = None,
    seed: int = 1,
    **attributes: str,
) -> T:
    async def main() -> T:
        cloud = Cloud(faults)
        name = "q.fifo" if fifo else "q"
        settings = {"VisibilityTimeout": "10", **({"FifoQueue": "true"} if fifo else {}), **attributes}
        created = await cloud.admin.call("sqs", "create_queue", QueueName=name, Attributes=settings)
        return await work(cloud, cloud.client("p"), created["QueueUrl"])

    return run(seed, main(), limit=100_000)


async def send(aws: Aws, url: str, body: str, group: str = "g", deduplication_id: str | None = None) -> dict[str, Any]:
    fifo = {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id or body} if "fifo" in url else {}
    return await aws.call("sqs", "send_message", QueueUrl=url, MessageBody=body, **fifo)


async def receive(aws: Aws, url: str, limit: int = 10, wait: int = 0, **options: Any) -> list[dict[str, Any]]:
    answer = await aws.call(
        "sqs",
        "receive_message",
        QueueUrl=url,
        MaxNumberOfMessages=limit,
        WaitTimeSeconds=wait,
        MessageSystemAttributeNames=["All"],
        **options,
    )
    return answer.get("Messages", [])


async def delete(aws: Aws, url: str, *messages: dict[str, Any]) -> None:
    for message in messages:
        await aws.call("sqs", "delete_message", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def try_to_delete(aws: Aws, url: str, *messages: dict[str, Any]) -> None:
    """A receipt may have expired before the call arrived."""
    with suppress(AwsError):
        await delete(aws, url, *messages)


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


def test_a_group_is_blocked_while_any_of_it_is_in_flight() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> list[list[str]]:
        for number in range(4):
            await send(aws, url, f"{number}")
        await send(aws, url, "other", group="h")
        first = await receive(aws, url, limit=2)
        rest = await receive(aws, url)
        blocked = await receive(aws, url)
        await delete(aws, url, *first)
        await delete(aws, url, *rest)
        return [bodies(first), bodies(rest), bodies(blocked), bodies(await receive(aws, url))]

    seen = on_queue(work)
    first, rest, blocked, last = seen
    assert blocked == []
    if first == ["0", "1"]:
        assert rest == ["other"]
        assert last == ["2", "3"]
    else:
        assert first == ["other", "0"]
        assert rest == []


def test_messages_come_back_in_order_after_the_visibility_timeout() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> Any:
        for number in range(6):
            await send(aws, url, f"{number}")
        first = await receive(aws, url)
        await delete(aws, url, *first[:2])
        await asyncio.sleep(9)
        early = await receive(aws, url)
        again = await receive(aws, url, wait=5)
        return bodies(first), bodies(early), bodies(again), [m["Attributes"]["ApproximateReceiveCount"] for m in again]

    assert on_queue(work) == (list("012345"), [], list("2345"), ["2"] * 4)


def test_a_receipt_is_void_once_the_message_is_visible_again() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> int:
        await send(aws, url, "m")
        (message,) = await receive(aws, url)
        await asyncio.sleep(11)
        with pytest.raises(AwsError, match="expired"):
            await delete(aws, url, message)
        with pytest.raises(AwsError, match="MessageNotInflight"):
            await aws.call(
                "sqs",
                "change_message_visibility",
                QueueUrl=url,
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=5,
            )
        return len(await receive(aws, url))

    assert on_queue(work) == 1


def test_visibility_zero_brings_messages_back_at_once() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> tuple[list[str], float]:
        for number in range(3):
            await send(aws, url, f"{number}")
        messages = await receive(aws, url)
        waiting = asyncio.create_task(receive(aws, url, wait=20))
        await asyncio.sleep(0.1)
        answer = await aws.call(
            "sqs",
            "change_message_visibility_batch",
            QueueUrl=url,
            Entries=[
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for index, message in enumerate(messages)
            ],
        )
        assert len(answer["Successful"]) == 3
        return bodies(await waiting), cloud.loop.time()

    again, time = on_queue(work)
    assert again == ["0", "1", "2"]
    assert time < 1


def test_a_message_that_is_visible_again_waits_for_those_in_flight_behind_it() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> tuple[list[str], list[str]]:
        for number in range(3):
            await send(aws, url, f"{number}")
        first = await receive(aws, url)
        await aws.call(
            "sqs",
            "change_message_visibility",
            QueueUrl=url,
            ReceiptHandle=first[0]["ReceiptHandle"],
            VisibilityTimeout=0,
        )
        blocked = await receive(aws, url)
        await delete(aws, url, *first[1:])
        return bodies(blocked), bodies(await receive(aws, url))

    assert on_queue(work) == ([], ["0"])


def test_a_repeated_deduplication_id_is_dropped_for_five_minutes() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> Any:
        first = await send(aws, url, "m")
        await delete(aws, url, *await receive(aws, url))
        await asyncio.sleep(290)
        second = await send(aws, url, "m")
        none = await receive(aws, url)
        await asyncio.sleep(15)
        third = await send(aws, url, "m")
        some = await receive(aws, url)
        numbers = [answer["SequenceNumber"] for answer in (first, second, third)]
        return numbers, bodies(none), bodies(some)

    (first, second, third), none, some = on_queue(work)
    assert first == second != third
    assert (none, some) == ([], ["m"])


def test_sequence_numbers_rise_with_gaps() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> list[str]:
        return [(await send(aws, url, f"{number}"))["SequenceNumber"] for number in range(50)]

    numbers = on_queue(work)
    assert numbers == sorted(numbers)
    assert {len(number) for number in numbers} == {20}
    assert len({int(b) - int(a) for a, b in itertools.pairwise(numbers)}) > 1


def test_a_long_poll_ends_with_a_message_or_with_its_time() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> tuple[float, list[str], float]:
        assert await receive(aws, url, wait=20) == []
        empty = cloud.loop.time()
        waiting = asyncio.create_task(receive(aws, url, wait=20))
        await asyncio.sleep(1)
        await send(aws, url, "m")
        return empty, bodies(await waiting), cloud.loop.time() - empty

    empty, found, seconds = on_queue(work)
    assert 20 < empty < 21
    assert found == ["m"]
    assert seconds < 1.5


def test_a_delayed_message_is_hidden_for_its_delay() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> list[list[str]]:
        await aws.call("sqs", "send_message", QueueUrl=url, MessageBody="timer", DelaySeconds=60)
        await asyncio.sleep(58)
        early = await receive(aws, url)
        return [bodies(early), bodies(await receive(aws, url, wait=5))]

    assert on_queue(work, fifo=False) == [[], ["timer"]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"MessageBody": "m", "MessageDeduplicationId": "d"}, "MessageGroupId"),
        ({"MessageBody": "m", "MessageGroupId": "g"}, "MessageDeduplicationId"),
        ({"MessageBody": "m", "MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 1}, "DelaySeconds"),
        ({"MessageBody": "", "MessageGroupId": "g", "MessageDeduplicationId": "d"}, "0 bytes"),
        ({"MessageBody": "m" * (1 << 20) + "m", "MessageGroupId": "g", "MessageDeduplicationId": "d"}, "1048577 bytes"),
        ({"MessageBody": "\x00", "MessageGroupId": "g", "MessageDeduplicationId": "d"}, "InvalidMessageContents"),
        ({"MessageBody": "m", "MessageGroupId": "g", "MessageDeduplicationId": "d" * 129}, "MessageDeduplicationId"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_fifo_queue_refuses(parameters: dict[str, Any], message: str) -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> None:
        with pytest.raises(AwsError, match=message):
            await aws.call("sqs", "send_message", QueueUrl=url, **parameters)

    on_queue(work)


def test_a_deleted_queue_is_gone_for_senders_and_waiters() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> Any:
        waiting = asyncio.create_task(receive(aws, url, wait=20))
        await asyncio.sleep(1)
        await aws.call("sqs", "delete_queue", QueueUrl=url)
        with pytest.raises(NotFound):
            await send(aws, url, "m")
        with pytest.raises(NotFound):
            await aws.call("sqs", "get_queue_url", QueueName="q.fifo")
        assert "QueueUrls" not in await aws.call("sqs", "list_queues", QueueNamePrefix="q")
        return await waiting

    assert on_queue(work) == []


def test_a_new_queue_can_be_unknown_for_seconds() -> None:
    async def main(seed: int) -> list[tuple[float, bool]]:
        cloud = Cloud(Faults.only(seed, FaultKind.NEW_QUEUE))
        aws = cloud.client("p")
        url = (await aws.call("sqs", "create_queue", QueueName="q"))["QueueUrl"]
        created = cloud.loop.time()
        found: list[tuple[float, bool]] = []
        while cloud.loop.time() < created + 8:
            begun = cloud.loop.time() - created
            try:
                await send(aws, url, "m")
                found.append((begun, True))
            except NotFound:
                found.append((begun, False))
        return found

    found = [entry for seed in range(20) for entry in run(seed, main(seed))]
    missed = [seconds for seconds, there in found if not there]
    assert 1 < max(missed) < 6


def test_a_message_received_too_often_goes_to_the_dead_letters() -> None:
    async def main() -> tuple[int, list[str]]:
        cloud = Cloud()
        await cloud.admin.call("sqs", "create_queue", QueueName="dead")
        created = await cloud.admin.call(
            "sqs",
            "create_queue",
            QueueName="q",
            Attributes={
                "VisibilityTimeout": "1",
                "RedrivePolicy": '{"maxReceiveCount": 2, "deadLetterTargetArn": "arn:aws:sqs:us-east-1:0:dead"}',
            },
        )
        url = created["QueueUrl"]
        await send(cloud.admin, url, "poison")
        received = 0
        for _ in range(4):
            received += len(await receive(cloud.admin, url))
            await asyncio.sleep(2)
        return received, [message.body for message in cloud.sqs.messages("dead")]

    assert run(1, main()) == (2, ["poison"])


def consumed(seed: int, faults: Faults, *, fifo: bool, handled: float = 0.0) -> tuple[list[list[str]], list[list[str]]]:
    """Batches as received by consumers of which every third forgets its batch, and the messages' order in them."""

    async def work(cloud: Cloud, aws: Aws, url: str) -> tuple[list[list[str]], list[list[str]]]:
        batches: list[list[str]] = []
        kept: list[list[str]] = []

        async def consume(name: str) -> None:
            client = cloud.client(name)
            while len({body for batch in kept for body in batch}) < 30:
                messages = await receive(client, url, wait=1)
                if not messages:
                    continue
                batches.append(bodies(messages))
                if len(batches) % 3:
                    kept.append(bodies(messages))
                    await asyncio.sleep(handled)
                    await try_to_delete(client, url, *messages)

        consumers = asyncio.gather(consume("one"), consume("two"))
        for number in range(30):
            await send(aws, url, f"{number:02d}")
        await consumers
        await asyncio.sleep(120)
        while messages := await receive(aws, url):
            batches.append(bodies(messages))
            await try_to_delete(aws, url, *messages)
        return batches, kept

    return on_queue(work, fifo=fifo, faults=faults, seed=seed)


def test_redelivery_can_come_in_another_composition() -> None:
    def differs(batches: list[list[str]]) -> bool:
        return any(a[0] == b[0] and a != b for index, a in enumerate(batches) for b in batches[:index])

    seeds = [
        seed
        for seed in range(SEEDS)
        if differs(consumed(seed, Faults.only(seed, FaultKind.SMALL_RECEIVE, rate=0.5), fifo=True)[0])
    ]
    assert len(seeds) > SEEDS / 10


def test_a_fifo_group_is_never_reordered_doubled_or_lost() -> None:
    for seed in range(SEEDS):
        faults = Faults.only(
            seed,
            FaultKind.SMALL_RECEIVE,
            FaultKind.REORDER,
            FaultKind.DUPLICATE,
            FaultKind.LATE_MESSAGE,
            FaultKind.DELAY,
            rate=0.3,
        )
        kept = [body for batch in consumed(seed, faults, fifo=True)[1] for body in batch]
        firsts = list(dict.fromkeys(kept))
        assert firsts == [f"{number:02d}" for number in range(30)]


@pytest.mark.parametrize("kind", [FaultKind.DUPLICATE, FaultKind.REORDER])
def test_standard_queues_double_and_reorder(kind: FaultKind) -> None:
    """Whatever is received is deleted at once, and still some comes twice."""

    async def work(cloud: Cloud, aws: Aws, url: str) -> list[str]:
        for number in range(30):
            await send(aws, url, f"{number:02d}")
        order: list[str] = []
        while cloud.loop.time() < 120:
            messages = await receive(aws, url, wait=20)
            order += bodies(messages)
            await delete(aws, url, *messages)
        return order

    def orders(faults: Callable[[int], Faults]) -> list[list[str]]:
        return [on_queue(work, fifo=False, faults=faults(seed), seed=seed) for seed in range(10)]

    sent = [f"{number:02d}" for number in range(30)]
    assert all(order == sent for order in orders(lambda seed: Faults.none()))
    faulty = orders(lambda seed: Faults.only(seed, kind, rate=0.3))
    assert all(set(order) == set(sent) for order in faulty)
    assert any(len(order) > 30 for order in faulty) == (kind is FaultKind.DUPLICATE)
    assert sum(order != sent for order in faulty) >= 3


def test_timers_can_be_late() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> float:
        await aws.call("sqs", "send_message", QueueUrl=url, MessageBody="timer", DelaySeconds=10)
        while not await receive(aws, url, wait=20):
            pass
        return cloud.loop.time()

    times = [
        on_queue(work, fifo=False, faults=Faults.only(seed, FaultKind.LATE_MESSAGE, rate=1.0), seed=seed)
        for seed in range(20)
    ]
    assert min(times) >= 10
    assert max(times) > 20


def test_entries_of_a_batch_fail_one_by_one() -> None:
    async def work(cloud: Cloud, aws: Aws, url: str) -> tuple[int, int, int]:
        answer = await aws.call(
            "sqs",
            "send_message_batch",
            QueueUrl=url,
            Entries=[
                {
                    "Id": str(number),
                    "MessageBody": str(number),
                    "MessageGroupId": "g",
                    "MessageDeduplicationId": f"{number}",
                }
                for number in range(10)
            ],
        )
        return len(answer["Successful"]), len(answer["Failed"]), len(cloud.sqs.messages("q.fifo"))

    results = [
        on_queue(work, faults=Faults.only(seed, FaultKind.PARTIAL_BATCH, rate=0.2), seed=seed) for seed in range(20)
    ]
    assert all(sent + failed == 10 and there == sent for sent, failed, there in results)
    assert any(failed for _, failed, _ in results)


def test_only_what_is_expendable_is_lost() -> None:
    async def main() -> list[str]:
        cloud = Cloud(Faults.only(1, FaultKind.LOST_HINT, rate=1.0))
        cloud.sqs.expendable = lambda queue, body: queue == "news" and body == "hint"
        for name in ("news", "others"):
            await cloud.admin.call("sqs", "create_queue", QueueName=name)
        sender = cloud.client("sender")
        for name in ("news", "others"):
            for body in ("hint", "reply"):
                await sender.call("sqs", "send_message", QueueUrl=cloud.sqs.url(name), MessageBody=body)
        return [f"{name} {message.body}" for name in ("news", "others") for message in cloud.sqs.messages(name)]

    assert run(1, main()) == ["news reply", "others hint", "others reply"]
