"""A session by hand with ZooKeeper's own command line, zkCli.sh of Debian's package."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

ZKCLI = Path("/usr/share/zookeeper/bin/zkCli.sh")
_SECONDS = 60


class Cli:
    """A running zkCli.sh. What it prints is awaited in its order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._printed = ""
        self._more = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def says(self, pattern: str) -> str:
        """The first match, after the one before."""
        found: re.Match[str] | None = None

        def matches() -> bool:
            nonlocal found
            found = re.search(pattern, self._printed)
            return found is not None

        with self._more:
            assert self._more.wait_for(matches, _SECONDS), f"zkCli.sh did not print {pattern!r} but {self._printed!r}"
            assert found is not None
            self._printed = self._printed[found.end() :]
            return found[0]

    def do(self, command: str, pattern: str) -> str:
        """Types the command; what it then prints must match."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.says(pattern)

    def _read(self) -> None:
        assert self.process.stdout is not None
        while text := os.read(self.process.stdout.fileno(), 65536):
            with self._more:
                self._printed += text.decode(errors="replace")
                self._more.notify_all()


@contextmanager
def zkcli(server: str, timeout: int = 30_000) -> Generator[Cli]:
    """A zkCli.sh that has a session."""
    process = subprocess.Popen(
        [ZKCLI, "-server", server, "-timeout", str(timeout)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        cli = Cli(process)
        cli.says("WatchedEvent state:SyncConnected")
        yield cli
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def by_hand(first: str, second: str, restart: Callable[[], None]) -> None:
    """``restart`` is of the first server. Raises AssertionError, with what zkCli.sh printed instead."""
    with zkcli(first) as one, zkcli(second) as two:
        one.do("create /hand hello", "Created /hand")
        two.do("sync /", "Sync is OK")
        two.do("get -w /hand", "hello")
        one.do("set -s /hand world", r"dataVersion = 1")
        two.says(r"WatchedEvent state:SyncConnected type:NodeDataChanged path:/hand")
        one.do("set -v 0 /hand again", "version No is not valid")
        one.do("create -s /hand/s- x", r"Created /hand/s-0000000000")
        one.do("create -t 100000 /hand/ttl x", "Created /hand/ttl")
        one.do("create -c /hand/container", "Created /hand/container")
        two.do("addWatch -m PERSISTENT_RECURSIVE /hand", "")
        two.do("ls /hand", r"\[container, s-0000000000, ttl\]")
        one.do("create /hand/container/deep", "Created")
        two.says("type:NodeCreated path:/hand/container/deep")
        one.do("setquota -n 10 /hand", "")
        one.do("create /hand/counted 12345", "Created")
        one.do("listquota /hand", r"Output stat for /hand count=6,bytes=12")
        one.do("getAllChildrenNumber /hand", r"\n5\n")
        one.do("getAcl /hand", r"'world,'anyone\s+: cdrwa")
        one.do("delete /hand", "Node not empty: /hand")
        one.do("create -e /hand/mine", "Created /hand/mine")
        one.do("getEphemerals", r"\[/hand/mine\]")
        two.do("stat /hand/mine", r"ephemeralOwner = 0x[1-9a-f]")
        one.do("get -w /hand/counted", "12345")
        restart()
        one.says("state:Disconnected")
        one.says("state:SyncConnected")
        two.do("set /hand/counted changed", "")
        one.says("type:NodeDataChanged path:/hand/counted")
        one.do("getEphemerals", r"\[/hand/mine\]")
        one.do("quit", "")
        two.says("type:NodeDeleted path:/hand/mine")
        two.do("deleteall /hand", "")
        two.do("ls /", r"\[zookeeper\]|\[.*zookeeper.*\]")
    with zkcli(first, timeout=4000) as stopped, zkcli(second) as watching:
        stopped.do("create -e /expires", "Created /expires")
        watching.do("stat -w /expires", "ephemeralOwner")
        os.killpg(stopped.process.pid, signal.SIGSTOP)
        watching.says("type:NodeDeleted path:/expires")
        os.killpg(stopped.process.pid, signal.SIGCONT)
        stopped.says("state:Expired")
