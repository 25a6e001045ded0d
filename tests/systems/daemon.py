"""Programs of a system that run on until they are told to end, or killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from faaskeeper_client.addresses import Address
from tests.foreign import Wrong
from tests.systems.stage import Stage

T = TypeVar("T")

_PATIENCE = 30
"""Seconds for a program to end that was told to."""


class Daemon:
    """A process group of its own, with a log that later starts continue."""

    def __init__(self, log: Path, command: Sequence[object], environment: Mapping[str, object] | None = None) -> None:
        self.log = log
        self._command = [str(part) for part in command]
        self._environment = {name: str(value) for name, value in (environment or {}).items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | self._environment,
                stdout=output,
                stderr=output,
                cwd=self.log.parent,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As a machine that loses its power."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is None or self.ended:
            return
        try:
            self._signal(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def end_of_log(self) -> str:
        return f"--- {self.log.name}\n{self.log.read_text(errors='replace')[-3000:]}"

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(_PATIENCE)


@contextmanager
def running(*daemons: Daemon) -> Generator[None]:
    """They are started, and at the end none is left."""
    try:
        for daemon in daemons:
            daemon.start()
        yield
    finally:
        for daemon in daemons:
            daemon.stop()


def until(what: str, condition: Callable[[], T | None], seconds: float, daemons: Sequence[Daemon]) -> T:
    """What ``condition`` finds. Raises Wrong, with the ends of the logs, if it does not in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline or all(daemon.ended for daemon in daemons):
            logs = "\n".join(daemon.end_of_log() for daemon in daemons)
            raise Wrong(f"{what}: not within {seconds:.0f} s\n{logs}")
        time.sleep(0.1)
    return found


def answer(url: str | urllib.request.Request, data: bytes | None = None) -> Any:
    """What an HTTP port says, as JSON if it is; None if it cannot be asked or refuses."""
    try:
        with urllib.request.urlopen(url, data, timeout=10) as response:
            text = response.read().decode()
    except OSError:
        return None
    return json.loads(text) if text[:1] in ("{", "[") else text


def beside(stage: Stage, scenario: Callable[[Address], str]) -> str:
    """What ``scenario`` says with this service and, if one can be had, with a real ZooKeeper. Raises Wrong."""
    said = scenario(stage.address)
    oracle = stage.zookeeper
    if oracle is None:
        return f"{said}; no real ZooKeeper beside: {stage.no_zookeeper}"
    try:
        theirs = scenario(oracle)
    except Wrong as error:
        raise Wrong(f"{said}; but with ZooKeeper 3.9.5: {error}") from error
    return f"{said}; with ZooKeeper 3.9.5: {theirs}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
