"""What README and docs tell to type works: every code block is run, in the order of the page.

Python blocks are executed. Shell blocks are run line by line against one embedded cloud, in which the names that the
pages use mean something. What cannot run here is in ELSEWHERE, with the test that runs it or the reason why none does.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_lambda as lambda_
from kazoo.client import KazooClient

from cdk_app.settings import Settings
from cdk_app.stacks import add_stacks
from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import PARAMETER_PREFIX, Service
from faaskeeper_client.cli import main
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud

from ..examples.test_quota import deploy
from ..functions.world import create_storage

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = Path(sys.executable).with_name("faaskeeper")

ELSEWHERE = {
    r"zkCli\.sh ": "needs Java; ZooKeeper's own client runs in make conformance",
    r"python3 -m venv |pip install |npm ci": "make venv node did it, or there would be no test",
    r"npx cdk bootstrap": "tests/local/test_removal.py, with a development service",
}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield Block(str(page.relative_to(ROOT)), text.count("\n", 0, found.start()) + 1, found[1], found[2])


BLOCKS = list(blocks())


@dataclass(frozen=True)
class Place:
    """Where the commands run: in ``directory``, with the variables by which AWS is found; see ``meaning``."""

    directory: Path
    service: Service
    gateway: GatewayThread
    zookeeper: GatewayThread
    session: Any
    zk: KazooClient
    source: KazooClient

    def meaning(self, text: str) -> str:
        """``text`` with the names that pages use replaced by what there is."""
        for name, meant in {
            "127.0.0.1:2181": self.gateway.hosts,
            "127.0.0.1:8080": "127.0.0.1:0",
            "zookeeper:2181": self.zookeeper.hosts,
            "recovered-znodes": self.service.znodes,
            "recovered-sessions": self.service.sessions,
            "recovered-ledger": self.service.ledger,
            "BUCKET": self.service.blobs,
            "SERVICE": self.service.name,
        }.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(name)}(?![\w-])", meant, text)
        return text


@pytest.fixture(scope="module")
def place(
    cloud: EmbeddedCloud, new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Place]:
    """A service ``coordination`` with a gateway, one in another account that stands for a ZooKeeper, the storage of one
    that is newly deployed, ``coordination-2``, and the example ``Quota``."""
    accounts = new_account(), new_account()
    services = [cloud.deploy("coordination", account=account) for account in accounts]
    aws = [BotoAws(session=cloud.session(account)) for account in accounts]
    aws.append(deploy(cloud, accounts[0], tmp_path_factory.mktemp("quota"))[0])
    session = cloud.session(accounts[0])
    session.client("dynamodb").create_table(
        TableName="reports",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    new = replace(create_storage(session, "new"), name="coordination-2")
    session.client("ssm").put_parameter(Name=f"{PARAMETER_PREFIX}{new.name}", Value=new.to_json(), Type="String")
    with (
        pytest.MonkeyPatch.context() as patch,
        GatewayThread(aws[0], services[0]) as gateway,
        GatewayThread(aws[1], services[1]) as zookeeper,
    ):
        directory = tmp_path_factory.mktemp("typed")
        patch.chdir(directory)
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in cloud.environment(accounts[0]).items():
            patch.setenv(name, value)
        clients = [KazooClient(each.hosts) for each in (gateway, zookeeper)]
        for client in clients:
            client.start()
        clients[0].create("/hello", b"world")
        clients[1].create("/app/config", b"data", makepath=True)
        clients[1].create("/zookeeper/quota/app/zookeeper_limits", b"count=10,bytes=-1", makepath=True)
        yield Place(directory, services[0], gateway, zookeeper, session, *clients)
        for client in clients:
            client.stop()
            client.close()
    for each in aws:
        each.close()


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{block.page}:{block.line}" for block in BLOCKS])
def test_it_works(block: Block, place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    match block.language:
        case "python":
            run_python(place.meaning(block.text), block)
        case "shell":
            for line in block.text.splitlines():
                run_line(line.strip(), place, capfd)
        case language:
            assert language == "", f"nobody knows how to run {language}"
            assert not re.search(r"^(\S*/)?(faaskeeper|make|npx|aws|pip) ", block.text, re.MULTILINE)


def run_python(text: str, block: Block) -> None:
    """A block that makes constructs is inside a stack, as the text around it says; what is a handler is invoked."""
    names: dict[str, Any] = {}
    if "faaskeeper_cdk" in text:
        stack = Stack(App(), "Mine")
        code = lambda_.Code.from_inline("def handler(event, context): ...")
        function = lambda_.Function(
            stack, "MyFunction", code=code, handler="index.handler", runtime=lambda_.Runtime.PYTHON_3_13
        )
        names = {"self": stack, "my_function": function}
    exec(compile(text, f"{block.page}:{block.line}", "exec"), names)
    if "handler" in names:
        assert names["handler"]({}, None) is not None
    if isinstance(zk := names.get("zk"), KazooClient):
        zk.stop()
        zk.close()


def prepare(place: Place, line: str) -> None:
    """An import without --overwrite is into a place where nothing is; all else finds the application's znodes."""
    if "import --from" in line and place.zk.exists("/app"):
        place.zk.delete("/app", recursive=True)
    elif "import --from" not in line:
        place.zk.ensure_path("/app")


def run_line(line: str, place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(place.meaning(line), comments=True)
    if not words or any(re.match(pattern, line) for pattern in ELSEWHERE):
        return
    prepare(place, line)
    match Path(words[0]).name, *words[1:]:
        case "faaskeeper", ("gateway" | "watch"), *_:
            run_until_interrupted(words[1:], place)
        case "faaskeeper", *arguments:
            if "ID" in arguments:
                body = '{"requestContext": {}}'
                sent = place.session.client("sqs").send_message(QueueUrl=place.service.dead_letters, MessageBody=body)
                arguments = [sent["MessageId"] if each == "ID" else each for each in arguments]
            if arguments[0] in ("get", "tree") and "--service" not in arguments:
                arguments += ["--server", place.gateway.hosts]
            status = main(arguments)
            assert status == 0, capfd.readouterr().err
        case "make", target:
            # each is what a test or the CI itself is about
            subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
        case "npx", "cdk", "deploy", *options:
            # done with a development service in tests/local/test_removal.py: the emulator has no metric math
            context = dict(word.split("=", 1) for word in options if "=" in word)
            stacks = add_stacks(App(), Settings.from_context(App(context=context).node))
            assert {stack.coordination.service_name for stack in stacks} == {context["name"]}
            # the command line deploys several stacks only if it is told to
            assert ("--all" in options) == (len(stacks) > 1)
        case "aws", service, operation, *options:
            # the emulator recovers no tables: that there are such parameters is all that can be checked
            model = boto3.client(service, region_name="us-east-1").meta.service_model  # type: ignore[call-overload]
            shape = model.operation_model("".join(part.capitalize() for part in operation.split("-"))).input_shape
            # a flag is turned off by --no-FLAG
            names = {re.sub("^--(no-)?", "", each).replace("-", "").lower() for each in options if each[:2] == "--"}
            assert names - {"query", "output"} <= {member.lower() for member in shape.members}
        case "cmp", *_:
            subprocess.run(words, cwd=place.directory, check=True)
        case ".", _:
            pass
        case _:
            raise AssertionError(f"nobody knows how to run {line!r}")


def run_until_interrupted(arguments: list[str], place: Place) -> None:
    arguments = ["127.0.0.1:0" if argument == place.gateway.hosts else argument for argument in arguments]
    process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if arguments[0] == "watch":
            assert process.stderr.readline().startswith("watching /app")
            place.zk.create("/app/watched")
            assert "/app/watched" in process.stdout.readline()
            place.zk.delete("/app/watched")
        else:
            assert process.stdout.readline().startswith("ready 127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130)
    finally:
        process.kill()
        process.communicate()


def test_there_are_blocks_of_each_kind() -> None:
    assert {block.language for block in BLOCKS} == {"", "python", "shell"}
    assert {"README.md", "docs/migration.md", "docs/operations.md", "docs/regions.md", "docs/runbook.md"} <= {
        block.page for block in BLOCKS
    }


def test_every_page_is_named_in_the_readme_and_every_link_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in readme
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", (page.parent / target if target else page).read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
