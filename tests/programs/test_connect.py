"""connect(): kazoo on a service, with a gateway that comes and goes with its clients."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.security import make_acl, make_digest_acl

from cdk_app.settings import Settings
from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import PARAMETER_PREFIX
from faaskeeper_client import connect
from faaskeeper_client.addresses import Address
from faaskeeper_client.discovery import (
    DEFAULT_SERVICE,
    DiscoveryError,
    NoCredentials,
    NoPermission,
    ServiceNotFound,
    WrongVersion,
    find_service,
)
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.proxy import Answer, Forward, Proxy, Request

from .conftest import Deployed, until


@pytest.fixture
def client(deployed: Deployed) -> Generator[KazooClient]:
    client = connect("local", session=deployed.session)
    yield client
    client.stop()
    client.close()


def reply_queues(deployed: Deployed) -> list[str]:
    return (
        deployed.session.client("sqs").list_queues(QueueNamePrefix=deployed.service.reply_prefix).get("QueueUrls", [])
    )


def listens(client: KazooClient) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(client.hosts[0]) == 0


def test_the_client_is_kazoo_s_and_not_started(client: KazooClient) -> None:
    assert isinstance(client, KazooClient)
    assert not client.connected
    client.start()
    path = client.create("/connect-", b"data", sequence=True)
    assert client.get(path)[0] == b"data"


def test_options_are_kazoo_s(deployed: Deployed) -> None:
    client = connect("local", session=deployed.session, auth_data=[("digest", "bob:secret")])
    client.start()
    path = client.create("/options-", sequence=True, acl=[make_acl("auth", "", all=True)])
    (entry,) = client.get_acls(path)[0]
    client.stop()
    client.close()
    assert entry == make_digest_acl("bob", "secret", all=True)


def test_clients_share_a_gateway_that_ends_with_the_last(deployed: Deployed) -> None:
    before = reply_queues(deployed)
    first, second = (connect("local", session=deployed.session) for _ in range(2))
    assert first.hosts == second.hosts
    assert len(reply_queues(deployed)) == len(before) + 1
    second.start()
    first.close()
    assert second.exists("/") is not None
    second.stop()
    second.close()
    assert not listens(second)
    assert reply_queues(deployed) == before


def test_closing_twice_takes_nobody_else_s_gateway(deployed: Deployed) -> None:
    first, second = (connect("local", session=deployed.session) for _ in range(2))
    first.close()
    first.close()
    second.start()
    assert second.exists("/") is not None
    second.stop()
    second.close()


def test_a_client_that_was_closed_can_be_started_again(client: KazooClient) -> None:
    client.start()
    client.stop()
    client.close()
    assert not listens(client)
    client.start()
    assert client.exists("/") is not None


def test_a_forgotten_client_is_a_closed_one(deployed: Deployed) -> None:
    client = connect("local", session=deployed.session)
    address = client.hosts[0]
    del client
    gc.collect()

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(address) != 0

    until(gone, "the gateway ends")


def test_others_can_be_served_too(deployed: Deployed) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with closing(connect("local", session=deployed.session, listen=address)):
        other = KazooClient(address)
        other.start()
        assert other.exists("/") is not None
        other.stop()
        other.close()


def test_a_session_outlives_its_gateway(deployed: Deployed) -> None:
    """As it outlives a ZooKeeper server: another gateway on the same address takes it over."""
    aws = BotoAws(session=deployed.session)
    states: list[KazooState] = []
    with GatewayThread(aws, deployed.service) as first:
        address = first.address
        client = KazooClient(first.hosts, timeout=30.0)
        client.add_listener(states.append)
        client.start()
        session = client.client_id
        path = client.create("/outlives-", ephemeral=True, sequence=True)
    until(lambda: KazooState.SUSPENDED in states, "the connection is dropped")
    with GatewayThread(aws, deployed.service, address):
        until(lambda: client.connected, "kazoo reconnects")
        assert client.client_id == session
        assert client.exists(path).ephemeralOwner == session[0]
        client.stop()
        client.close()
    assert KazooState.LOST not in states[:-1]
    aws.close()


SCRIPTS = {
    "ends without a word": "zk.create('/left-', ephemeral=True, sequence=True)",
    "ends by an error": "raise SystemExit(7)",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_program_that_ends_leaves_no_gateway(deployed: Deployed, script: str) -> None:
    before = reply_queues(deployed)
    code = f"from faaskeeper_client import connect\nzk = connect('local')\nzk.start()\n{script}\n"
    result = subprocess.run(
        [sys.executable, "-c", code], env=deployed.environment, timeout=60, capture_output=True, text=True, check=False
    )
    assert result.returncode == (7 if "7" in script else 0), result.stderr
    assert reply_queues(deployed) == before


def test_a_program_s_end_does_not_wait_for_a_long_poll(deployed: Deployed) -> None:
    code = """
import time
from faaskeeper_client import connect
zk = connect("local")
zk.start()
zk.exists("/")
print(time.monotonic(), flush=True)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env=deployed.environment, timeout=60, capture_output=True, text=True, check=True
    )
    # SQS lets a receiver wait for 20 s
    assert time.monotonic() - float(result.stdout) < 10


def test_a_forked_child_makes_its_own_gateway(deployed: Deployed) -> None:
    code = """
import os, sys, warnings
warnings.simplefilter("ignore")
from faaskeeper_client import connect
parent = connect("local")
parent.start()
pid = os.fork()
if pid == 0:
    child = connect("local")
    child.start()
    ok = child.hosts != parent.hosts and child.exists("/") is not None
    child.stop()
    child.close()
    os._exit(0 if ok else 1)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert parent.exists("/") is not None
parent.stop()
parent.close()
sys.exit(status)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env=deployed.environment, timeout=60, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_importing_the_package_loads_neither_boto3_nor_kazoo() -> None:
    code = "import sys, faaskeeper_client, faaskeeper_client.cli; print({'boto3', 'kazoo'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_bad_arguments_are_named(deployed: Deployed) -> None:
    with pytest.raises(TypeError, match="name a service, or use KazooClient"):
        connect("local", session=deployed.session, hosts="127.0.0.1:2181")
    with pytest.raises(ValueError, match="listen='nowhere': 'nowhere' is not HOST:PORT"):
        connect("local", session=deployed.session, listen="nowhere")
    with pytest.raises(TypeError, match="colour"):
        connect("local", session=deployed.session, colour="red")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            connect("local", session=deployed.session, listen=f"127.0.0.1:{taken.getsockname()[1]}")


def test_what_fails_leaves_no_gateway(deployed: Deployed) -> None:
    before = reply_queues(deployed)
    test_bad_arguments_are_named(deployed)
    assert reply_queues(deployed) == before


class TestFindService:
    def test_by_the_environment(self, deployed: Deployed, aws_environment: pytest.MonkeyPatch) -> None:
        assert find_service("local") == deployed.service

    def test_by_region(self, deployed: Deployed, aws_environment: pytest.MonkeyPatch) -> None:
        aws_environment.delenv("AWS_DEFAULT_REGION")
        assert find_service("local", region=deployed.service.region) == deployed.service

    def test_its_description_in_the_environment(self, deployed: Deployed, aws_environment: pytest.MonkeyPatch) -> None:
        """As a function that is invoked a thousand times a second has it: nobody is asked."""
        elsewhere = replace(deployed.service, name="elsewhere")
        aws_environment.setenv("FAASKEEPER_SERVICE", elsewhere.to_json())
        assert find_service("elsewhere") == elsewhere
        assert find_service("local") == deployed.service
        self.fails(ServiceNotFound, "no FaaSKeeper service 'elsewhere' in eu-west-1", "elsewhere", region="eu-west-1")

    def test_parameter_store_is_throttled(
        self, cloud: EmbeddedCloud, deployed: Deployed, aws_environment: pytest.MonkeyPatch
    ) -> None:
        asked = 0

        def throttle(request: Request, forward: Forward) -> Answer:
            nonlocal asked
            asked += 1
            if asked > 5:
                return forward(request)
            return Answer(400, (), b'{"__type":"ThrottlingException","message":"Rate exceeded"}')

        with Proxy(cloud, "throttled", throttle) as proxy:
            aws_environment.setenv("AWS_ENDPOINT_URL", proxy.endpoint_url)
            assert find_service("local") == deployed.service
        assert asked > 5

    def test_the_default_is_what_cdk_deploy_names_it(self) -> None:
        assert Settings().name == DEFAULT_SERVICE

    def test_a_service_that_does_not_exist(self, aws_environment: pytest.MonkeyPatch) -> None:
        self.fails(ServiceNotFound, "there is no FaaSKeeper service 'nope' in us-east-1 of this AWS account", "nope")

    def test_no_credentials(self, aws_environment: pytest.MonkeyPatch) -> None:
        aws_environment.delenv("AWS_ACCESS_KEY_ID")
        aws_environment.delenv("AWS_SECRET_ACCESS_KEY")
        self.fails(NoCredentials, "no AWS credentials: Unable to locate credentials")

    def test_a_profile_that_does_not_exist(self, aws_environment: pytest.MonkeyPatch) -> None:
        aws_environment.setenv("AWS_PROFILE", "nope")
        self.fails(NoCredentials, "no AWS credentials: The config profile (nope) could not be found")

    def test_no_region(self, aws_environment: pytest.MonkeyPatch) -> None:
        aws_environment.delenv("AWS_DEFAULT_REGION")
        self.fails(DiscoveryError, "no AWS region is set: name one, or set AWS_DEFAULT_REGION")

    def test_nobody_there(self, aws_environment: pytest.MonkeyPatch) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            aws_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
            self.fails(DiscoveryError, "service 'local' in us-east-1 cannot be looked up: Could not connect")

    @pytest.mark.parametrize("kind", ["data", "protocol"])
    @pytest.mark.parametrize(("version", "what"), [(0, "the service"), (99, "this software")])
    def test_another_version(
        self, kind: str, version: int, what: str, deployed: Deployed, aws_environment: pytest.MonkeyPatch
    ) -> None:
        text = deployed.service.to_json().replace(f'"{kind}_version":1', f'"{kind}_version":{version}')
        deployed.session.client("ssm").put_parameter(
            Name=f"{PARAMETER_PREFIX}of-{version}", Value=text, Type="String", Overwrite=True
        )
        self.fails(WrongVersion, f"has {kind} version {version}, this software 1: upgrade {what}", f"of-{version}")

    def test_no_permission(self, aws_environment: pytest.MonkeyPatch) -> None:
        with EmbeddedCloud(enforce_permissions=True) as cloud:
            iam = cloud.session().client("iam")
            iam.create_user(UserName="nobody")
            key = iam.create_access_key(UserName="nobody")["AccessKey"]
            aws_environment.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
            aws_environment.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            aws_environment.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            self.fails(NoPermission, "no permission to read the description of service 'local': ")

    def fails(self, kind: type[DiscoveryError], message: str, name: str = "local", **where: str) -> None:
        for attempt in (find_service, connect):
            with pytest.raises(DiscoveryError) as caught:
                attempt(name, **where)
            assert type(caught.value) is kind
            assert message in str(caught.value)
            assert "\n" not in str(caught.value)


def test_addresses() -> None:
    assert str(Address.parse("[::1]:2181")) == "[::1]:2181"
    assert Address.parse("2181") == Address("127.0.0.1", 2181)
