"""How many gets a second one kazoo client has from one gateway, which answers them from memory, beside a ZooKeeper
3.9.5 on the same machine: ``python -m bench.reads``, or ``make bench-reads``.

Both serve in processes of their own, and take turns, so that whatever else the machine does meets both.
"""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient

from tests.conformance.servers import free_port, zookeeper

_PATH = "/configuration"
_DATA = b"x" * 100
_WINDOW = 100
"""Pipelined gets under way."""
_LONGEST_START = 120


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.reads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    options = parser.parse_args()
    with _gateway() as ours, zookeeper() as theirs, _client(ours) as gateway, _client(str(theirs)) as server:
        print(f"gets of {len(_DATA)} bytes a second, median of {options.rounds} rounds of {options.seconds} s\n")
        print(f"{'':24} {'FaaSKeeper':>11} {'ZooKeeper':>11} {'part':>6}")
        for name, measure in (("one at a time", _one_by_one), (f"pipelined, {_WINDOW} at once", _pipelined)):
            rates: dict[Any, list[float]] = {gateway: [], server: []}
            for client in (gateway, server):
                measure(client, options.seconds / 4)
            for _ in range(options.rounds):
                for client, found in rates.items():
                    found.append(measure(client, options.seconds))
            here, there = (statistics.median(found) for found in rates.values())
            print(f"{name:24} {here:11.0f} {there:11.0f} {here / there:6.0%}", flush=True)


def _one_by_one(client: Any, seconds: float) -> float:
    return _rate(lambda: [client.get(_PATH)], seconds)


def _pipelined(client: Any, seconds: float) -> float:
    def window() -> list[Any]:
        waiting = [client.get_async(_PATH) for _ in range(_WINDOW)]
        return [each.get() for each in waiting]

    return _rate(window, seconds)


def _rate(some: Callable[[], list[Any]], seconds: float) -> float:
    done, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        done += len(some())
    return done / (time.monotonic() - began)


@contextmanager
def _client(hosts: str) -> Generator[Any]:
    client = KazooClient(hosts)
    client.start()
    client.ensure_path(_PATH)
    client.set(_PATH, _DATA)
    try:
        yield client
    finally:
        client.stop()
        client.close()


@contextmanager
def _gateway() -> Generator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "faaskeeper_client.cli", "local", "--listen", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line.strip() != f"ready {address}":
                raise SystemExit(f"the gateway did not start: {line!r}")
            yield address
        finally:
            process.terminate()
            process.wait(_LONGEST_START)


if __name__ == "__main__":
    main()
