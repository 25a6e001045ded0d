"""Every recipe of kazoo with its contenders at different gateways, of which each knows of the other only by storage.

kazoo's own tests of them, which ``make conformance`` runs, have all contenders on one connection or two.
"""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout, NoNodeError, RolledBackError
from kazoo.recipe.cache import TreeCache
from kazoo.recipe.lease import MultiNonBlockingLease, NonBlockingLease
from kazoo.recipe.watchers import PatientChildrenWatch

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.gateway_thread import GatewayThread

from .conftest import Deployed, until

SECONDS = 60
CONTENDERS = 4
Clients = list[KazooClient]


@pytest.fixture(scope="module")
def clients(deployed: Deployed) -> Generator[Clients]:
    """A client at each of two gateways, by turns."""
    with ExitStack() as stack:
        hosts: list[str] = []
        for _ in range(2):
            aws = BotoAws(session=deployed.session)
            stack.callback(aws.close)
            hosts.append(stack.enter_context(GatewayThread(aws, deployed.service)).hosts)
        clients = [KazooClient(hosts[number % 2], timeout=30) for number in range(CONTENDERS)]
        for client in clients:
            client.start()
            stack.callback(client.close)
            stack.callback(client.stop)
        yield clients


def together(clients: Clients, work: Callable[[KazooClient], Any]) -> list[Any]:
    """What came of it for each."""
    with ThreadPoolExecutor(len(clients)) as threads:
        return [done.result(SECONDS) for done in [threads.submit(work, client) for client in clients]]


class Room:
    """How many were in it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0
        self.visits = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.visits += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1


def test_lock(clients: Clients) -> None:
    room = Room()
    tokens: list[int] = []

    def work(client: KazooClient) -> None:
        for _ in range(3):
            lock = client.Lock("/lock")
            with lock, room:
                tokens.append(client.get(f"{lock.path}/{lock.node}")[1].czxid)

    together(clients, work)
    assert (room.most, room.visits) == (1, 3 * CONTENDERS)
    # fencing tokens, as docs/recipes.md has them: each holder's is higher
    assert tokens == sorted(set(tokens))


def test_a_lock_of_a_client_that_is_gone(clients: Clients) -> None:
    gone = KazooClient(clients[0].hosts[0][0] + f":{clients[0].hosts[0][1]}")
    gone.start()
    assert gone.Lock("/lock-left").acquire()
    waiting = clients[1].Lock("/lock-left")
    with pytest.raises(LockTimeout):
        waiting.acquire(timeout=0.5)
    gone.stop()
    gone.close()
    assert waiting.acquire(timeout=SECONDS)
    waiting.release()


def test_read_and_write_locks(clients: Clients) -> None:
    one, two, three, four = clients
    readers = [client.ReadLock("/rw") for client in (one, two)]
    assert all(reader.acquire(timeout=SECONDS) for reader in readers)
    assert not three.WriteLock("/rw").acquire(blocking=False)
    writer = four.WriteLock("/rw")
    with ThreadPoolExecutor() as threads:
        acquired = threads.submit(writer.acquire, timeout=SECONDS)
        for reader in readers:
            reader.release()
        assert acquired.result(SECONDS)
    assert not one.ReadLock("/rw").acquire(blocking=False)
    writer.release()


def test_semaphore(clients: Clients) -> None:
    room = Room()

    def work(client: KazooClient) -> None:
        for _ in range(2):
            with client.Semaphore("/semaphore", max_leases=2), room:
                pass

    together(clients, work)
    assert room.visits == 2 * CONTENDERS
    assert room.most <= 2


def test_election(clients: Clients) -> None:
    room, led = Room(), Counter[int]()

    def work(client: KazooClient) -> None:
        def lead() -> None:
            with room:
                led[id(client)] += 1

        client.Election("/election", str(id(client))).run(lead)

    together(clients, work)
    assert room.most == 1
    assert led == {id(client): 1 for client in clients}


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_party(clients: Clients, kind: str) -> None:
    parties = [getattr(client, kind)(f"/{kind}", f"member-{number}") for number, client in enumerate(clients)]
    for party in parties:
        party.join()
    everybody = [f"member-{number}" for number in range(CONTENDERS)]
    for party in parties:
        until(lambda party=party: sorted(party) == everybody, "everybody is there", SECONDS)
    parties[0].leave()
    until(lambda: sorted(parties[1]) == everybody[1:], "one has left", SECONDS)


def test_counter(clients: Clients) -> None:
    def work(client: KazooClient) -> None:
        counter = client.Counter("/counter")
        for _ in range(5):
            counter += 2

    together(clients, work)
    clients[0].sync("/counter")
    assert clients[0].Counter("/counter").value == 10 * CONTENDERS


def test_barrier(clients: Clients) -> None:
    clients[0].Barrier("/barrier").create()
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(client.Barrier("/barrier").wait, SECONDS) for client in clients[1:]]
        assert not clients[1].Barrier("/barrier").wait(0.2)
        clients[2].Barrier("/barrier").remove()
        assert all(done.result(SECONDS) for done in waiting)


def test_double_barrier(clients: Clients) -> None:
    arrived = Room()

    def work(client: KazooClient) -> int:
        barrier = client.DoubleBarrier("/double-barrier", CONTENDERS)
        with arrived:
            barrier.enter()
            inside = arrived.visits
            barrier.leave()
        return inside

    assert together(clients, work) == [CONTENDERS] * CONTENDERS


def test_queue(clients: Clients) -> None:
    one, two = clients[:2]
    for number, priority in ((1, 100), (2, 50), (3, 100)):
        one.Queue("/queue").put(b"%d" % number, priority)
    two.sync("/queue")
    queue = two.Queue("/queue")
    assert [queue.get() for _ in range(4)] == [b"2", b"1", b"3", None]


def test_locking_queue(clients: Clients) -> None:
    items = [b"%d" % number for number in range(8)]
    clients[0].LockingQueue("/locking-queue").put_all(items)

    def work(client: KazooClient) -> list[bytes]:
        queue = client.LockingQueue("/locking-queue")
        mine: list[bytes] = []
        for _ in range(2):
            mine.append(queue.get(SECONDS))
            assert queue.consume()
        return mine

    assert sorted(item for mine in together(clients, work) for item in mine) == items


def test_leases(clients: Clients) -> None:
    long = timedelta(hours=1)
    held = together(clients, lambda client: bool(NonBlockingLease(client, "/lease", long, str(id(client)))))
    assert sum(held) == 1
    assert NonBlockingLease(clients[held.index(True)], "/lease", long, str(id(clients[held.index(True)])))
    many = together(clients, lambda client: bool(MultiNonBlockingLease(client, 2, "/leases", long, str(id(client)))))
    assert sum(many) == 2


def test_set_partitioner(clients: Clients) -> None:
    everything = tuple(range(6))
    pair = clients[:2]
    partitioners = [
        client.SetPartitioner("/partition", everything, identifier=f"p{number}", time_boundary=0.2)
        for number, client in enumerate(pair)
    ]

    def settle() -> bool:
        for partitioner in partitioners:
            if partitioner.release:
                partitioner.release_set()
        return all(partitioner.acquired for partitioner in partitioners) and sorted(
            item for partitioner in partitioners for item in partitioner
        ) == list(everything)

    until(settle, "each has a part", SECONDS)
    assert [len(list(partitioner)) for partitioner in partitioners] == [3, 3]
    partitioners[0].finish()
    partitioners = partitioners[1:]
    until(settle, "the one that stayed has all", SECONDS)
    partitioners[0].finish()


def test_watchers(clients: Clients) -> None:
    one, two = clients[:2]
    data: list[bytes | None] = []
    children: list[list[str]] = []
    two.DataWatch("/watched", lambda value, stat: data.append(value))
    one.create("/watched", b"0")
    until(lambda: data == [None, b"0"], "it is there", SECONDS)
    two.ChildrenWatch("/watched", lambda names: children.append(sorted(names)))
    for number in range(1, 4):
        one.set("/watched", b"%d" % number)
        one.create(f"/watched/{number}")
    until(lambda: data[-1] == b"3" and children[-1] == ["1", "2", "3"], "the last of it", SECONDS)
    told = [value for value in data if value is not None]
    assert told == sorted(set(told)), "once each, in order"
    patient = PatientChildrenWatch(two, "/watched", time_boundary=0.2).start()
    assert sorted(patient.get(timeout=SECONDS)[0]) == ["1", "2", "3"]
    one.delete("/watched", recursive=True)
    until(lambda: data[-1] is None, "it is gone", SECONDS)


def test_tree_cache(clients: Clients) -> None:
    one, two = clients[:2]
    one.create("/tree/a/b", b"x", makepath=True)
    cache = TreeCache(two, "/tree")
    cache.start()
    one.set("/tree/a/b", b"y")
    one.create("/tree/c", b"z")
    one.delete("/tree/a/b")
    one.create("/tree/a/b/d", makepath=True)

    def data(path: str) -> bytes | None:
        found = cache.get_data(path)
        return found.data if found else None

    until(lambda: data("/tree/c") == b"z" and data("/tree/a/b/d") == b"", "all of it", SECONDS)
    assert cache.get_children("/tree") == {"a", "c"}
    assert data("/tree/a/b") == b""
    cache.close()


def test_transactions(clients: Clients) -> None:
    """Everybody moves something between two accounts that were made together; nothing appears or is lost."""
    with clients[0].transaction() as made:
        made.create("/from", b"40")
        made.create("/to", b"0")

    def work(client: KazooClient) -> None:
        moved = 0
        while moved < 3:
            (here, one), (there, other) = client.get("/from"), client.get("/to")
            move = client.transaction()
            move.set_data("/from", b"%d" % (int(here) - 1), one.version)
            move.set_data("/to", b"%d" % (int(there) + 1), other.version)
            moved += not any(isinstance(result, Exception) for result in move.commit())

    together(clients, work)
    clients[0].sync("/from")
    total = 3 * CONTENDERS
    assert (clients[0].get("/from")[0], clients[0].get("/to")[0]) == (b"%d" % (40 - total), b"%d" % total)
    refused = clients[1].transaction()
    refused.create("/never")
    refused.delete("/missing")
    assert [type(result) for result in refused.commit()] == [RolledBackError, NoNodeError]
    assert clients[1].exists("/never") is None
