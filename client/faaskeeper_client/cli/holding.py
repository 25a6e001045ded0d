"""``lock`` and ``elect``: a command of the user's runs while kazoo's recipe holds a lock.

What holds a lock cannot be told in time that it has lost it, if it stands still or the network does: whatever it writes
to should refuse a token lower than one it has seen (docs/recipes.md). The command gets that token.
"""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from faaskeeper_client.addresses import Address
from faaskeeper_client.cli.endpoint import Endpoint, takes_endpoint_without_timeout
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.parameters import COUNT, DURATION, SECONDS, ZNODE_PATH
from faaskeeper_client.cli.zookeeper import ServerUnreachable

TOKEN_VARIABLE = "FAASKEEPER_FENCING_TOKEN"
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_BY_TERMINALS = (signal.SIGINT, signal.SIGQUIT)
_NOT_FOUND, _BY_SIGNAL = 127, 128
"""Exit statuses of a shell's."""


def _takes_command(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.argument("path", type=ZNODE_PATH),
        click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND..."),
        click.option("--timeout", "wait", type=SECONDS, metavar="S", help="Give up after so many seconds of waiting."),
        click.option("--no-wait", is_flag=True, help="Give up at once if it is not free."),
        click.option(
            "--session-timeout",
            type=DURATION,
            default="10s",
            show_default=True,
            help="After how long without a sign of life another may have it.",
        ),
        click.option(
            "--grace",
            type=SECONDS,
            default=5.0,
            show_default=True,
            metavar="S",
            help="Seconds between TERM and KILL for a COMMAND whose session is lost.",
        ),
    )
    command = takes_endpoint_without_timeout(command)
    for option in reversed(options):
        command = option(command)
    return command


_EPILOG = (
    f"COMMAND finds a fencing token in ${TOKEN_VARIABLE}: whoever holds PATH later has a higher one. Signals are "
    "passed on to it. Exit status: that of COMMAND, 128+N if signal N ended it, 127 if there is none; 1 if it was "
    "not run, 3 if the server cannot be reached or the session was lost."
)


@click.command(epilog=_EPILOG)
@click.option("--semaphore", type=COUNT, metavar="N", help="Share PATH among N holders; all have to name the same N.")
@_takes_command
def lock(
    endpoint: Endpoint,
    path: str,
    words: tuple[str, ...],
    semaphore: int | None,
    wait: float | None,
    no_wait: bool,
    session_timeout: int,
    grace: float,
) -> None:
    """Run COMMAND while holding a lock. If the session is lost, COMMAND is ended."""
    if semaphore == 0:
        raise click.UsageError("--semaphore 0: nobody could ever hold it")
    with endpoint.addresses() as addresses:
        held = _Contender(endpoint, addresses, path, session_timeout, semaphore)
        status = held.run(_command(words), None if no_wait else wait, not no_wait, grace)
    if status is None:
        raise ServerUnreachable(f"{path}: the session was lost, so COMMAND was ended")
    raise click.exceptions.Exit(status)


@click.command(epilog=_EPILOG)
@_takes_command
def elect(
    endpoint: Endpoint,
    path: str,
    words: tuple[str, ...],
    wait: float | None,
    no_wait: bool,
    session_timeout: int,
    grace: float,
) -> None:
    """Run COMMAND for as long as this leads. If the session is lost, COMMAND is ended and this stands again."""
    command = _command(words)
    status = None
    with endpoint.addresses() as addresses:
        while status is None:
            candidate = _Contender(endpoint, addresses, path, session_timeout, None)
            status = candidate.run(command, None if no_wait else wait, not no_wait, grace)
            if status is None:
                print(f"faaskeeper: {path}: leads no more, stands again", file=sys.stderr)
    raise click.exceptions.Exit(status)


def _command(words: Sequence[str]) -> list[str]:
    """Before anybody waits for a lock. Raises Exit."""
    if shutil.which(words[0]) is None:
        print(f"faaskeeper: {words[0]}: no such command", file=sys.stderr)
        raise click.exceptions.Exit(_NOT_FOUND)
    return list(words)


class _Contender:
    """One session that contends for ``path`` and runs a command when it has it; to be used once.

    Raises ServerUnreachable.
    """

    def __init__(
        self, endpoint: Endpoint, addresses: list[Address], path: str, session_timeout: int, leases: int | None
    ) -> None:
        from kazoo.client import KazooClient

        logging.getLogger("kazoo").setLevel(logging.CRITICAL)
        tls = endpoint.tls
        self._path = path
        self._name = ",".join(map(str, addresses))
        self._timeout = session_timeout / 1000
        self._patience = endpoint.patience
        self._lost = threading.Event()
        self._doubt: threading.Timer | None = None
        options: dict[str, Any] = {"timeout": self._timeout}
        if tls is not None:
            options |= {"use_ssl": True, "ca": tls.ca, "certfile": tls.cert, "keyfile": tls.key, "check_hostname": True}
        credentials = [("digest", each) for each in endpoint.credentials]
        self._client: Any = KazooClient(self._name, auth_data=credentials, **options)
        self._client.add_listener(self._follow)
        name = f"{socket.gethostname()}:{os.getpid()}"
        self._recipe: Any = (
            self._client.Lock(path, name) if leases is None else self._client.Semaphore(path, name, max_leases=leases)
        )
        self._is_lock = leases is None

    def run(self, command: list[str], wait: float | None, blocking: bool, grace: float) -> int | None:
        """The exit status of the command, None if it was ended because the session is lost. ``wait`` is in seconds.
        Raises CommandFailed if it is not free in time."""
        from kazoo.exceptions import KazooException, NoAuthError
        from kazoo.handlers.threading import KazooTimeoutError

        try:
            self._client.start(self._patience)
            self._acquire(wait, blocking)
            node = f"{self._path}/{self._recipe.node}" if self._is_lock else self._recipe.create_path
            token = self._client.get(node)[1].czxid
            return self._run_with(token, command, grace)
        except KazooTimeoutError:
            raise ServerUnreachable(f"cannot reach {self._name} within {self._patience:g} s") from None
        except NoAuthError:
            raise CommandFailed(f"{self._path}: its ACL does not allow this") from None
        except KazooException as error:
            raise ServerUnreachable(f"{self._path}: {type(error).__name__} {error}".rstrip()) from error
        finally:
            self._client.stop()
            self._client.close()

    def _acquire(self, wait: float | None, blocking: bool) -> None:
        from kazoo.exceptions import LockTimeout

        try:
            gotten = self._recipe.acquire(blocking=blocking, timeout=wait)
        except LockTimeout:
            gotten = False
        except ValueError as error:  # another number of leases is in the znode
            raise CommandFailed(f"{self._path}: {error}") from None
        if not gotten:
            others = ", ".join(self._recipe.contenders() if self._is_lock else self._recipe.lease_holders())
            raise CommandFailed(f"{self._path}: not free{f', but held or waited for by {others}' if others else ''}")

    def _run_with(self, token: int, command: list[str], grace: float) -> int | None:
        environment = {**os.environ, TOKEN_VARIABLE: str(token)}
        process: subprocess.Popen[bytes] | None = None

        def pass_on(number: int, frame: FrameType | None) -> None:
            if process is not None and not (number in _BY_TERMINALS and _in_foreground()):
                process.send_signal(number)

        with _handled(pass_on):
            process = subprocess.Popen(command, env=environment)
            threading.Thread(target=self._end_if_lost, args=(process, grace), daemon=True).start()
            status = process.wait()
        if self._lost.is_set():
            return None
        return status if status >= 0 else _BY_SIGNAL - status

    def _end_if_lost(self, process: subprocess.Popen[bytes], grace: float) -> None:
        self._lost.wait()
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()

    def _follow(self, state: str) -> None:
        """kazoo suspends a connection that was silent for two thirds of the timeout: after the last third the session
        may be another's."""
        from kazoo.client import KazooState

        if self._doubt is not None:
            self._doubt.cancel()
        if state == KazooState.LOST:
            self._lost.set()
        elif state == KazooState.SUSPENDED:
            self._doubt = threading.Timer(self._timeout / 3, self._lost.set)
            self._doubt.daemon = True
            self._doubt.start()


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _in_foreground() -> bool:
    """Whether a terminal's Ctrl-C reaches the command too, without our help."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)
