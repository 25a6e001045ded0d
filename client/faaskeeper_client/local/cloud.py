"""The emulator as an object: started, deployed to, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Any, Self

import boto3.session

from faaskeeper.protocol.service import PARAMETER_PREFIX, Service
from faaskeeper_client.local import emulator
from faaskeeper_client.local.deploy import deploy
from faaskeeper_client.local.environment import emulator_python
from faaskeeper_client.local.errors import CloudError
from faaskeeper_client.local.synthesize import Assembly, synthesized

HOST = "127.0.0.1"
DEFAULT_ACCOUNT = "000000000000"
_STARTS = 3
_WITHOUT_ALARMS: dict[str, object] = {"alarms": False}
_LONGEST_START = 30.0
_LONGEST_STOP = 20.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs a Lambda function: ``function`` is its physical name."""

    pid: int
    function: str

    def kill(self) -> None:
        """As when the sandbox dies: nothing of the invocation under way survives but what it did elsewhere."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class EmbeddedCloud:
    """An AWS of its own on a free port of the loopback interface, as a context manager.

    ``data`` is a directory that keeps tables, queues and objects from one run to the next; without it nothing
    outlives ``stop``. Accounts (12 digits, used as access key) share nothing, so each test can have its own. With
    ``enforce_permissions`` the functions can do only what their roles allow.
    The emulator ends with this process, however that ends. Methods raise CloudError.
    """

    def __init__(
        self,
        *,
        data: Path | None = None,
        region: str = "us-east-1",
        account: str = DEFAULT_ACCOUNT,
        enforce_permissions: bool = False,
    ) -> None:
        self.region = region
        self.account = account
        self._data = data.resolve() if data else None
        self._enforce_permissions = enforce_permissions
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Path | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def environment(self, account: str | None = None) -> dict[str, str]:
        """The variables by which every AWS SDK and tool finds this cloud."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": account or self.account,
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    def session(self, account: str | None = None) -> CloudSession:
        """A session whose clients talk to this cloud, whatever the environment says."""
        return CloudSession(self.endpoint_url, account or self.account, self.region)

    def start(self) -> None:
        python = emulator_python()
        if self._data is not None:
            self._start(python, _port_kept_in(self._data))
            return
        for attempt in range(_STARTS):
            try:
                self._start(python, _free_port())
                return
            except CloudError:
                if attempt == _STARTS - 1:
                    raise

    def stop(self) -> None:
        """Saves what ``data`` keeps, and ends the emulator and all functions."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LONGEST_STOP)
            _kill_group(process.pid)
            process.wait()
        if self._scratch is not None:
            rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def prepare(self, name: str = "local", *, tier: str = "development", super_digest: str = "") -> None:
        """Makes the template that ``deploy`` with the same arguments takes, so that what it needs and is not installed
        is told of before anything is started."""
        synthesized(name, tier, _WITHOUT_ALARMS, super_digest)

    def deploy(
        self,
        name: str = "local",
        *,
        tier: str = "development",
        account: str | None = None,
        super_digest: str = "",
        **overrides: object,
    ) -> Service:
        """Deploys a service of that name, or brings it up to date. ``overrides`` are fields of the tier; without
        alarms unless they say otherwise, as the emulator has no metrics that could raise one, and no metric math."""
        assembly = synthesized(name, tier, _WITHOUT_ALARMS | overrides, super_digest)
        self.deploy_assembly(assembly, f"faaskeeper-{name}", account=account)
        parameter = self.session(account).client("ssm").get_parameter(Name=PARAMETER_PREFIX + name)
        return Service.from_json(parameter["Parameter"]["Value"])

    def deploy_assembly(self, assembly: Assembly, stack: str, *, account: str | None = None) -> None:
        """Deploys one stack of a cloud assembly that ``cdk synth`` wrote."""
        deploy(self.session(account), assembly, stack, account or self.account)

    def workers(self, function: str = "") -> list[Worker]:
        """The processes that run functions whose name contains ``function``. Linux only."""
        found: list[Worker] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            for argument in arguments:
                if argument.startswith(f"{self._scratch}/ministack-lambda-"):
                    # ministack-lambda-<function>-<random>/_worker.py
                    name = Path(argument).parent.name.removeprefix("ministack-lambda-").rsplit("-", 1)[0]
                    if function in name:
                        found.append(Worker(int(entry.name), name))
        return found

    @property
    def log(self) -> str:
        """What the emulator and failing functions printed."""
        return (self._scratch / "log").read_text(errors="replace") if self._scratch else ""

    def _start(self, python: Path, port: int) -> None:
        self._port = port
        try:
            with _uninterrupted():
                self._scratch = Path(tempfile.mkdtemp(prefix="faaskeeper-"))
                with (self._scratch / "log").open("wb") as log:
                    self._process = subprocess.Popen(
                        [str(python), "-I", emulator.__file__],
                        env=self._emulator_environment(),
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        cwd=self._scratch,
                        start_new_session=True,
                    )
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def _emulator_environment(self) -> dict[str, str]:
        # not ours: PYTHONPATH would let the functions find what their zip lacks, AWS_* would lead them elsewhere
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        variables = {
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(self._port),
            "MINISTACK_REGION": self.region,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "AUTH": str(self._enforce_permissions).lower(),
            "LOG_LEVEL": "WARNING",
            "TMPDIR": str(self._scratch),
        }
        if self._data is not None:
            variables |= {
                "PERSIST_STATE": "1",
                "STATE_DIR": str(self._data / "state"),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(self._data / "s3"),
            }
        return inherited | variables

    def _wait_until_healthy(self) -> None:
        process = self._process
        assert process is not None
        deadline = time.monotonic() + _LONGEST_START
        while True:
            if process.poll() is not None:
                raise CloudError(f"the emulator did not start on {HOST}:{self._port}:\n{self.log}")
            try:
                with urllib.request.urlopen(f"{self.endpoint_url}/_ministack/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    raise CloudError(
                        f"the emulator was not healthy within {_LONGEST_START:.0f} s:\n{self.log}"
                    ) from None
                time.sleep(0.02)


class CloudSession(boto3.session.Session):
    """A session of boto3 whose clients talk to an embedded cloud."""

    def __init__(self, endpoint_url: str, account: str, region: str) -> None:
        super().__init__(aws_access_key_id=account, aws_secret_access_key="embedded", region_name=region)
        self._endpoint_url = endpoint_url

    # boto3's stubs know only literal service names
    def client(self, service_name: str, **options: Any) -> Any:  # type: ignore[override]
        make: Any = super().client  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return make(service_name, **{"endpoint_url": self._endpoint_url} | options)


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Ctrl-C comes before or after, so that there is never a process that nobody knows."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _port_kept_in(data: Path) -> int:
    """Queue URLs hold the port, so a service that is kept keeps its port too."""
    kept = data / "cloud.json"
    if kept.exists():
        port = int(json.loads(kept.read_text())["port"])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise CloudError(
                    f"{data} belongs to a cloud on port {port}, which is in use: is another one running on it?"
                ) from error
        return port
    data.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    kept.write_text(json.dumps({"port": port}))
    return port


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
