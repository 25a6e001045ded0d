"""``faaskeeper local`` as a user runs it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

COMMAND = Path(sys.executable).with_name("faaskeeper")


@contextmanager
def local(*arguments: str, scratch: Path) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The running command and the address it printed."""
    process = subprocess.Popen(
        [COMMAND, "local", "--listen", "127.0.0.1:0", *arguments],
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready, _, address = process.stdout.readline().strip().partition(" ")
        assert ready == "ready"
        yield process, address
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


@contextmanager
def connected(address: str) -> Generator[KazooClient]:
    client = KazooClient(hosts=address)
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_it_is_told_to_stop_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with local(scratch=tmp_path) as (process, address):
        with connected(address) as client:
            client.create("/made", b"data")
            assert client.get("/made")[0] == b"data"
        process.send_signal(number)
        assert process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def test_told_to_stop_while_it_starts(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "local", "--listen", "127.0.0.1:0"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*/log")):  # the emulator is starting
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    assert process.wait(30) == 130
    assert list(tmp_path.iterdir()) == []


def test_data_outlives_the_process(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with local("--data", str(data), scratch=scratch) as (process, address):
        with connected(address) as client:
            client.create("/kept", b"small")
            client.create("/large", b"x" * 500_000)
            written = client.set("/kept", b"changed").mzxid
        process.terminate()
        assert process.wait(30) == 0
    with local("--data", str(data), scratch=scratch) as (process, address), connected(address) as client:
        value, stat = client.get("/kept")
        assert (value, stat.mzxid, stat.version) == (b"changed", written, 1)
        assert client.get("/large")[0] == b"x" * 500_000
        assert client.set("/kept", b"again").mzxid > written


def test_a_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            [COMMAND, "local", "--listen", address], capture_output=True, text=True, check=False, timeout=30
        )
    assert result.returncode == 1
    assert result.stderr == f"faaskeeper: cannot listen on {address}: Address already in use\n"
    assert result.stdout == ""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
def test_tls_to_clients_with_a_certificate(tmp_path: Path) -> None:
    for name in ("server", "client", "stranger"):
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-subj", f"/CN={name}", "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"),
            ],
            capture_output=True,
            check=True,
        )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    server, key, trusted = (str(tmp_path / name) for name in ("server.pem", "server.key", "client.pem"))
    with local("--tls-cert", server, "--tls-key", key, "--tls-client-ca", trusted, scratch=scratch) as (_, address):

        def client(name: str) -> KazooClient:
            own = {"certfile": str(tmp_path / f"{name}.pem"), "keyfile": str(tmp_path / f"{name}.key")}
            return KazooClient(address, use_ssl=True, ca=server, verify_certs=True, **own)

        one = client("client")
        one.start()
        one.create("/large", b"x" * 900_000)
        assert one.get("/large")[0] == b"x" * 900_000
        one.stop()
        one.close()
        for other in (client("stranger"), KazooClient(address)):
            with pytest.raises(KazooTimeoutError):
                other.start(timeout=1)
            other.close()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--tls-cert", "a.pem"], 2, "TLS takes both --tls-cert and --tls-key (faaskeeper local --help)"),
        (["--tls-cert", "a.pem", "--tls-key", "b.pem"], 1, "no TLS with a.pem, b.pem: No such file or directory"),
    ],
)
def test_tls_that_cannot_be(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [COMMAND, "local", *arguments], capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path
    )
    assert (result.returncode, result.stderr) == (status, f"faaskeeper: {message}\n")
