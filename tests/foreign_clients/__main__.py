"""Clients that others wrote, in other languages, unmodified: each with one connection to each of two gateways.

What is not installed is left out, with the reason: ``apt-get install`` and ``npm``, or ``pip``, as printed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.addresses import Address
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.environment import cache_directory, locked
from tests.foreign import NotHere, Wrong, need, python_with, run
from tests.foreign_clients.zkcli import ZKCLI, by_hand

PROGRAMS = Path(__file__).parent / "programs"
JARS = [
    Path("/usr/share/java", f"{name}.jar")
    for name in (
        *("curator-client", "curator-framework", "curator-recipes", "zookeeper", "zookeeper-jute"),
        *("guava", "slf4j-api", "slf4j-nop"),
    )
]
_OF_CURATOR = (
    "curator-",
    "zookeeper-",
    "guava-",
    "failureaccess-",
    "slf4j-api-",
    "commons-io-",
    "metrics-core-",
    "netty-",
)
GO_PATH = Path("/usr/share/gocode")


@dataclass(frozen=True, slots=True)
class Place:
    """Where clients run: a scratch folder, the addresses of two gateways, and how to restart the first."""

    scratch: Path
    addresses: tuple[Address, Address]
    restart: Callable[[], None]


def zkcli(place: Place) -> str:
    need(ZKCLI.exists(), "apt-get install zookeeper")
    by_hand(*map(str, place.addresses), place.restart)
    return "a session by hand: nodes, watches, quotas, ephemerals; its gateway restarted; expiry of a stopped client"


def curator(place: Place) -> str:
    need(shutil.which("javac") is not None, "apt-get install openjdk-17-jdk-headless")
    need(all(jar.exists() for jar in JARS), "apt-get install libcurator-recipes-java libslf4j-java")
    run(place.scratch, "java", "-cp", ":".join(map(str, JARS)), PROGRAMS / "Curator.java", *place.addresses)
    return "nodes, transactions, locks, semaphore, counters, three caches, group, latch, double barrier"


def newer_curator(place: Place) -> str:
    """Spark's Python package carries the jars of the newest, and a ZooKeeper 3.9.5 client."""
    need(shutil.which("javac") is not None, "apt-get install openjdk-17-jdk-headless")
    python = python_with(place.scratch, "spark-4.3.0", "pyspark==4.3.0")
    home = Path(run(place.scratch, python, "-c", "import pyspark; print(pyspark.__path__[0])").strip())
    found = [jar for jar in (home / "jars").glob("*.jar") if jar.name.startswith(_OF_CURATOR)]
    run(place.scratch, "java", "-cp", ":".join(map(str, found)), PROGRAMS / "Curator.java", *place.addresses)
    return "Curator 5.9.0: the same again"


def kazoo_gevent(place: Place) -> str:
    return _kazoo(place, "gevent", "gevent==26.9.0")


def kazoo_eventlet(place: Place) -> str:
    return _kazoo(place, "eventlet", "eventlet==0.41.3")


def _kazoo(place: Place, handler: str, package: str) -> str:
    python = python_with(place.scratch, f"kazoo-{handler}", "kazoo==2.11.0", package)
    run(place.scratch, python, PROGRAMS / "kazoo_handlers.py", handler, *place.addresses)
    return f"kazoo 2.11.0, {package}: nodes, versions, watches, 50 writes under way, transaction, lock, ephemerals"


def c(place: Place) -> str:
    need(shutil.which("gcc") is not None, "apt-get install gcc")
    need(Path("/usr/include/zookeeper/zookeeper.h").exists(), "apt-get install libzookeeper-mt-dev")
    program = place.scratch / "native"
    run(place.scratch, "gcc", "-DTHREADED", "-o", program, PROGRAMS / "native.c", "-lzookeeper_mt", "-lpthread")
    run(place.scratch, program, *place.addresses)
    return "nodes, watches, sequences, create2, multi, ACLs, ephemerals"


def go(place: Place) -> str:
    need(shutil.which("go") is not None, "apt-get install golang-go")
    need((GO_PATH / "src/github.com/samuel").exists(), "apt-get install golang-github-samuel-go-zookeeper-dev")
    environment = {"GOPATH": GO_PATH, "GO111MODULE": "off", "GOCACHE": place.scratch / "go"}
    run(place.scratch, "go", "run", PROGRAMS / "native.go", *place.addresses, environment=environment)
    return "nodes, watches, protected sequences, multi, ACLs, its lock among four"


def node(place: Place) -> str:
    _node(place, "node-zookeeper-client@1.1.3", "node_client.js")
    return "nodes, mkdirp, watches, sequences, transactions, ACLs, ephemerals"


def node_addon(place: Place) -> str:
    _node(place, "zookeeper@7.3.0", "zookeeper_client.js")
    return "nodes, versions, watches, sequences, ephemerals"


def _node(place: Place, package: str, program: str) -> None:
    need(shutil.which("npm") is not None, "install Node.js")
    folder = cache_directory() / package.replace("@", "-")
    with locked(folder):
        if not folder.exists():
            made = place.scratch / folder.name
            run(place.scratch, "npm", "install", "--no-audit", "--no-fund", "--prefix", made, package)
            made.rename(folder)
    run(place.scratch, "node", PROGRAMS / program, *place.addresses, environment={"NODE_PATH": folder / "node_modules"})


def aiozk(place: Place) -> str:
    python = python_with(place.scratch, "aiozk", "aiozk==0.32.0")
    run(place.scratch, python, PROGRAMS / "aiozk_client.py", *place.addresses)
    return "nodes, versions, sequences, transaction, double barrier, ephemerals"


CLIENTS: Sequence[Callable[[Place], str]] = (
    zkcli,
    curator,
    newer_curator,
    c,
    go,
    node,
    node_addon,
    aiozk,
    kazoo_gevent,
    kazoo_eventlet,
)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if no client that is here found anything wrong."""
    names = [client.__name__ for client in CLIENTS]
    parser = argparse.ArgumentParser(prog="make clients", description=__doc__)
    parser.add_argument("client", nargs="*", choices=[*names, []], help=f"those to run ({', '.join(names)})")
    chosen = parser.parse_args(arguments).client
    wrong = False
    with ExitStack() as stack:
        cloud = stack.enter_context(EmbeddedCloud())
        service = cloud.deploy("clients")
        aws = BotoAws(session=cloud.session())
        stack.callback(aws.close)
        gateways = [GatewayThread(aws, service).start() for _ in range(2)]
        stack.callback(lambda: [gateway.stop() for gateway in gateways])
        first, second = (gateway.address for gateway in gateways)

        def restart() -> None:
            gateways[0].stop()
            gateways[0] = GatewayThread(aws, service, first).start()

        place = Place(Path(stack.enter_context(TemporaryDirectory())), (first, second), restart)
        for client in CLIENTS:
            if chosen and client.__name__ not in chosen:
                continue
            began = time.monotonic()
            try:
                result = f"{client(place)}: as with a ZooKeeper, {time.monotonic() - began:.0f} s"
            except NotHere as reason:
                result = f"left out: {reason}"
            except (Wrong, AssertionError) as error:
                wrong, result = True, f"WRONG: {error}"
            print(f"{client.__name__:<15}{result}", flush=True)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
