from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import Service
from faaskeeper_client.cli import main
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.cloud import CloudSession

COMMAND = Path(sys.executable).with_name("faaskeeper")


@dataclass(frozen=True)
class Deployed:
    """A service, and how to get to it."""

    service: Service
    session: CloudSession
    environment: dict[str, str]


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def deployed(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> Deployed:
    """One for each module, so that none sees what others leave: dead gateways, sessions about to expire."""
    account = new_account()
    service = cloud.deploy("local", account=account)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return Deployed(service, cloud.session(account), ours | cloud.environment(account))


@pytest.fixture(scope="module")
def gateway(deployed: Deployed) -> Generator[GatewayThread]:
    aws = BotoAws(session=deployed.session)
    with GatewayThread(aws, deployed.service) as thread:
        yield thread
    aws.close()


@pytest.fixture
def zk(gateway: GatewayThread) -> Generator[KazooClient]:
    client = KazooClient(gateway.hosts)
    client.start()
    yield client
    client.stop()
    client.close()


@pytest.fixture
def root(request: pytest.FixtureRequest, zk: KazooClient) -> str:
    """A znode of the test's own, with nothing below it."""
    path = f"/{request.node.name.replace('[', '-').replace(']', '')}"
    zk.create(path)
    return path


@pytest.fixture
def run(gateway: GatewayThread, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command on the gateway, unless it names another ``server``."""

    def command(*arguments: str, server: str | None = None) -> Result:
        capsys.readouterr()
        try:
            status = main([*arguments, "--server", server or gateway.hosts])
        except SystemExit as exit:
            status = int(exit.code or 0)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return command


@pytest.fixture
def aws_environment(deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment in which boto3 finds the service by itself; to be changed by the test."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in deployed.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def start(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The ``faaskeeper`` command in a process of its own."""
    return subprocess.Popen(
        [COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """For what nobody tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.02)
