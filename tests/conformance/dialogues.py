"""The same dialogues with a real ZooKeeper and with FaaSKeeper, found by hypothesis and made small where they differ.

Beyond what the fuzzer of the kit does: requests sent without waiting for replies, whose order among the events is
compared; all kinds of create and of watches; clients that leave, miss something and come back through another gateway.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias
from uuid import uuid4

from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st

from faaskeeper_client.addresses import Address
from tests.conformance.judges import Verdict
from tests.conformance.sides import Ask, Side, without_zxids, zxids

SESSIONS = 2

names = st.sampled_from(("a", "b", "ü"))
good_paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: "/".join(("@", *parts)))
odd_paths = st.sampled_from(
    [
        "@",
        "@/",
        "@/a/",
        "@//a",
        "@/.",
        "@/a/..",
        "@/a/../b",
        "a",
        "@/a\x01",
        "@/a\0",
        "@/\U0001f600",
        "@/zookeeper",
        "@/a0",
    ]
)
paths = st.one_of(*[good_paths] * 9, odd_paths)
data = st.sampled_from([None, b"", b"x", b"y" * 50])
versions = st.sampled_from([-1, -1, -1, 0, 1, 2, -2])
OPEN = ((31, "world", "anyone"),)
acls = st.sampled_from(
    [
        *[OPEN] * 8,
        ((1, "world", "anyone"),),
        ((14, "world", "anyone"), (31, "digest", "ann:x3wsCBtCEIbgTdf2hIUFcKLbNVw=")),
        ((31, "auth", ""),),
        ((31, "ip", "127.0.0.0/8"),),
        ((15, "world", "anyone"), (15, "world", "anyone")),
        (),
        ((31, "world", "somebody"),),
        ((31, "ip", "10.0.0.300"),),
    ]
)
plain_flags = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 7, -1])
ttls = st.sampled_from([2**40 - 1, 10**9, 0, -1, 2**40])


def ask(kind: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Ask]:
    return st.tuples(*arguments).map(lambda values: Ask(kind, values))


creates = st.one_of(
    ask("create", paths, data, acls, plain_flags),
    ask("create2", paths, data, acls, plain_flags),
)
unusual_creates = st.one_of(
    ask("createContainer", paths, data, acls, st.sampled_from([4, 4, 4, 0, 1])),
    ask("createTTL", paths, data, acls, st.sampled_from([5, 6]), ttls),
    # a negative TTL with a plain mode ends a real server for good: it is in the log that it starts from
    ask("createTTL", paths, data, acls, st.just(0), st.just(5000)),
)
multi_creates = st.one_of(
    ask("create", paths, data, acls, st.sampled_from([0, 0, 1, 2, 3])),
    ask("create2", paths, data, acls, st.sampled_from([0, 0, 1, 2, 3])),
)
deletes = ask("delete", paths, versions)
sets = ask("set", paths, data, versions)
checks = ask("check", paths, versions)
reads = st.one_of(
    ask("exists", paths, st.booleans()),
    ask("get", paths, st.booleans()),
    ask("getChildren", paths, st.booleans()),
    ask("getChildren2", paths, st.booleans()),
)
LIMITS, STATS = "zookeeper_limits", "zookeeper_stats"
quota_nodes = st.sampled_from(
    [f"#{top}/{name}" for top in ("", "/folder", "/folder/a", "/folder/a/b") for name in (LIMITS, STATS)]
)
# what is no counts ends a real server at the next write below
counts = st.sampled_from([b"", b"count=5,bytes=7", b"bytes=3", b"bytes=3;byteHardLimit=9,count=1"])
quotas = st.one_of(
    *[ask("get", quota_nodes, st.booleans())] * 4,
    ask("create", quota_nodes, counts, st.just(OPEN), st.just(0)),
    ask("create2", quota_nodes, counts, st.just(OPEN), st.just(0)),
    ask("set", quota_nodes, counts, versions),
    ask("delete", quota_nodes, versions),
)
watch_kinds = st.sampled_from([1, 2, 3, 4, 5, 9])
asks = st.one_of(
    *[creates] * 4,
    unusual_creates,
    *[deletes] * 2,
    *[sets] * 2,
    ask("setAcl", paths, acls, versions),
    st.lists(st.one_of(multi_creates, deletes, sets, checks), max_size=5).map(lambda parts: Ask("multi", tuple(parts))),
    *[reads] * 4,
    st.lists(st.one_of(ask("get", paths, st.just(False)), ask("getChildren", paths, st.just(False))), max_size=3).map(
        lambda parts: Ask("multiRead", tuple(parts))
    ),
    ask("getAcl", paths),
    ask("getAllChildrenNumber", paths),
    ask("getEphemerals", st.sampled_from(["@", "@/a", "@/b/"])),
    ask("sync", paths),
    *[ask("addWatch", good_paths, st.sampled_from([0, 1, 1, 2]))] * 2,
    ask("removeWatches", good_paths, watch_kinds),
    ask("checkWatches", good_paths, watch_kinds),
    ask("whoAmI"),
    quotas,
)


@dataclass(frozen=True)
class Burst:
    """A session sends all of this without waiting for an answer."""

    session: int
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Close:
    session: int


@dataclass(frozen=True)
class Away:
    """A session's connection is gone while another session does something; then it comes back with its watches."""

    session: int
    meanwhile: tuple[Ask, ...]
    watches: Ask


Step: TypeAlias = Burst | Close | Away


def _quota(top: str) -> tuple[Ask, ...]:
    """As zkCli's setquota."""
    above = [f"#{top[:end]}" for end, slash in enumerate(f"{top}/") if slash == "/"]
    return (
        *(Ask("create", (path, b"", OPEN, 0)) for path in above),
        Ask("create", (f"#{top}/{LIMITS}", b"count=3,bytes=-1", OPEN, 0)),
        Ask("create2", (f"#{top}/{STATS}", b"count=0,bytes=0", OPEN, 0)),
        Ask("get", (f"#{top}/{STATS}", True)),
    )


sessions = st.integers(0, SESSIONS - 1)
few_paths = st.lists(good_paths, max_size=2, unique=True).map(tuple)
some_asks = st.lists(asks, min_size=1, max_size=5).map(tuple)
steps = st.one_of(
    *[st.builds(Burst, sessions, some_asks)] * 8,
    # alone: ZooKeeper answers it without regard to what was sent before
    st.builds(Burst, sessions, st.tuples(ask("auth", st.sampled_from(["ann:secret", "bob:secret", "super:test"])))),
    st.builds(Burst, sessions, st.sampled_from([_quota(""), _quota("/folder"), _quota("/folder/a")])),
    st.builds(Close, sessions),
    st.builds(
        Away,
        sessions,
        some_asks,
        st.one_of(
            ask("setWatches", few_paths, few_paths, few_paths),
            ask("setWatches2", few_paths, few_paths, few_paths, few_paths, few_paths),
        ),
    ),
)


EVENT_AMONG_PIPELINED_WRITES = [
    Burst(
        0,
        (
            Ask("getChildren", ("@", True)),
            Ask("create", ("@/a/a", None, OPEN, 0)),
            Ask("create", ("@/a", None, OPEN, 0)),
            Ask("set", ("@/a", b"", -1)),
        ),
    )
]
"""The event belongs between the replies of writes that the sequencer takes in one batch."""


COUNTED_IN_ONE_BATCH = [
    Burst(0, (Ask("create", ("@/a", b"xyz", OPEN, 0)), *_quota("/folder"), Ask("create", ("@/b", b"y" * 50, OPEN, 1)))),
    Burst(1, (Ask("set", ("@/a", b"", -1)), *_quota("/folder/a"), Ask("create", ("@/a/b", b"x", OPEN, 3)))),
    Burst(0, (Ask("multi", (Ask("delete", ("@/b", -1)), Ask("create", ("@/ü", b"12", OPEN, 0)))),)),
    Burst(1, (Ask("get", (f"#/folder/{STATS}", False)), Ask("get", (f"#/folder/a/{STATS}", False)))),
    Close(1),
    Burst(0, (Ask("delete", (f"#/folder/a/{LIMITS}", -1)), Ask("create", ("@/a/ü", b"x", OPEN, 0)))),
]
"""A quota counts what was there, what the same batch did before it, and what comes after; of two only the inner."""


def dialogues(oracle: Address, endpoint: Address, *, number: int) -> Verdict:
    """The ``number`` is of random dialogues, each of up to twelve steps; a few that once differed come before."""
    began = time.monotonic()

    @settings(max_examples=number, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
    @example(dialogue=EVENT_AMONG_PIPELINED_WRITES)
    @example(dialogue=COUNTED_IN_ONE_BATCH)
    @given(dialogue=st.lists(steps, min_size=1, max_size=12))
    def agree(dialogue: list[Step]) -> None:
        _compare(oracle, endpoint, dialogue)

    try:
        agree()
        differences: tuple[str, ...] = ()
    except (AssertionError, ExceptionGroup) as error:
        differences = ("".join(traceback.format_exception(error)),)
    return Verdict("dialogues", f"{number} dialogues", differences, (), time.monotonic() - began)


def _compare(oracle: Address, endpoint: Address, dialogue: list[Step]) -> None:
    order: set[tuple[int, int]] = set()
    with _both(oracle, endpoint) as (theirs, ours):
        for step in dialogue:
            expected, found = _perform(theirs, step), _perform(ours, step)
            note(f"{step}\n  ZooKeeper {expected}\n  ours      {found}")
            assert without_zxids(found) == without_zxids(expected)
            order.update(zxids(expected, found))
        expected, found = theirs.tree(), ours.tree()
        assert without_zxids(found) == without_zxids(expected)
        order.update(zxids(expected, found))
    for one, next_one in pairwise(sorted(order)):
        increase = (one[0] < next_one[0], one[1] < next_one[1])
        assert increase == (True, True), f"zxids stand in another order: {one}, {next_one}"


def _perform(side: Side, step: Step) -> list[Any]:
    match step:
        case Burst(session, burst):
            return [side.say(session, burst), *side.settle()]
        case Close(session):
            # the ephemerals of a session go in no particular order
            return [side.close(session), *(sorted(heard, key=repr) for heard in without_zxids(side.settle()))]
        case Away(session, meanwhile, watches):
            side.leave(session)
            said = side.say((session + 1) % SESSIONS, meanwhile)
            return [said, side.come_back(session, watches), *side.settle()]


@contextmanager
def _both(oracle: Address, endpoint: Address) -> Iterator[tuple[Side, Side]]:
    top = f"/dialogue-{uuid4().hex[:12]}"
    sides = Side(oracle, top, SESSIONS), Side(endpoint, top, SESSIONS)
    try:
        yield sides
    finally:
        for side in sides:
            side.end()
