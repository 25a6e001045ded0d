"""Spark's standalone masters with recoveryMode ZOOKEEPER: a leader latch of Curator, and the cluster's state as znodes.

Two masters, a worker and an application. The leader is killed: the other reads workers and applications from the
znodes, the application goes on, and a new one is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faaskeeper_client.addresses import Address
from tests.foreign import Wrong, need, python_with, run
from tests.systems.daemon import Daemon, answer, beside, free_port, running, until
from tests.systems.stage import Stage

PROGRAMS = Path(__file__).parent / "programs"
VERSION = "4.3.0"
_LONGEST_START = 180
_LONGEST_FAILOVER = 120
"""Seconds: Spark asks for a session of 60 s and is granted 40; then the new leader asks workers and applications."""


def spark(stage: Stage) -> str:
    need(shutil.which("java") is not None, "apt-get install openjdk-17-jre-headless")
    python = python_with(stage.scratch, f"spark-{VERSION}", f"pyspark=={VERSION}")
    home = Path(run(stage.scratch, python, "-c", "import pyspark; print(pyspark.__path__[0])").strip())
    idle: list[str] = []

    def scenario(server: Address) -> str:
        return _scenario(stage, python, home, server, idle)

    said = beside(stage, scenario)
    return f"Spark {VERSION} (Curator 5.9.0): {said}. Idle: {idle[0]}"


@dataclass
class _Master:
    daemon: Daemon
    ui: int
    port: int = field(default_factory=free_port)

    def state(self) -> dict[str, Any]:
        """What its web port says; {} if nothing."""
        return answer(f"http://127.0.0.1:{self.ui}/json/") or {}

    def leads(self) -> bool:
        """With its worker at work."""
        state = self.state()
        return state.get("status") == "ALIVE" and any(each["state"] == "ALIVE" for each in state["workers"])


def _scenario(stage: Stage, python: Path, home: Path, server: Address, idle: list[str]) -> str:
    folder = stage.scratch / f"spark-{server.port}"
    folder.mkdir()
    masters = [_master(folder, python, home, server, name) for name in ("first", "second")]
    url = f"spark://{','.join(f'127.0.0.1:{master.port}' for master in masters)}"
    worker = _daemon(
        folder,
        python,
        home,
        server,
        "worker",
        "worker.Worker",
        *("--cores", 2, "--memory", "1g", "--webui-port", 0, url),
    )
    daemons = [master.daemon for master in masters] + [worker]
    with running(*daemons):
        leader = until(
            "a leader with a worker",
            lambda: next((master for master in masters if master.leads()), None),
            _LONGEST_START,
            daemons,
        )
        other = masters[1] if leader is masters[0] else masters[0]
        until("a standby", lambda: other.state().get("status") == "STANDBY", _LONGEST_START, daemons)
        if not idle:
            idle.append(stage.bill_of(lambda: time.sleep(stage.idle_seconds)))
        with _application(folder, python, url) as jobs:
            _sum(jobs, 1000)
            leader.daemon.kill()
            began = time.monotonic()
            until("the standby leads", other.leads, _LONGEST_FAILOVER, daemons)
            took = time.monotonic() - began
            _sum(jobs, 2000)
            if not any(each["name"] == "jobs" for each in other.state()["activeapps"]):
                raise Wrong(f"the new leader does not know the application: {other.state()}")
        until("the application is over", lambda: not other.state()["activeapps"], 30, daemons)
        with _application(folder, python, url) as jobs:
            _sum(jobs, 3000)
    return (
        f"two masters, the leader killed and the standby leading {took:.0f} s later with worker and application, which "
        "went on; a new application taken"
    )


def _master(folder: Path, python: Path, home: Path, server: Address, name: str) -> _Master:
    port, ui = free_port(), free_port()
    arguments = ("--host", "127.0.0.1", "--port", port, "--webui-port", ui)
    return _Master(_daemon(folder, python, home, server, name, "master.Master", *arguments), ui, port)


def _daemon(
    folder: Path, python: Path, home: Path, server: Address, name: str, program: str, *arguments: object
) -> Daemon:
    options = {
        "spark.deploy.recoveryMode": "ZOOKEEPER",
        "spark.deploy.zookeeper.url": server,
        "spark.deploy.zookeeper.dir": "/spark",
    }
    return Daemon(
        folder / f"{name}.log",
        (home / "bin" / "spark-class", f"org.apache.spark.deploy.{program}", *arguments),
        {
            "SPARK_HOME": home,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_JAVA_OPTS": " ".join(f"-D{key}={value}" for key, value in options.items()),
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_WORKER_DIR": folder / "work",
            "PYSPARK_PYTHON": python,
        },
    )


@contextmanager
def _application(folder: Path, python: Path, url: str) -> Generator[subprocess.Popen[str]]:
    with (folder / "application.log").open("a") as log:
        jobs = subprocess.Popen(
            [python, PROGRAMS / "spark_jobs.py", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env=os.environ | {"PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"},
        )
        try:
            yield jobs
            _, _ = jobs.communicate(timeout=60)
        finally:
            jobs.kill()
            jobs.wait()


def _sum(jobs: subprocess.Popen[str], number: int) -> None:
    """A job, whose executor is started at the first. Raises Wrong if it is not done, or wrongly."""
    assert jobs.stdin is not None
    assert jobs.stdout is not None
    jobs.stdin.write(f"{number}\n")
    jobs.stdin.flush()
    said = jobs.stdout.readline()
    if said.strip() != str(sum(range(number))):
        raise Wrong(f"a job of the application said {said!r}")
