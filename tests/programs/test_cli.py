"""The faaskeeper command, as people and scripts use it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl

from faaskeeper.znode.model import OPEN_ACL
from faaskeeper_client.cli import main, zookeeper
from faaskeeper_client.cli.zookeeper import ZooKeeper
from faaskeeper_client.gateway_thread import GatewayThread

from .conftest import COMMAND, Deployed, Result, start

Run = Callable[..., Result]

UNREADABLE = {
    "binary": "is shown to those with ADMIN permission only",
    "closed": "does not allow reading",
}


@contextmanager
def running(*arguments: str, environment: dict[str, str] | None = None) -> Generator[subprocess.Popen[str]]:
    process = start(*arguments, environment=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class TestZnodes:
    def test_ls(self, run: Run, zk: KazooClient, root: str) -> None:
        for name in ("b", "a", "ü"):
            zk.create(f"{root}/{name}", b"12345")
        assert run("ls", root) == Result(0, "a\nb\nü\n", "")
        assert json.loads(run("ls", root, "--json").out) == ["a", "b", "ü"]
        head, first, *_ = run("ls", "-l", root).out.splitlines()
        assert head.split() == ["BYTES", "CHILDREN", "VERSION", "CHANGED", "OWNER", "NAME"]
        assert first.split()[:3] == ["5", "0", "0"]
        assert first.endswith("0x0    a")
        assert json.loads(run("ls", "-l", root, "--json").out)[2]["dataLength"] == 5

    def test_tree(self, run: Run, zk: KazooClient, root: str) -> None:
        zk.create(f"{root}/a/b/c", makepath=True)
        zk.create(f"{root}/a/d")
        zk.create(f"{root}/e", ephemeral=True)
        assert run("tree", root).out == (
            f"{root}\n├── a\n│   ├── b\n│   │   └── c\n│   └── d\n└── e  (ephemeral of {zk.client_id[0]:#x})\n"
        )
        assert run("tree", root, "--depth", "1").out.count("\n") == 3
        (a, e) = json.loads(run("tree", root, "--json").out)["children"]
        assert [child["path"] for child in a["children"]] == [f"{root}/a/b", f"{root}/a/d"]
        assert e["ephemeralOwner"] == zk.client_id[0]

    def test_what_may_not_be_read_is_shown_and_marked(self, run: Run, zk: KazooClient, root: str) -> None:
        zk.add_auth("digest", "bob:secret")
        bob = make_digest_acl("bob", "secret", all=True)
        zk.create(f"{root}/a", b"12345")
        zk.create(f"{root}/b/below", makepath=True)
        zk.set_acls(f"{root}/b", [bob])
        closed = "(closed: its ACL does not allow reading)"
        result = run("ls", "-l", root)
        assert (result.status, result.err) == (0, "")
        assert result.out.splitlines()[2].split(maxsplit=5) == ["-", "-", "-", "-", "-", f"b  {closed}"]
        assert json.loads(run("ls", "-l", root, "--json").out)[1] == {"name": "b", "closed": True}
        assert run("ls", "-l", root, "--auth", "bob:secret").out.splitlines()[2].endswith("0x0    b")
        assert run("tree", root) == Result(0, f"{root}\n├── a\n└── b  {closed}\n", "")
        assert json.loads(run("tree", root, "--json").out)["children"][1]["closed"] is True
        assert run("tree", root, "--auth", "bob:secret").out.endswith("└── b\n    └── below\n")
        assert run("tree", f"{root}/b") == Result(1, "", f"faaskeeper: {root}/b: its ACL does not allow this\n")
        assert run("rm", "-r", root) == Result(1, "", f"faaskeeper: {root}/b: its ACL does not allow this\n")
        assert zk.exists(f"{root}/a")

    def test_a_wide_tree(self, run: Run, zk: KazooClient, root: str) -> None:
        names = [f"{number:03d}" for number in range(300)]
        for result in [zk.create_async(f"{root}/{name}") for name in names]:
            result.get()
        assert json.loads(run("ls", root, "--json").out) == names
        shown = json.loads(run("tree", root, "--json").out)["children"]
        assert [child["path"] for child in shown] == [f"{root}/{name}" for name in names]
        assert run("rm", "-r", root).status == 0
        assert zk.exists(root) is None

    @pytest.mark.parametrize(
        ("data", "shown"),
        [
            (b"text\n", {"data": "text\n"}),
            (b"", {"data": ""}),
            (None, {"data": None}),
            (b"\0\xff", {"data64": "AP8="}),
            (b"escape \x1b[1m", {"data64": "ZXNjYXBlIBtbMW0="}),
        ],
    )
    def test_get(self, data: bytes | None, shown: dict[str, Any], gateway: GatewayThread, zk: KazooClient) -> None:
        path = zk.create("/get-", data, sequence=True)
        result = subprocess.run(
            [COMMAND, "get", path, "--server", gateway.hosts], capture_output=True, check=True, timeout=30
        )
        assert result.stdout == (data or b"")
        result = subprocess.run(
            [COMMAND, "get", path, "--json", "--server", gateway.hosts], capture_output=True, check=True, timeout=30
        )
        document = json.loads(result.stdout)
        assert document.pop("stat")["dataLength"] == len(data or b"")
        assert document == {"path": path, **shown}

    def test_set(self, run: Run, zk: KazooClient, root: str, tmp_path: Path) -> None:
        assert run("set", root, "new") == Result(0, "", "")
        assert zk.get(root)[0] == b"new"
        (tmp_path / "data").write_bytes(b"\0\xff")
        assert json.loads(run("set", root, "--file", str(tmp_path / "data"), "--json").out)["stat"]["version"] == 2
        assert zk.get(root)[0] == b"\0\xff"
        assert run("set", root, "no", "--version", "1") == Result(
            1, "", f"faaskeeper: {root}: the znode has another version\n"
        )
        assert run("set", root, "yes", "--version", "2").status == 0
        assert run("set", root).status == 2

    def test_data_from_a_pipe(self, gateway: GatewayThread, zk: KazooClient, root: str) -> None:
        subprocess.run(
            [COMMAND, "set", root, "--file", "-", "--server", gateway.hosts], input=b"\0\1", check=True, timeout=30
        )
        assert zk.get(root)[0] == b"\0\1"

    def test_create(self, run: Run, zk: KazooClient, root: str) -> None:
        assert run("create", f"{root}/a", "data") == Result(0, f"{root}/a\n", "")
        assert zk.get(f"{root}/a")[0] == b"data"
        assert run("create", f"{root}/a").err == f"faaskeeper: {root}/a: the znode exists already\n"
        assert run("create", "-s", f"{root}/s-").out == f"{root}/s-0000000001\n"
        assert run("create", "-s", f"{root}/").out == f"{root}/0000000002\n"
        assert run("create", "-p", f"{root}/x/y/z").status == 0
        assert run("create", "-p", f"{root}/x/y/w").status == 0
        assert sorted(zk.get_children(f"{root}/x/y")) == ["w", "z"]
        assert run("create", f"{root}/no/parent").status == 1

    def test_containers_and_times_to_live(self, run: Run, zk: KazooClient, root: str) -> None:
        assert run("create", "-c", f"{root}/container").status == 0
        assert run("create", "--ttl", "86400000", f"{root}/ttl", "data").status == 0
        assert run("create", "--ttl", "86400000", "-s", f"{root}/ttl-").out == f"{root}/ttl-0000000002\n"
        assert zk.get(f"{root}/ttl")[0] == b"data"
        assert sorted(zk.get_children(root)) == ["container", "ttl", "ttl-0000000002"]

    def test_acl(self, run: Run, zk: KazooClient, root: str) -> None:
        path = f"{root}/closed"
        arguments = ("--auth", "bob:secret", "--acl", "auth::cdrwa", "--acl", "world:anyone:r")
        assert run("create", path, "data", *arguments).status == 0
        assert run("get", path).out == "data"
        assert run("set", path, "new") == Result(1, "", f"faaskeeper: {path}: its ACL does not allow this\n")
        assert run("set", path, "new", "--auth", "bob:secret").status == 0
        assert run("stat", path, "--auth", "bob:secret").out.splitlines()[-2:] == [
            f"acl             digest:{make_digest_acl('bob', 'secret').id.id}:cdrwa",
            "acl             world:anyone:r",
        ]
        secret = f"{root}/secret"
        assert run("create", secret, "--auth", "bob:secret", "--acl", "auth::cdrwa").status == 0
        assert run("get", secret).status == 1

    def test_stat(self, run: Run, zk: KazooClient, root: str) -> None:
        stat = zk.set(root, b"data")
        shown = dict(line.split(maxsplit=1) for line in run("stat", root).out.splitlines())
        assert shown["mzxid"] == hex(stat.mzxid)
        assert shown["version"] == "1"
        assert shown["acl"] == "world:anyone:cdrwa"
        document = json.loads(run("stat", root, "--json").out)
        assert document["mtime"] == stat.mtime
        assert document["acl"] == ["world:anyone:cdrwa"]

    def test_rm(self, run: Run, zk: KazooClient, root: str) -> None:
        zk.create(f"{root}/a/b", makepath=True)
        assert run("rm", root) == Result(1, "", f"faaskeeper: {root}: the znode has children\n")
        assert run("rm", f"{root}/a/b", "--version", "3").status == 1
        assert run("rm", f"{root}/a/b", "--version", "0") == Result(0, "", "")
        assert run("rm", "-r", root).status == 0
        assert run("rm", root) == Result(1, "", f"faaskeeper: {root}: there is no such znode\n")
        assert run("rm", "-r", root).status == 1

    @pytest.mark.parametrize("recursive", [("-r",), ()], ids=["all", "one"])
    @pytest.mark.parametrize("path", ["/", "/zookeeper/quota"], ids=["root", "quota"])
    def test_what_every_server_has_is_not_removed(
        self, path: str, recursive: tuple[str, ...], run: Run, zk: KazooClient, root: str
    ) -> None:
        assert run("rm", path, *recursive) == Result(
            1, "", f"faaskeeper: {path}: not deleted, nor what is below it: every server has this znode\n"
        )
        assert zk.exists(root)


class TestFollowing:
    def test_watch(self, gateway: GatewayThread, zk: KazooClient, root: str) -> None:
        with running("watch", root, "--json", "--server", gateway.hosts) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            assert process.stderr.readline() == f"watching {root}, Ctrl-C ends it\n"
            zxid = zk.set(root, b"new").mzxid
            zk.create(f"{root}/child")
            zk.delete(f"{root}/child")
            zk.delete(root)
            events = [json.loads(process.stdout.readline()) for _ in range(4)]
            assert [event["event"] for event in events] == ["changed", "children", "children", "deleted"]
            assert events[0] == {"event": "changed", "path": root, "zxid": zxid}
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0

    def test_watch_below(self, gateway: GatewayThread, zk: KazooClient, root: str) -> None:
        with running("watch", "-r", root, "--server", gateway.hosts) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            process.stderr.readline()
            zk.create(f"{root}/a/b", makepath=True)
            zk.set(f"{root}/a", b"new")
            lines = [process.stdout.readline().split()[1:] for _ in range(3)]
            assert lines == [["created", f"{root}/a"], ["created", f"{root}/a/b"], ["changed", f"{root}/a"]]

    def test_an_ephemeral_is_held(self, gateway: GatewayThread, zk: KazooClient, root: str) -> None:
        path = f"{root}/held"
        with running("create", "-e", "--hold", path, "--server", gateway.hosts) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{path}\n"
            assert zk.exists(path).ephemeralOwner != 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert zk.exists(path) is None

    def test_who_loses_the_server_says_so(self, deployed: Deployed, zk: KazooClient, root: str) -> None:
        with running("gateway", "--service", "local", "--listen", "127.0.0.1:0", environment=deployed.environment) as g:
            assert g.stdout is not None
            address = g.stdout.readline().split()[1]
            with running("watch", root, "--server", address) as process:
                assert process.stderr is not None
                process.stderr.readline()
                g.send_signal(signal.SIGTERM)
                assert g.wait(30) == 0
                assert process.wait(30) == 3
                assert process.stderr.read() == f"faaskeeper: {address} closed the connection\n"


class TestSubtrees:
    @pytest.fixture
    def subtree(self, zk: KazooClient, root: str) -> str:
        """Text, binary, empty and null data; ACLs of several kinds, one that closes a parent."""
        zk.add_auth("digest", "bob:secret")
        bob = make_digest_acl("bob", "secret", all=True)
        zk.set(root, "Grüße".encode())
        zk.create(f"{root}/binary", b"\0\xff" * 100, acl=[make_acl("world", "anyone", read=True), bob])
        zk.create(f"{root}/empty", b"")
        zk.create(f"{root}/null", None)
        zk.create(f"{root}/closed", b"x", acl=[bob])
        zk.create(f"{root}/closed/below", b"y", acl=[make_acl("ip", "127.0.0.1", all=True)])
        zk.set_acls(f"{root}/closed", [make_digest_acl("bob", "secret", read=True, admin=True)])
        zk.create(f"{root}/passing", ephemeral=True)
        return root

    def content(self, zk: KazooClient, path: str) -> dict[str, tuple[bytes | None, list[Any]]]:
        found = {"": (zk.get(path)[0], zk.get_acls(path)[0])}
        for name in zk.get_children(path):
            below = self.content(zk, f"{path}/{name}")
            found |= {f"/{name}{rest}": value for rest, value in below.items()}
        return found

    def test_there_and_back(self, run: Run, zk: KazooClient, subtree: str, tmp_path: Path) -> None:
        before = self.content(zk, subtree)
        file = str(tmp_path / "subtree.json")
        result = run("export", subtree, "--file", file, "--auth", "bob:secret")
        assert result == Result(0, "", "6 znodes exported\n")
        result = run("import", file, "--to", f"{subtree}-copy/deep")
        assert result == Result(0, "", "6 znodes imported\n")
        del before["/passing"]  # an ephemeral is its session's
        assert self.content(zk, f"{subtree}-copy/deep") == before

    def test_in_place_after_a_loss(self, run: Run, zk: KazooClient, subtree: str, tmp_path: Path) -> None:
        before = self.content(zk, subtree)
        zk.delete(f"{subtree}/passing")
        del before["/passing"]
        file = str(tmp_path / "subtree.json")
        run("export", subtree, "--file", file, "--auth", "bob:secret")
        zk.delete(f"{subtree}/null")
        zk.set(f"{subtree}/empty", b"spoilt")
        zk.set_acls(f"{subtree}/empty", [make_acl("world", "anyone", read=True, write=True, admin=True)])
        refused = run("import", file)
        assert refused.status == 1
        assert refused.err.endswith("the znode exists already; --overwrite replaces data and ACLs\n")
        zk.set_acls(f"{subtree}/closed", [make_digest_acl("bob", "secret", all=True)])
        assert run("import", file, "--overwrite", "--auth", "bob:secret").status == 0
        assert self.content(zk, subtree) == before

    def test_from_a_server(self, run: Run, gateway: GatewayThread, zk: KazooClient, subtree: str) -> None:
        arguments = ("--from", gateway.hosts, subtree, "--to", f"{subtree}-moved", "--auth", "bob:secret")
        assert run("import", *arguments).err == "6 znodes imported\n"
        assert zk.get(f"{subtree}-moved/closed/below")[0] == b"y"

    def test_a_whole_tree_to_a_place_in_another(self, run: Run, zk: KazooClient, root: str, tmp_path: Path) -> None:
        znodes = [{"path": path, "data": path, "acl": ["world:anyone:cdrwa"]} for path in ("/", "/a", "/a/b")]
        file = tmp_path / "tree.json"
        file.write_text(json.dumps({"format": "faaskeeper-subtree", "version": 1, "root": "/", "znodes": znodes}))
        assert run("import", str(file), "--to", f"{root}/copy").err == "3 znodes imported\n"
        assert self.content(zk, f"{root}/copy").keys() == {"", "/a", "/a/b"}
        assert zk.get(f"{root}/copy")[0] == b"/"

    def test_by_a_pipe(self, gateway: GatewayThread, zk: KazooClient, root: str) -> None:
        zk.create(f"{root}/a", b"data")
        server = f"--server {gateway.hosts}"
        command = f"{COMMAND} export {root} {server} | {COMMAND} import --to {root}-piped {server}"
        subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True, timeout=60)
        assert zk.get(f"{root}-piped/a")[0] == b"data"

    def test_the_whole_tree_is_without_zookeepers_own(self, run: Run, root: str) -> None:
        document = json.loads(run("export", "/", "--auth", "bob:secret").out)
        paths = [znode["path"] for znode in document["znodes"]]
        assert paths[0] == "/"
        assert root in paths
        assert not [path for path in paths if path.startswith("/zookeeper")]

    def test_a_hidden_acl_is_not_exported_wrong(
        self, run: Run, gateway: GatewayThread, zk: KazooClient, root: str
    ) -> None:
        anyone = make_acl("world", "anyone", read=True, create=True)
        zk.create(f"{root}/a", acl=[make_digest_acl("bob", "secret", all=True), anyone])
        zk.create(f"{root}/a/below")
        zk.create(f"{root}/b", b"data")
        result = run("export", root)
        assert result.status == 1
        assert result.err == (
            f"faaskeeper: {root}/a: its ACL is shown to those with ADMIN permission only: use --auth\n"
            "2 znodes exported\n"
            f"faaskeeper: not exported, with all below: {root}/a\n"
        )
        assert [znode["path"] for znode in json.loads(result.out)["znodes"]] == [root, f"{root}/b"]
        refused = run("import", "--from", gateway.hosts, root, "--to", f"{root}-copy")
        assert refused.status == 1
        assert zk.exists(f"{root}-copy") is None

    def test_what_may_not_be_read_is_reported_and_the_rest_exported(
        self, run: Run, zk: KazooClient, subtree: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "subtree.json"
        file.write_text("the last good one")
        assert run("export", f"{subtree}/nowhere", "--file", str(file)).status == 1
        assert file.read_text() == "the last good one"
        result = run("export", subtree, "--file", str(file))
        assert result.status == 1
        assert result.err.splitlines() == [
            *(f"faaskeeper: {subtree}/{name}: its ACL {why}: use --auth" for name, why in UNREADABLE.items()),
            "3 znodes exported",
            f"faaskeeper: not exported, with all below: {subtree}/binary, {subtree}/closed",
        ]
        assert [znode["path"] for znode in json.loads(file.read_text())["znodes"]] == [
            subtree,
            f"{subtree}/empty",
            f"{subtree}/null",
        ]
        assert list(tmp_path.iterdir()) == [file]

    def test_a_pipe_is_not_replaced(self, gateway: GatewayThread, root: str) -> None:
        command = [COMMAND, "export", root, "--file", "/dev/stdout", "--server", gateway.hosts]
        shown = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
        assert json.loads(shown)["root"] == root

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "not JSON: Expecting value"),
            ("[]", "not a document of faaskeeper export"),
            ('{"format": "faaskeeper-subtree", "version": 2}', "faaskeeper-subtree 2, and faaskeeper-subtree 1 is"),
            ('{"path": "/x", "data": 1, "acl": []}', 'znode 1: "data" is neither text nor null'),
            ('{"path": "/x", "data64": "?", "acl": []}', "znode 1: "),
            ('{"path": "/y", "data": "", "acl": []}', "znode 1: path '/y' is not below /x"),
            ('{"path": "/x", "data": "", "acl": ["world:anyone:z"]}', "znode 1: 'world:anyone:z' is not"),
            ('{"path": "/x", "data": ""}', "znode 1: KeyError('acl')"),
            ("\xff", "not JSON: 'utf-8' codec can't decode"),
        ],
    )
    def test_what_is_no_document(self, text: str, reason: str, run: Run, zk: KazooClient, tmp_path: Path) -> None:
        if text.startswith('{"path"'):
            text = f'{{"format": "faaskeeper-subtree", "version": 1, "root": "/x", "znodes": [{text}]}}'
        (tmp_path / "file").write_text(text, encoding="latin-1")
        result = run("import", str(tmp_path / "file"))
        assert result.status == 1
        assert reason in result.err
        assert result.err.count("\n") == 1
        assert zk.exists("/x") is None


class TestServices:
    def test_a_command_on_a_service(
        self, aws_environment: pytest.MonkeyPatch, zk: KazooClient, root: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        zk.set(root, b"data")
        assert main(["get", root, "--service", "local"]) == 0
        assert capsys.readouterr().out == "data"

    def test_the_environment_names_the_service(
        self, aws_environment: pytest.MonkeyPatch, root: str, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As for connect(); what is named on the command line counts more."""
        aws_environment.setenv("FAASKEEPER_SERVICE_NAME", "local")
        assert main(["stat", root]) == 0
        assert main(["sessions"]) == 0
        aws_environment.setenv("FAASKEEPER_SERVICE_NAME", "nope")
        for command in ("stat", root), ("sessions",):
            assert main([*command]) == 3
            assert "no FaaSKeeper service 'nope'" in capsys.readouterr().err
            assert main([*command, "--service", "local"]) == 0
        assert run("stat", root).status == 0  # on a server

    def test_sessions(
        self, aws_environment: pytest.MonkeyPatch, zk: KazooClient, root: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        zk.create(f"{root}/b", ephemeral=True)
        zk.create(f"{root}/a", ephemeral=True)
        assert main(["sessions", "--service", "local", "--json"]) == 0
        (mine,) = [s for s in json.loads(capsys.readouterr().out) if s["session"] == f"{zk.client_id[0]:#x}"]
        assert mine["timeout"] == 10_000
        assert mine["gatewayState"] == "alive"
        assert mine["ephemerals"] == [f"{root}/a", f"{root}/b"]
        assert main(["sessions", "--service", "local"]) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert head.split() == ["SESSION", "TIMEOUT", "GATEWAY", "STATE", "EPHEMERALS"]
        (line,) = [line for line in lines if line.startswith(f"{zk.client_id[0]:#x}")]
        assert line.split()[1:3] == ["10", "s"]
        assert lines[lines.index(line) + 1] == f"  {root}/a"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_gateway(self, number: signal.Signals, deployed: Deployed) -> None:
        sqs = deployed.session.client("sqs")
        before = sqs.list_queues(QueueNamePrefix=deployed.service.reply_prefix).get("QueueUrls", [])
        arguments = ("gateway", "--service", "local", "--listen", "127.0.0.1:0")
        with running(*arguments, environment=deployed.environment) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            ready, address = process.stdout.readline().split()
            assert ready == "ready"
            client = KazooClient(address)
            client.start()
            assert client.exists("/")
            process.send_signal(number)
            assert process.wait(30) == 0
            assert process.stderr.read() == ""
            client.stop()
            client.close()
        assert sqs.list_queues(QueueNamePrefix=deployed.service.reply_prefix).get("QueueUrls", []) == before

    @pytest.mark.parametrize("command", [("gateway", "--listen", "127.0.0.1:0"), ("sessions",), ("ls", "/")])
    def test_no_such_service(
        self, command: tuple[str, ...], aws_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*command, "--service", "nope"]) == 3
        assert capsys.readouterr().err == (
            "faaskeeper: there is no FaaSKeeper service 'nope' in us-east-1 of this AWS account\n"
        )

    def test_no_credentials(self, aws_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        aws_environment.delenv("AWS_ACCESS_KEY_ID")
        aws_environment.delenv("AWS_SECRET_ACCESS_KEY")
        assert main(["gateway", "--service", "local", "--listen", "127.0.0.1:0"]) == 3
        assert capsys.readouterr().err == "faaskeeper: no AWS credentials: Unable to locate credentials\n"

    def test_a_port_in_use(self, gateway: GatewayThread, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["gateway", "--listen", gateway.hosts]) == 1
        assert capsys.readouterr().err == f"faaskeeper: cannot listen on {gateway.hosts}: Address already in use\n"


class TestErrors:
    def test_nobody_there(self, run: Run) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            assert run("ls", "/", server=address) == Result(
                3, "", f"faaskeeper: cannot reach {address}: Connection refused\n"
            )

    def test_the_first_that_answers_is_taken(self, run: Run, gateway: GatewayThread) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            assert run("ls", "/", server=f"{address},{gateway.hosts}").status == 0

    def test_somebody_else_there(self, run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            result = run("ls", "/", "--timeout", "0.2", server=address)
            assert result == Result(3, "", f"faaskeeper: {address} does not answer\n")

    def test_what_is_no_zookeeper(self, gateway: GatewayThread) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            address = f"127.0.0.1:{other.getsockname()[1]}"
            with running("ls", "/", "--server", address) as process:
                connection, _ = other.accept()
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                assert process.wait(30) == 3
                assert process.stderr is not None
                assert process.stderr.read() == f"faaskeeper: {address} does not speak ZooKeeper's protocol\n"
                connection.close()

    @pytest.mark.parametrize(
        "arguments",
        [
            ("ls", "relative"),
            ("ls", "/trailing/"),
            ("ls", "/a//b"),
            ("create", "/x", "--acl", "everybody"),
            ("create", "/x", "--ttl", "0"),
            ("create", "/x", "-c", "-s"),
            ("create", "/x", "-c", "-e"),
            ("create", "/x", "-e"),
            ("create", "/x", "--hold"),
            ("create", "/x/"),
            ("create", "/x", "data", "--file", "-"),
            ("rm", "/x", "--version", "-2"),
            ("rm", "/x", "--json"),
            ("export", "/x", "--json"),
            ("set", "/x"),
            ("nonsense",),
        ],
    )
    def test_wrong_usage(self, arguments: tuple[str, ...], run: Run, zk: KazooClient) -> None:
        result = run(*arguments)
        assert result.status == 2
        assert result.out == ""
        assert zk.exists("/x") is None

    def test_a_file_that_is_not_there(self, run: Run) -> None:
        result = run("import", "/nowhere/file")
        assert result.status == 1
        assert result.err == "faaskeeper: /nowhere/file: No such file or directory\n"

    def test_a_reader_that_has_seen_enough(self, gateway: GatewayThread, zk: KazooClient, root: str) -> None:
        zk.set(root, os.urandom(900_000))
        command = f"{COMMAND} get {root} --server {gateway.hosts} | head -c 10 | wc -c"
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
        assert result.stdout.strip() == "10"
        assert result.stderr == ""

    def test_interrupted(self, gateway: GatewayThread) -> None:
        """While it waits for a server that does not answer."""
        # at an address where clients of other tests, whose servers are gone, do not knock
        silent = socket.create_server(("127.0.0.2", 0))
        with silent, running("ls", "/", "--server", f"127.0.0.2:{silent.getsockname()[1]}") as process:
            silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


def test_a_session_lives_while_nothing_is_read(
    gateway: GatewayThread, zk: KazooClient, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pager or a slow pipe behind a command must not cost it its session."""
    monkeypatch.setattr(zookeeper, "_SESSION_TIMEOUT", 4000)
    deleted = threading.Event()
    with ZooKeeper([gateway.address]) as session:
        session.call(zookeeper.create(f"{root}/held", b"", OPEN_ACL, flags=1))
        assert zk.exists(f"{root}/held", lambda event: deleted.set())
        assert not deleted.wait(6)
    assert deleted.wait(10)
