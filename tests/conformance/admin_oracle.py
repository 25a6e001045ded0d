"""A real ZooKeeper 3.9.5 with its AdminServer, which needs Jetty and Jackson beside the jars of the kit: Debian's."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from faaskeeper_client.addresses import Address
from faaskeeper_client.local.environment import cache_directory, locked
from tests.conformance.servers import LOOPBACK, NoOracle, free_port, install, oracle_home

_PACKAGES = (
    "libjetty9-java",
    "libservlet-api-java",
    "libjackson2-core-java",
    "libjackson2-databind-java",
    "libjackson2-annotations-java",
)
_JARS = (
    *(f"jetty9-{part}.jar" for part in ("http", "io", "security", "server", "servlet", "util", "util-ajax")),
    "servlet-api.jar",
    *(f"jackson-{part}.jar" for part in ("annotations", "core", "databind")),
)
_LONGEST_START = 60.0
_PAUSE = 0.05


@contextmanager
def zookeeper_with_admin() -> Generator[tuple[Address, Address]]:
    """Where its clients connect to, and where its AdminServer listens. Raises NoOracle."""
    install()
    jars = _admin_jars()
    clients, admin = Address(LOOPBACK, free_port()), Address(LOOPBACK, free_port())
    home = oracle_home() / f"admin-{clients.port}"
    shutil.rmtree(home, ignore_errors=True)
    (home / "conf").mkdir(parents=True)
    configuration = home / "conf" / "zoo.cfg"
    configuration.write_text(
        f"tickTime=2000\ndataDir={home}/data\nclientPort={clients.port}\nclientPortAddress={LOOPBACK}\n"
        f"maxClientCnxns=0\nextendedTypesEnabled=true\n4lw.commands.whitelist=*\n"
        f"admin.enableServer=true\nadmin.serverAddress={LOOPBACK}\nadmin.serverPort={admin.port}\n"
    )
    classpath = ":".join([f"{oracle_home() / 'jars-3.9'}/*", *map(str, jars)])
    command = ["java", "-Xmx256m", "-Djava.awt.headless=true", "-Dzookeeper.forceSync=no", "-cp", classpath]
    log = home / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "org.apache.zookeeper.server.ZooKeeperServerMain", str(configuration)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _await(server, admin, log)
        yield clients, admin
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def _await(server: subprocess.Popen[bytes], admin: Address, log: Path) -> None:
    deadline = time.monotonic() + _LONGEST_START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{admin}/commands/ruok", timeout=1) as answer:
                if b'"error" : null' in answer.read():
                    return
        except OSError:
            pass
        time.sleep(_PAUSE)
    raise NoOracle(f"ZooKeeper 3.9.5 with AdminServer does not start: {log.read_text(errors='replace')[-2000:]}")


def _admin_jars() -> list[Path]:
    """Unpacked into the cache: nothing is installed on this machine."""
    folder = cache_directory() / "admin-server-jars"
    complete = folder / "complete"
    with locked(folder):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                _run("apt-get", "download", *_PACKAGES, folder=folder)
                for package in folder.glob("*.deb"):
                    _run("dpkg", "-x", package.name, ".", folder=folder)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
                raise NoOracle(f"AdminServer's jars are Debian's {', '.join(_PACKAGES)}: {reason}") from error
            complete.touch()
    return [folder / "usr" / "share" / "java" / name for name in _JARS]


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
