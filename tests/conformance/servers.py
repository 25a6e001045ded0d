"""What is judged, and the real ZooKeeper it is compared with: started on loopback, gone at the end."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import Service
from faaskeeper_client.addresses import Address
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.environment import cache_directory, locked
from tests.conformance.judges import KIT

SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
"""The probe's super user: super:test."""
NO_JANITOR = {"janitor_interval_minutes": 24 * 60}
"""While two servers are compared, neither may remove containers at a moment of its own."""
LOOPBACK = "127.0.0.1"
_SCRIPT = KIT / "zookeeper" / "zookeeper.sh"
_LONGEST_START = 60
_LONGEST_INSTALLATION = 600


class NoOracle(Exception):
    """A real ZooKeeper cannot be had here; the message says why."""


@contextmanager
def gateways(cloud: EmbeddedCloud, service: Service, account: str, number: int) -> Generator[list[Address]]:
    """That many gateways of a service, each with an AWS client of its own."""
    with ExitStack() as stack:
        addresses: list[Address] = []
        for _ in range(number):
            aws = BotoAws(session=cloud.session(account))
            stack.callback(aws.close)
            addresses.append(stack.enter_context(GatewayThread(aws, service)).address)
        yield addresses


@contextmanager
def zookeeper() -> Generator[Address]:
    """A ZooKeeper 3.9.5 with an empty tree, installed at first use. Raises NoOracle."""
    install()
    address = Address(LOOPBACK, free_port())
    name = f"conformance-{address.port}"
    _zookeeper("start", name, str(address.port), "3.9", seconds=_LONGEST_START)
    try:
        yield address
    finally:
        _zookeeper("stop", name, seconds=_LONGEST_START)
        shutil.rmtree(oracle_home() / name, ignore_errors=True)


class Spread:
    """One address for several servers: each connection goes to the next of them, as clients of an ensemble do."""

    def __init__(self, targets: Sequence[Address]) -> None:
        self._targets = itertools.cycle(targets)
        self._address: Future[Address] = Future()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()], name="spread")

    @property
    def address(self) -> Address:
        return self._address.result()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, LOOPBACK, 0, backlog=1024)
        self._address.set_result(Address(*server.sockets[0].getsockname()[:2]))
        await self._over.wait()
        server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = next(self._targets)
        try:
            far_reader, far_writer = await asyncio.open_connection(target.host, target.port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        for end in ends:
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends |= ends
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._ends -= ends


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def install() -> None:
    """The jars, at first use. Raises NoOracle."""
    if shutil.which("java") is None:
        raise NoOracle("no Java to run ZooKeeper with: install a Java 17 runtime")
    with locked(cache_directory() / "zookeeper"):
        _zookeeper("install", "3.9", seconds=_LONGEST_INSTALLATION)


def _zookeeper(*arguments: str, seconds: float) -> None:
    # output goes to a file: the server inherits it, and a pipe would stay open as long as it runs
    home = oracle_home()
    home.mkdir(parents=True, exist_ok=True)
    log = home / f"{'-'.join(arguments[:2])}.log"
    try:
        with log.open("w") as output:
            subprocess.run(
                [_SCRIPT, *arguments],
                env=os.environ | {"ZK_RUN": str(home), "FRESH": "1", "FSYNC": "no", "CONTAINER_MS": "86400000"},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoOracle(f"ZooKeeper 3.9.5: {error}: {log.read_text(errors='replace').strip()}") from error
    log.unlink()


def oracle_home() -> Path:
    """Outside the clone's own environment: the download is large, and the same for all."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "zookeeper-oracle")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
