"""The deployed service, functions and all, as kazoo and its recipes use it."""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, ConnectionClosedError, ConnectionLoss, SessionExpiredError
from kazoo.protocol.states import KazooState, WatchedEvent

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import Service
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud

PATIENCE = 30.0


@pytest.fixture(scope="module")
def deployed(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> tuple[BotoAws, Service]:
    account = new_account()
    # messages of an instance that is killed stay away for as long as this
    service = cloud.deploy("gateways", account=account, sequencer_timeout=4, requests_visibility=4)
    return BotoAws(session=cloud.session(account)), service


@pytest.fixture
def gateways(deployed: tuple[BotoAws, Service]) -> Iterator[list[GatewayThread]]:
    with ExitStack() as stack:
        yield [stack.enter_context(GatewayThread(*deployed)) for _ in range(2)]


def client(gateway: GatewayThread, lasts: float = 10.0) -> KazooClient:
    zk = KazooClient(hosts=gateway.hosts, timeout=lasts)
    zk.start(PATIENCE)
    return zk


def in_threads(work: Callable[[KazooClient], None], clients: list[KazooClient]) -> list[threading.Event]:
    """``work`` with each of the clients at once; events that tell of its end."""

    def run(zk: KazooClient, done: threading.Event) -> None:
        work(zk)
        done.set()

    ended = [threading.Event() for _ in clients]
    for zk, done in zip(clients, ended, strict=True):
        threading.Thread(target=run, args=(zk, done), daemon=True).start()
    return ended


def test_locks_exclude_across_gateways(gateways: list[GatewayThread]) -> None:
    """kazoo's lock: ephemeral sequential znodes, and watches on predecessors."""
    clients = [client(gateway) for gateway in gateways for _ in range(2)]
    clients[0].create("/count", b"0")

    def work(zk: KazooClient) -> None:
        for _ in range(5):
            with zk.Lock("/lock", str(zk.client_id)):
                value, stat = zk.get("/count")
                zk.set("/count", str(int(value) + 1).encode(), stat.version)

    ended = in_threads(work, clients)
    assert all(done.wait(PATIENCE) for done in ended)
    assert clients[0].get("/count")[0] == b"20"
    for zk in clients:
        zk.stop()


def test_an_election_survives_its_leader(gateways: list[GatewayThread]) -> None:
    leader, follower = (client(gateway) for gateway in gateways)
    leading: queue.Queue[str] = queue.Queue()
    resign = threading.Event()

    def lead(name: str) -> None:
        leading.put(name)
        resign.wait(PATIENCE)

    def stand(zk: KazooClient) -> None:
        name = "first" if zk is leader else "second"
        with suppress(ConnectionClosedError):
            zk.Election("/election", name).run(lead, name)

    in_threads(stand, [leader])
    assert leading.get(timeout=PATIENCE) == "first"
    (ended,) = in_threads(stand, [follower])
    leader.stop()
    assert leading.get(timeout=PATIENCE) == "second"
    resign.set()
    assert ended.wait(PATIENCE)
    follower.stop()


def test_the_sequencer_is_killed_over_and_over(cloud: EmbeddedCloud, gateways: list[GatewayThread]) -> None:
    """Each increment that was acknowledged is there, once. One that may have failed is asked after."""
    clients = [client(gateway) for gateway in gateways]
    clients[0].create("/n", b"")
    done = [0, 0]
    stop = threading.Event()

    def count(zk: KazooClient) -> None:
        index = clients.index(zk)
        while not stop.is_set():
            version = zk.get("/n")[1].version
            try:
                assert zk.set("/n", f"{index} {done[index]}".encode(), version).version == version + 1
            except BadVersionError:
                continue
            except ConnectionLoss:
                if zk.retry(zk.get, "/n")[0] != f"{index} {done[index]}".encode():
                    continue
            done[index] += 1

    ended = in_threads(count, clients)
    kills = 0
    while kills < 3:
        before = sum(done)
        for worker in cloud.workers("gateways-ServiceFunctionsSequencer"):
            worker.kill()
            kills += 1
        deadline = time.monotonic() + PATIENCE
        while sum(done) < before + 6:
            assert time.monotonic() < deadline, "the service does not recover"
            time.sleep(0.01)
    stop.set()
    assert all(each.wait(PATIENCE) for each in ended)
    assert clients[0].get("/n")[1].version == sum(done)
    for zk in clients:
        zk.stop()


def test_a_gateway_falls_silent(gateways: list[GatewayThread], deployed: tuple[BotoAws, Service]) -> None:
    """The timers, the reaper and the sequencer, as deployed, end its sessions."""
    aws = BotoAws(session=deployed[0]._session)  # pyright: ignore[reportPrivateUsage]
    doomed = GatewayThread(aws, deployed[1]).start()
    lost = client(doomed, 4.0)
    states: queue.Queue[str] = queue.Queue()
    lost.add_listener(states.put)
    lost.create("/ephemeral", ephemeral=True)
    other = client(gateways[0])
    gone: queue.Queue[WatchedEvent] = queue.Queue()
    assert other.exists("/ephemeral", watch=gone.put)
    silence(doomed)
    event = gone.get(timeout=PATIENCE)
    assert (event.type, event.path) == ("DELETED", "/ephemeral")
    assert other.exists("/ephemeral") is None
    lost.set_hosts(gateways[1].hosts)
    assert states.get(timeout=PATIENCE) == KazooState.SUSPENDED
    while (state := states.get(timeout=PATIENCE)) != KazooState.LOST:
        assert state == KazooState.SUSPENDED
    with pytest.raises((SessionExpiredError, ConnectionLoss)):
        lost.get("/ephemeral")
    lost.stop()
    other.stop()
    doomed.stop()
    aws.close()


def silence(gateway: GatewayThread) -> None:
    """Its calls end nowhere, from now on; its machine is cut off from AWS."""

    async def cut(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    gateway._aws.call = cut  # type: ignore[attr-defined]  # pyright: ignore
