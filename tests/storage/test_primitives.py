"""What each primitive promises, on two emulators, with contenders and with answers that get lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import pytest

from faaskeeper.blocks.attributes import Attribute, get_number, number, string
from faaskeeper.blocks.aws import Aws, BotoAws
from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.errors import AwsError, ConditionFailed
from faaskeeper.blocks.primitives import (
    AtomicCounter,
    AtomicList,
    AtomicSet,
    Entries,
    Heartbeat,
    LockHeld,
    LockLost,
    Register,
    SetFull,
    TimedLock,
    Versioned,
    VersionMismatch,
)

from .conftest import TABLE, Key
from .faulty import LosingAnswers, Preceded, Recording

T = TypeVar("T")

CONTENDERS = 12
LEASE = 0.4


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


def all_of(works: Iterable[Awaitable[T]]) -> list[T]:
    async def together() -> list[T]:
        return list(await asyncio.gather(*works))

    return run(together())


class TestCounter:
    def test_numbers_are_given_out_once_and_leave_no_gap(self, aws: BotoAws, key: Key) -> None:
        counter = AtomicCounter(aws, TABLE, key)
        taken = all_of(counter.take(1 + index % 3) for index in range(30))
        numbers = [value for block in taken for value in block]
        assert sorted(numbers) == list(range(1, 61))

    def test_later_calls_get_higher_numbers(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            counter = AtomicCounter(aws, TABLE, key)
            assert await counter.take() == range(1, 2)
            assert await counter.take(10) == range(2, 12)
            assert await AtomicCounter(aws, TABLE, key).take() == range(12, 13)
            assert await counter.read() == 12

        run(work())

    def test_lost_answers_cost_numbers_but_never_double_one(self, aws: BotoAws, key: Key) -> None:
        losing = LosingAnswers(aws, chance=random.Random(1))
        taken = all_of(AtomicCounter(losing, TABLE, key).take() for _ in range(30))
        numbers = {value for block in taken for value in block}
        assert len(numbers) == 30
        assert losing.lost > 0
        assert run(AtomicCounter(aws, TABLE, key).read()) == 30 + losing.lost

    def test_additions_count_once_though_answers_get_lost(self, aws: BotoAws, key: Key) -> None:
        losing = LosingAnswers(aws, chance=random.Random(2))
        all_of(AtomicCounter(losing, TABLE, key).add(amount) for amount in range(-5, 15))
        assert losing.lost > 0
        assert run(AtomicCounter(aws, TABLE, key).read()) == sum(range(-5, 15))

    def test_a_token_names_one_addition_for_everybody(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            first, second = AtomicCounter(aws, TABLE, key), AtomicCounter(aws, TABLE, key)
            token = key["partition"]["S"]
            await first.add(7, token=token)
            await second.add(7, token=token)
            assert await first.read() == 7
            with pytest.raises(AwsError, match="IdempotentParameterMismatch"):
                await second.add(8, token=token)

        run(work())

    def test_counters_in_one_item_do_not_disturb_each_other(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            ins, outs = AtomicCounter(aws, TABLE, key, "ins"), AtomicCounter(aws, TABLE, key, "outs")
            await ins.add(3)
            await outs.add(-1)
            assert (await ins.read(), await outs.read()) == (3, -1)

        run(work())

    def test_nothing_cannot_be_taken(self, aws: BotoAws, key: Key) -> None:
        with pytest.raises(ValueError, match="count=0"):
            run(AtomicCounter(aws, TABLE, key).take(0))


class TestSet:
    def test_members_of_all_contenders_are_in(self, aws: BotoAws, key: Key) -> None:
        members = {f"member-{index}" for index in range(CONTENDERS)}
        all_of(AtomicSet(LosingAnswers(aws, losses=1), TABLE, key, "watch").add(member) for member in members)
        assert run(AtomicSet(aws, TABLE, key, "watch").read()) == members

    def test_adding_shows_the_item_with_the_member_in(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            await AtomicCounter(aws, TABLE, key, "version").add(5)
            item = await AtomicSet(aws, TABLE, key, "watch").add("me")
            assert get_number(item, "version") == 5
            assert item["watch"] == {"SS": ["me"]}

        run(work())

    def test_the_bound_holds_among_contenders(self, aws: BotoAws, key: Key) -> None:
        watchers = AtomicSet(aws, TABLE, key, "watch")

        async def enter(index: int) -> bool:
            try:
                await watchers.add(f"member-{index}", most=5)
            except SetFull:
                return False
            return True

        assert sum(all_of(enter(index) for index in range(3 * CONTENDERS))) == 5
        assert len(run(watchers.read())) == 5

    def test_a_member_of_a_full_set_may_be_added_again(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            watchers = AtomicSet(LosingAnswers(aws, losses=1), TABLE, key, "watch")
            await watchers.add("first", most=1)
            await watchers.add("first", most=1)
            with pytest.raises(SetFull, match="1 members"):
                await watchers.add("second", most=1)

        run(work())

    def test_the_last_member_leaves_the_empty_set(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            members = AtomicSet(LosingAnswers(aws, losses=2), TABLE, key, "members")
            await members.discard("nobody")
            await members.add("one")
            await members.discard("one")
            assert await members.read() == frozenset()

        run(work())


class TestList:
    def test_every_author_finds_his_entries_once_and_in_order(self, aws: BotoAws, key: Key) -> None:
        losing = [LosingAnswers(aws, chance=random.Random(author)) for author in range(CONTENDERS)]

        async def write(author: int) -> None:
            log = AtomicList(losing[author], TABLE, key)
            for index in range(4):
                await log.append([f"{author}:{index}a", f"{author}:{index}b"])

        all_of(write(author) for author in range(CONTENDERS))
        held = run(AtomicList(aws, TABLE, key).read())
        assert held.end == CONTENDERS * 8
        for author in range(CONTENDERS):
            own = [text for text in held.texts if text.startswith(f"{author}:")]
            assert own == [f"{author}:{index}{half}" for index in range(4) for half in "ab"]
        assert sum(each.lost for each in losing) > 0

    def test_what_is_trimmed_is_gone_and_positions_stay(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            log = AtomicList(aws, TABLE, key)
            assert await log.read() == Entries(0, ())
            await log.append([str(index) for index in range(250)])
            await log.trim(3)
            await log.append(["last"])
            held = await log.read()
            assert (held.first, held.texts[0], held.texts[-1]) == (3, "3", "last")
            await log.trim(2)
            assert await log.read() == held
            await log.trim(10_000)
            assert await log.read() == Entries(251, ())

        run(work())

    def test_readers_that_trim_what_they_took_see_every_entry(self, aws: BotoAws, key: Key) -> None:
        """Entries that two readers take both have one position, so together they know what there was."""
        taken: dict[int, str] = {}

        async def write(author: int) -> None:
            log = AtomicList(LosingAnswers(aws, losses=1), TABLE, key)
            for index in range(5):
                await log.append([f"{author}:{index}"])

        async def take(losses: int) -> None:
            log = AtomicList(LosingAnswers(aws, losses=losses), TABLE, key)
            while len(taken) < 20:
                held = await log.read()
                for position, text in enumerate(held.texts, held.first):
                    assert taken.setdefault(position, text) == text
                await log.trim(held.end)

        all_of([*(write(author) for author in range(4)), take(0), take(5)])
        assert sorted(taken.values()) == sorted(f"{author}:{index}" for author in range(4) for index in range(5))


class TestRegister:
    def test_a_fresh_register_is_written_once(self, aws: BotoAws, key: Key) -> None:
        register = Register(aws, TABLE, key)

        async def claim(name: str) -> Versioned | VersionMismatch:
            try:
                return await register.write(string(name), 0)
            except VersionMismatch as mismatch:
                return mismatch

        outcomes = all_of(claim(f"contender-{index}") for index in range(CONTENDERS))
        (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Versioned)]
        assert winner.version == 1
        assert run(register.read()) == winner
        losers = [outcome.current for outcome in outcomes if isinstance(outcome, VersionMismatch)]
        assert losers == [winner] * (CONTENDERS - 1)

    def test_increments_by_read_and_write_are_never_lost_nor_doubled(self, aws: BotoAws, key: Key) -> None:
        """The case that reading cannot settle: the answer is lost, and others have written since."""
        losing = [LosingAnswers(aws, chance=random.Random(index)) for index in range(4)]

        async def increment(seam: Aws) -> None:
            register = Register(seam, TABLE, key)
            held = await register.read()
            for _ in range(5):
                while True:
                    try:
                        held = await register.write(_plus_one(held.value), held.version)
                        break
                    except VersionMismatch as mismatch:
                        held = mismatch.current

        all_of(increment(each) for each in losing)
        assert run(Register(aws, TABLE, key).read()) == Versioned(20, number(20))
        assert sum(each.lost for each in losing) > 0

    def test_a_stale_writer_is_told_what_there_is(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            register = Register(aws, TABLE, key, "config")
            assert await register.read() == Versioned()
            await register.write(string("one"), 0)
            await register.write({"M": {"nested": string("two")}}, 1)
            with pytest.raises(VersionMismatch, match="expected version 1, found 2") as raised:
                await register.write(string("three"), 1)
            assert raised.value.current == Versioned(2, {"M": {"nested": string("two")}})

        run(work())


class TestLock:
    def test_contenders_hold_it_one_after_the_other(self, aws: BotoAws, key: Key) -> None:
        inside: list[int] = []
        tokens: list[int] = []

        async def work(index: int) -> None:
            # every machine has a clock of its own
            lock = TimedLock(aws, TABLE, key, clock=lambda: boot_time() + 1e6 * index)
            async with lock.held(f"machine-{index}", 2.0, patience=60.0) as lease:
                inside.append(index)
                assert inside == [index]
                tokens.append(lease.token)
                assert await AtomicCounter(aws, TABLE, {**key, "sort": {"S": "work"}}).take()
                assert inside.pop() == index

        all_of(work(index) for index in range(6))
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 6

    def test_without_patience_a_held_lock_is_refused_at_once(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            lock = TimedLock(aws, TABLE, key)
            await lock.acquire("janitor", 30.0)
            with pytest.raises(LockHeld, match="janitor holds the lock with token 1"):
                await lock.acquire("other", 30.0)

        run(work())

    def test_a_released_lock_is_free_at_once(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            lock = TimedLock(LosingAnswers(aws, losses=3), TABLE, key)
            first = await lock.acquire("one", 30.0)
            await first.release()
            assert first.remaining() <= 0
            second = await lock.acquire("two", 30.0)
            assert second.token > first.token
            await first.release()
            await second.renew()

        run(work())

    def test_a_dead_holder_is_outlived_after_its_lease_and_not_before(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            # long enough that a contender which does not wait for all of it is seen, however slow the machine
            dead = await TimedLock(aws, TABLE, key).acquire("dead", 5 * LEASE)
            lease = await TimedLock(aws, TABLE, key).acquire("heir", 5 * LEASE, patience=50 * LEASE)
            assert dead.remaining() <= 0
            assert lease.token == dead.token + 1
            with pytest.raises(LockLost, match=f"token {dead.token}"):
                await dead.renew()
            await dead.release()
            await lease.renew()

        run(work())

    def test_a_lease_that_is_renewed_is_not_taken(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            lease = await TimedLock(aws, TABLE, key).acquire("living", LEASE)
            contender = asyncio.create_task(TimedLock(aws, TABLE, key).acquire("other", LEASE, patience=4 * LEASE))
            while not contender.done():
                await lease.renew()
                assert lease.remaining() > 0
                await asyncio.wait([contender], timeout=LEASE / 4)
            with pytest.raises(LockHeld, match="living"):
                await contender

        run(work())

    def test_a_renewal_that_comes_just_before_the_lock_is_taken_over_counts(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            lease = await TimedLock(aws, TABLE, key).acquire("living", LEASE)
            late = Preceded(aws, lease.renew, preceded=2)  # the first finds it held, the second would take it
            with pytest.raises(LockHeld, match="living"):
                await TimedLock(late, TABLE, key).acquire("other", LEASE, patience=1.5 * LEASE)
            assert late.writes == 2

        run(work())

    def test_a_holder_whose_lease_ran_out_may_renew_it_if_nobody_came(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            now = [0.0]
            lease = await TimedLock(aws, TABLE, key, clock=lambda: now[0]).acquire("one", 10.0)
            assert lease.remaining() == 10.0
            now[0] = 25.0
            assert lease.remaining() == -15.0
            await lease.renew()
            assert lease.remaining() == 10.0

        run(work())

    def test_a_lost_answer_to_an_acquisition_is_recognized(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            losing = LosingAnswers(aws, losses=1)
            lease = await TimedLock(losing, TABLE, key).acquire("one", 30.0)
            assert losing.lost == 1
            assert lease.token == 1
            losing.losses = 1
            await lease.renew()
            assert losing.lost == 2
            with pytest.raises(LockHeld):
                await TimedLock(aws, TABLE, key).acquire("two", 30.0)

        run(work())

    def test_a_lost_answer_to_taking_over_is_recognized(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            await TimedLock(aws, TABLE, key).acquire("dead", LEASE)
            losing = LosingAnswers(aws, losses=1)
            lease = await TimedLock(losing, TABLE, key).acquire("heir", 30.0, patience=10 * LEASE)
            assert (losing.lost, lease.token) == (1, 2)

        run(work())

    def test_a_late_copy_of_a_renewal_does_not_look_like_a_standstill(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            recording = Recording(aws)
            lease = await TimedLock(recording, TABLE, key).acquire("one", 30.0)
            await lease.renew()
            late = recording.calls[-1]
            await lease.renew()
            with pytest.raises(ConditionFailed) as raised:
                await aws.call(late[0], late[1], **late[2])
            assert get_number(raised.value.item, "beat") == 2

        run(work())

    def test_a_stalled_holder_is_kept_out_by_its_token(
        self, aws: BotoAws, key: Key, new_key: Callable[[], Key]
    ) -> None:
        """As the documentation says to fence a resource in DynamoDB."""
        resource = new_key()

        async def write(token: int, value: str) -> None:
            await aws.call(
                "dynamodb",
                "update_item",
                TableName=TABLE,
                Key=resource,
                UpdateExpression="SET fence = :token, content = :content",
                ConditionExpression="attribute_not_exists(fence) OR fence <= :token",
                ExpressionAttributeValues={":token": number(token), ":content": string(value)},
            )

        async def work() -> None:
            stalled = await TimedLock(aws, TABLE, key).acquire("stalled", LEASE)
            await write(stalled.token, "before")
            heir = await TimedLock(aws, TABLE, key).acquire("heir", LEASE, patience=10 * LEASE)
            await write(heir.token, "heir")
            with pytest.raises(ConditionFailed):
                await write(stalled.token, "too late")
            await write(heir.token, "heir again")

        run(work())

    def test_a_lease_takes_time(self, aws: BotoAws, key: Key) -> None:
        with pytest.raises(ValueError, match="seconds=0"):
            run(TimedLock(aws, TABLE, key).acquire("one", 0))


class Timers:
    """The delayed messages that were armed, as (beat, timer number, seconds)."""

    def __init__(self) -> None:
        self.armed: list[tuple[int, int, float]] = []

    async def arm(self, beat: int, timer: int, seconds: float) -> None:
        self.armed.append((beat, timer, seconds))


class TestHeartbeat:
    def test_who_beats_lives_and_who_stands_still_is_told_that_it_is_dead(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            heart, timers = Heartbeat(aws, TABLE, key), Timers()
            assert await heart.beat(1, 5000)
            assert await heart.beat(2, 5000)
            assert await heart.check(1, 0, 5000, timers.arm) is None
            assert timers.armed == [(2, 1, 5.0)]
            ended = await heart.check(2, 1, 5000, timers.arm)
            assert ended is not None
            assert ended.alive
            assert await heart.beat(3, 5000) is None
            again = await heart.check(2, 1, 5000, timers.arm)
            assert again is not None
            assert not again.alive
            await heart.forget_dead()
            assert await heart.beat(4, 5000) is None
            assert len(timers.armed) == 1

        run(work())

    def test_a_timer_that_was_not_held_for_the_timeout_ends_nobody(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            heart, timers = Heartbeat(aws, TABLE, key), Timers()
            assert await heart.beat(1, 5000)
            assert await heart.check(1, 0, 4900, timers.arm) is None
            assert timers.armed == [(1, 1, 5.0)]
            assert await heart.beat(2, 5000)

        run(work())

    def test_a_timer_that_was_held_a_little_less_than_it_was_asked_to_be_counts(self, aws: BotoAws, key: Key) -> None:
        """It would cost a whole timeout more."""

        async def work() -> None:
            heart, timers = Heartbeat(aws, TABLE, key), Timers()
            assert await heart.beat(1, 5000)
            ended = await heart.check(1, 0, 4999, timers.arm)
            assert ended is not None
            assert timers.armed == []

        run(work())

    def test_doubled_timers_go_on_as_one_though_answers_get_lost(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            losing = LosingAnswers(aws, chance=random.Random(3))
            heart, timers = Heartbeat(losing, TABLE, key), Timers()
            assert await heart.beat(1, 5000)
            assert await heart.beat(2, 5000)
            for _ in range(3):
                assert await heart.check(1, 0, 5000, timers.arm) is None
            assert timers.armed == [(2, 1, 5.0)]
            assert losing.lost > 0

        run(work())

    def test_a_timer_that_overtakes_its_number_goes_on(self, aws: BotoAws, key: Key) -> None:
        """Whoever armed it is frozen until it has come due."""

        async def work() -> None:
            heart, timers = Heartbeat(aws, TABLE, key), Timers()

            async def arm(beat: int, timer: int, seconds: float) -> None:
                await timers.arm(beat, timer, seconds)
                assert await heart.beat(3, 5000)
                assert await heart.check(beat, timer, 5000, timers.arm) is None

            assert await heart.beat(1, 5000)
            assert await heart.beat(2, 5000)
            assert await heart.check(1, 0, 5000, arm) is None
            assert timers.armed == [(2, 1, 5.0), (3, 2, 5.0)]
            ended = await heart.check(3, 2, 5000, timers.arm)
            assert ended is not None
            assert ended.timer == 2

        run(work())

    def test_a_timeout_that_shrinks_while_the_next_timer_is_armed_holds(self, aws: BotoAws, key: Key) -> None:
        """Who beats arms a timer of its own then, under a number that has just been used up."""

        async def work() -> None:
            heart, timers = Heartbeat(aws, TABLE, key), Timers()

            async def arm(beat: int, timer: int, seconds: float) -> None:
                await timers.arm(beat, timer, seconds)
                assert await heart.beat(2, 5000)

            assert await heart.beat(1, 600_000)
            assert await heart.check(1, 0, 5000, arm) is None
            assert timers.armed == [(1, 1, 600.0), (2, 1, 5.0)]
            assert await heart.check(2, 1, 5000, timers.arm) is not None

        run(work())

    def test_a_timeout_that_is_none_does_not_stop_the_timers(self, aws: BotoAws, key: Key) -> None:
        async def work() -> None:
            heart, timers = Heartbeat(aws, TABLE, key), Timers()
            for number_ in range(3):
                assert await heart.beat(number_ + 1, -1)
                assert await heart.check(number_, number_, 5000, timers.arm) is None
            assert timers.armed == [(1, 1, 0.0), (2, 2, 0.0), (3, 3, 0.0)]

        run(work())


def test_each_operation_costs_what_it_says(aws: BotoAws, new_key: Callable[[], Key]) -> None:
    """DynamoDB Local reports transactions without their doubling, so there the price of a token is not seen."""
    metered = Recording(aws)

    async def cost(work: Awaitable[object]) -> float:
        before = metered.units
        await work
        return metered.units - before

    async def main() -> dict[str, float]:
        counter = AtomicCounter(metered, TABLE, new_key())
        members = AtomicSet(metered, TABLE, new_key(), "members")
        entries = AtomicList(metered, TABLE, new_key())
        register = Register(metered, TABLE, new_key())
        lock = TimedLock(metered, TABLE, new_key())
        lease = await lock.acquire("meter", 30.0)
        heart, timers = Heartbeat(metered, TABLE, new_key()), Timers()
        return {
            "beat": await cost(heart.beat(1, 5000)),
            "go on": await cost(heart.check(0, 0, 5000, timers.arm)),
            "end": await cost(heart.check(1, 1, 5000, timers.arm)),
            "take": await cost(counter.take(1000)),
            "add": await cost(counter.add(1)),
            "count": await cost(counter.read()),
            "join": await cost(members.add("me", most=10)),
            "leave": await cost(members.discard("me")),
            "append": await cost(entries.append(["one", "two"])),
            "trim": await cost(entries.trim(2)),
            "write": await cost(register.write(string("value"), 0)),
            "renew": await cost(lease.renew()),
            "release": await cost(lease.release()),
            "acquire": await cost(lock.acquire("meter", 30.0)),
        }

    costs = run(main())
    token = costs["add"]
    assert token in (1.0, 2.0)
    assert costs == {
        "beat": 1.0,
        "go on": 2.0,
        "end": 2.0,
        "take": 1.0,
        "add": token,
        "count": 1.0,
        "join": 1.0,
        "leave": 1.0,
        "append": token,
        "trim": 2.0,
        "write": token,
        "renew": 1.0,
        "release": 1.0,
        "acquire": 1.0,
    }


def _plus_one(value: Attribute | None) -> Attribute:
    return number(int(value["N"]) + 1 if value else 1)
