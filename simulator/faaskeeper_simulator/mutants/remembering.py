"""Breaks what lets a gateway answer reads from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from faaskeeper.functions.sequencer import sequencer
from faaskeeper.protocol.changes import Changes
from faaskeeper.znode import acl
from faaskeeper_client.gateway import read_requests
from faaskeeper_client.gateway.cache import Cache, Reading
from faaskeeper_client.gateway.lease import Lease
from faaskeeper_client.gateway.observer import Observer
from faaskeeper_simulator.cloud import FaultKind
from faaskeeper_simulator.harness.chaos import Chaos
from faaskeeper_simulator.mutants.registry import mutant, schedules

_MEMORY = 64_000_000
_SLOW = (FaultKind.TORN, FaultKind.SLOW_COMMIT, FaultKind.DELAY)


@mutant("What changes is dropped before its zxid is published", schedules("polls", cache_bytes=_MEMORY))
def changes_are_not_followed() -> Iterator[None]:
    def follow(self: Cache, zxid: int, changes: Changes | None) -> None:
        self.zxid = max(self.zxid, zxid)

    with patch.object(Cache, "follow", follow):
        yield


@mutant(
    "Where the changes since are not known, all is dropped",
    schedules("polls", "bulk", cache_bytes=_MEMORY, gateways=3, clients=6),
)
def a_gap_drops_nothing() -> Iterator[None]:
    with patch.object(Cache, "drop", lambda self: None):
        yield


@mutant(
    "What says nothing of the head's transaction says nothing at all",
    schedules("polls", cache_bytes=_MEMORY, gateways=3, clients=6),
)
def old_changes_are_taken_for_all() -> Iterator[None]:
    """As if every other transaction were one of a function that knows no changes."""
    real = Changes.followed_by

    def followed_by(self: Changes, zxid: int, digests: Any) -> Changes:
        return real(self, zxid, digests) if zxid % 2 else Changes(self.since, zxid, self.transactions)

    with patch.object(Changes, "followed_by", followed_by):
        yield


@mutant(
    "A transaction tells of all znodes that it writes",
    schedules("polls", cache_bytes=_MEMORY, clients=6),
)
def parents_are_not_told() -> Iterator[None]:
    """Of a multi, or a create and its parent, only the first."""
    real = sequencer.changed_paths

    def first(keys: Any) -> Any:
        return list(real(keys))[:1]

    with patch.object(sequencer, "changed_paths", first):
        yield


@mutant(
    "A read under way while its path changes is not kept, unless it shows the change",
    schedules("polls", kinds=_SLOW, rate=6, cache_bytes=_MEMORY, gateways=3, clients=6),
)
def reads_under_way_are_kept() -> Iterator[None]:
    def keep(self: Reading, node: Any, data: Any = None, children: Any = None) -> None:
        self._cache.put(self.digest, node, data, children)

    with patch.object(Reading, "keep", keep):
        yield


@mutant(
    "What is in memory is the present for as long as the lease holds",
    schedules(
        "polls",
        chaos=(Chaos.GATEWAY_CUT, Chaos.GATEWAY_HALF_CUT),
        timeouts=(20_000,),
        pace=1.0,
        cache_bytes=_MEMORY,
        gateways=3,
        clients=6,
    ),
)
def the_lease_never_ends() -> Iterator[None]:
    with patch.object(Lease, "holds", property(lambda self: self._since.boot >= 0)):
        yield


@mutant(
    "The lease counts from when the head was asked for",
    schedules("polls", kinds=(FaultKind.DELAY,), rate=40, cache_bytes=_MEMORY, gateways=3, clients=8, operations=80),
)
def the_lease_counts_from_the_answer() -> Iterator[None]:
    real = Lease.renew

    def renew(self: Lease, asked: Any) -> None:
        real(self, self.reading())

    with patch.object(Lease, "renew", renew):
        yield


@mutant("Who may read a znode is looked at on each read", schedules("polls", cache_bytes=_MEMORY, clients=6))
def acls_count_once() -> Iterator[None]:
    """The ACL that came first for a path is the one that counts."""
    first: dict[int, Any] = {}

    def may_read(entries: Any, caller: Any) -> bool:
        return acl.may_read(first.setdefault(caller.session, entries), caller)

    with patch.object(read_requests, "may_read", may_read):
        yield


@mutant(
    "A read that sets a watch is answered from memory only if the set is known to name this gateway",
    schedules("polls", "ready", cache_bytes=_MEMORY, gateways=3, clients=6),
)
def memory_sets_watches() -> Iterator[None]:
    real = Cache._usable

    def usable(self: Cache, path: str, watch: str | None) -> Any:
        return real(self, path, None)

    with patch.object(Cache, "_usable", usable):
        yield


@mutant(
    "Nothing is answered from memory that is newer than complete",
    schedules("polls", kinds=_SLOW, rate=6, cache_bytes=_MEMORY, gateways=3, clients=6),
)
def memory_is_published_too_soon() -> Iterator[None]:
    """What was read is shown from memory before it is observed."""
    real = Cache._usable

    def usable(self: Cache, path: str, watch: str | None) -> Any:
        before, self.zxid = self.zxid, 1 << 62
        try:
            return real(self, path, watch)
        finally:
            self.zxid = before

    with patch.object(Cache, "_usable", usable):
        yield


@mutant(
    "Changes are taken into account in the moment in which complete is published",
    schedules("polls", kinds=_SLOW, rate=6, cache_bytes=_MEMORY, gateways=3, clients=6),
)
def changes_follow_late() -> Iterator[None]:
    real = Observer._advance

    async def advance(self: Observer, zxid: int, events: Any, changes: Any) -> None:
        follow = self._cache.follow
        with patch.object(self._cache, "follow", lambda zxid, changes: None):
            await real(self, zxid, events, changes)
        asyncio.get_running_loop().call_later(0.05, follow, zxid, changes)

    with patch.object(Observer, "_advance", advance):
        yield
