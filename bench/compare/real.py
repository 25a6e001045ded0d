"""Stock kazoo on a real ZooKeeper and on gateways of the embedded cloud, one after the other on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from kazoo.client import KazooClient

from faaskeeper_client.local import EmbeddedCloud
from tests.conformance.servers import NoOracle, zookeeper

SECONDS = 4.0
"""For each operation, and for each number of clients."""
CLIENTS = 8
_DATA = b"x" * 100
_SERVICE = "compare"
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Measured:
    """What one client at a time saw: ``seconds`` of each operation, by name; and operations a second of CLIENTS
    clients together, by name."""

    alone: Mapping[str, Sequence[float]]
    together: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """``hosts`` are spread over the clients."""

    name: str
    hosts: Sequence[str]


def measure() -> Generator[tuple[str, Measured | str]]:
    """By place; a text says why a place is left out."""
    try:
        with zookeeper() as address:
            yield "ZooKeeper 3.9.5", _measured([str(address)])
    except NoOracle as error:
        yield "ZooKeeper 3.9.5", f"left out: {error}"
    with EmbeddedCloud() as cloud:
        cloud.deploy(_SERVICE)
        uncached = ("--cache-bytes", "0") if _has_cache() else ()
        with _gateway(cloud, *uncached) as first:
            yield "one gateway", _measured([first])
            with _gateway(cloud, *uncached) as second:
                yield "two gateways", _measured([first, second])
        if not uncached:
            yield "with its cache", "left out: this gateway has no cache"
            return
        with _gateway(cloud) as cached:
            yield "with its cache", _measured([cached])


def _has_cache() -> bool:
    said = subprocess.run([*_COMMAND, "--help"], capture_output=True, text=True, check=True)
    return "--cache-bytes" in said.stdout


_COMMAND = (sys.executable, "-m", "faaskeeper_client.cli", "gateway")


@contextmanager
def _gateway(cloud: EmbeddedCloud, *options: str) -> Generator[str]:
    """A process of its own, as beside an application; its address."""
    process = subprocess.Popen(
        [*_COMMAND, "--service", _SERVICE, "--listen", "127.0.0.1:0", *options],
        env=os.environ | cloud.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"the gateway did not start: {line!r}")
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait(30)


def _measured(hosts: Sequence[str]) -> Measured:
    with ExitStack() as stack:
        clients = [stack.enter_context(_client(hosts[number % len(hosts)])) for number in range(CLIENTS)]
        first = clients[0]
        if first.exists("/compare"):
            first.delete("/compare", recursive=True)
        first.create("/compare", _DATA)
        for number in range(CLIENTS):
            first.create(f"/compare/of-{number}", _DATA)
        alone: dict[str, Sequence[float]] = {}
        for name, step in _steps(first):
            # a delete takes what a create made before
            alone[name] = _alone(step, len(alone["create"]) if name == "delete" else _MOST)
        together = {
            "get": _together(clients, lambda client, number: client.get(f"/compare/of-{number}")),
            "set": _together(clients, lambda client, number: client.set(f"/compare/of-{number}", _DATA)),
        }
    return Measured(alone, together)


@contextmanager
def _client(hosts: str) -> Generator[KazooClient]:
    client = KazooClient(hosts, timeout=30)
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


def _steps(client: KazooClient) -> Sequence[tuple[str, Callable[[int], object]]]:
    def multi(number: int) -> object:
        transaction = client.transaction()
        for part in range(5):
            transaction.set_data(f"/compare/of-{part}", _DATA)
        return transaction.commit()

    return (
        ("create", lambda number: client.create(f"/compare/node-{number}", _DATA)),
        ("create, ephemeral", lambda number: client.create(f"/compare/eph-{number}", _DATA, ephemeral=True)),
        ("set", lambda number: client.set("/compare", _DATA)),
        ("multi of five sets", multi),
        ("get", lambda number: client.get("/compare")),
        ("exists", lambda number: client.exists("/compare/of-1")),
        ("getChildren", lambda number: client.get_children("/compare/of-1")),
        ("delete", lambda number: client.delete(f"/compare/node-{number}")),
    )


def _alone(step: Callable[[int], object], most: int) -> Sequence[float]:
    """Seconds of each, for a while and ``most`` times at most, without the first, which opens connections."""
    seconds: list[float] = []
    deadline = time.monotonic() + SECONDS / 2
    while (began := time.monotonic()) < deadline and len(seconds) < most:
        step(len(seconds))
        seconds.append(time.monotonic() - began)
    return seconds[1:]


def _together(clients: Sequence[KazooClient], step: Callable[[Any, int], object]) -> float:
    """Operations a second."""
    counts = [0] * len(clients)
    over = time.monotonic() + SECONDS

    def work(number: int) -> None:
        while time.monotonic() < over:
            step(clients[number], number)
            counts[number] += 1

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=[number]) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)
