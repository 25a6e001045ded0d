"""Patroni with PostgreSQL: two members of ``examples/patroni``, through a database's worst days.

Bootstrap, a streaming replica, a switchover, the gateway restarted under them, the leader killed, failover, the old
leader back. All the while a witness asks both servers whether they take writes: at no moment may both.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from kazoo.client import KazooClient

from tests.foreign import Wrong, need, run
from tests.systems.daemon import free_port
from tests.systems.stage import Stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "patroni"
T = TypeVar("T")

_USER = "postgres"
"""Whom PostgreSQL runs as where the tests run as root, which it refuses."""
_PASSWORD = "change-me-superuser"
_LONGEST_BOOTSTRAP = 120
_TTL, _LOOP = 20, 2
"""Seconds: Patroni's least ttl, and a loop that lets the test end soon."""
_NOTICED = 10
"""Seconds from the end of a session until PostgreSQL is promoted: a look of the other member, and the promotion."""


def patroni(stage: Stage) -> str:
    server = _newest_server()
    need(server is not None, "apt-get install postgresql")
    need(shutil.which("patroni") is not None, "apt-get install patroni python3-kazoo")
    need(Path("/usr/lib/python3/dist-packages/kazoo").exists(), "apt-get install python3-kazoo")
    assert server is not None
    with _cluster(stage, server, stage.hosts) as cluster:
        return _worst_days(stage, cluster)


def patroni_moves(stage: Stage) -> str:
    """From a real ZooKeeper to this service and back, as ``examples/patroni`` says, with a program that writes on."""
    server = _newest_server()
    need(server is not None, "apt-get install postgresql")
    need(shutil.which("patroni") is not None, "apt-get install patroni python3-kazoo")
    source = stage.zookeeper
    need(source is not None, stage.no_zookeeper)
    assert server is not None
    with _cluster(stage, server, str(source)) as cluster:
        leader = cluster.until("a leader and a streaming replica", cluster.complete, _LONGEST_BOOTSTRAP)
        leader.sql("CREATE TABLE beats (at timestamptz)")
        leader = cluster.hurry(str(source))
        run(
            stage.scratch,
            *(sys.executable, "-m", "faaskeeper_client.cli", "import", "/service", "--overwrite"),
            *("--from", source, "--server", stage.hosts),
        )
        timeline = leader.timeline()
        with Witness(cluster.members), Writer(leader) as there:
            cluster.move(leader, stage.hosts)
        with Witness(cluster.members), Writer(leader) as back:
            cluster.move(leader, str(source))
        if leader.timeline() != timeline:
            raise Wrong("a move cost the leader its place")
    return (
        f"{cluster.version}, moved from ZooKeeper 3.9.5 to this service and back by pause, restart and resume: no "
        f"change of leader; at most {there.longest:.1f} s between two writes of a program that never stops, back "
        f"{back.longest:.1f} s"
    )


def _worst_days(stage: Stage, cluster: Cluster) -> str:
    leader = cluster.until("a leader and a streaming replica", cluster.complete, _LONGEST_BOOTSTRAP)
    replica = cluster.other(leader)
    leader.sql("CREATE TABLE accounts (id int primary key, balance int)")
    leader.sql("INSERT INTO accounts VALUES (1, 100)")
    cluster.until("the replica has the row", lambda: replica.sql("SELECT balance FROM accounts") == "100")

    idle = stage.bill_of(lambda: time.sleep(stage.idle_seconds))
    leader = cluster.hurry(stage.hosts)
    replica = cluster.other(leader)
    with Witness(cluster.members) as witness:
        took = cluster.switch(leader, replica)
        leader, replica = replica, leader

        before = leader.timeline()
        stage.restart_gateway()
        cluster.until("the members are back at their gateway", lambda: cluster.sees_leader(leader))
        cluster.rest(2 * _LOOP)
        if leader.timeline() != before or not leader.takes_writes():
            raise Wrong("a restart of the gateway cost the leader its place")

        leader.sql("UPDATE accounts SET balance = 200")
        cluster.until("the replica has the update", lambda: replica.sql("SELECT balance FROM accounts") == "200")
        leader.kill()
        began = time.monotonic()
        cluster.until("the other member is promoted", replica.takes_writes, _TTL + _NOTICED)
        failover = time.monotonic() - began
        if replica.sql("SELECT balance FROM accounts") != "200":
            raise Wrong("a row that both had is lost")
        replica.sql("UPDATE accounts SET balance = 300")

        leader.start()
        cluster.until("the old leader follows", lambda: leader.follows("300"), _LONGEST_BOOTSTRAP)
    return (
        f"{cluster.version}: bootstrap, replica, switchover in {took:.0f} s, gateway restarted without a change of "
        f"leader, leader killed and the other promoted after {failover:.0f} s (ttl {_TTL} s), the old one back as a "
        f"replica; never two leaders in {witness.rounds} rounds of asking. "
        f"Idle with ttl 30 s and loop_wait 10 s: {idle}"
    )


@dataclass
class Member:
    """One Patroni and the PostgreSQL below it."""

    name: str
    folder: Path
    server: Path
    """PostgreSQL's programs."""
    hosts: str
    as_user: tuple[str, ...]
    rest_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / self.name

    def environment(self) -> Mapping[str, str]:
        """As member.env of the example has it."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {
            "HOME": str(self.folder),
            "PATRONI_NAME": self.name,
            "PATRONI_RESTAPI_LISTEN": f"127.0.0.1:{self.rest_port}",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"127.0.0.1:{self.rest_port}",
            "PATRONI_POSTGRESQL_LISTEN": f"127.0.0.1:{self.port}",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"127.0.0.1:{self.port}",
            "PATRONI_POSTGRESQL_DATA_DIR": str(self.data),
            "PATRONI_POSTGRESQL_BIN_DIR": str(self.server),
            "PATRONI_POSTGRESQL_PGPASS": str(self.folder / f"{self.name}.pgpass"),
            "PATRONI_ZOOKEEPER_HOSTS": ",".join(f"'{host}'" for host in self.hosts.split(",")),
        }

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.as_user, str(shutil.which("patroni")), str(self.folder / "patroni.yml")],
                env=dict(self.environment()),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """As a machine that loses its power: Patroni, and PostgreSQL with it."""
        assert self.process is not None
        postmaster = (self.data / "postmaster.pid").read_text().split()[0]
        os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(int(postmaster), signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Patroni stops PostgreSQL when it is told to end."""
        if self.process is None or self.ended:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def rest(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Patroni's own port. Raises OSError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read().decode()
        return json.loads(text) if text[:1] in "[{" else text

    def sql(self, statement: str) -> str | None:
        """Its answer as text; None if the server cannot be asked or refuses."""
        done = subprocess.run(
            [self.server / "psql", "-XAtq", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "postgres"],
            input=statement,
            env={"PGPASSWORD": _PASSWORD, "PGCONNECT_TIMEOUT": "2", "PGOPTIONS": "-c statement_timeout=5s"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 and not done.stderr else None

    def takes_writes(self) -> bool:
        return self.sql("SELECT pg_is_in_recovery()") == "f"

    def timeline(self) -> str | None:
        return self.sql("SELECT timeline_id FROM pg_control_checkpoint()")

    def follows(self, balance: str) -> bool:
        return self.sql("SELECT pg_is_in_recovery(), balance FROM accounts") == f"t|{balance}"


class Writer:
    """Writes to the leader all the time. ``longest`` is the longest time between two writes that succeeded, seconds."""

    def __init__(self, leader: Member) -> None:
        self._leader = leader
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writer")
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        last = time.monotonic()
        while not self._over.wait(0.05):
            if self._leader.sql("INSERT INTO beats VALUES (now())") is not None:
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now


class Witness:
    """Asks all members, all the time, whether they take writes. ``rounds`` is how often; raises Wrong at its end if two
    said so in one round and both again right after: one alone may be a leader that steps down between the questions."""

    def __init__(self, members: tuple[Member, ...]) -> None:
        self._members = members
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="witness")
        self._both: list[float] = []
        self.rounds = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._both and kind is None:
            raise Wrong(f"{len(self._both)} times two members took writes at once")

    def _ask(self) -> None:
        while not self._over.wait(0.05):
            self.rounds += 1
            if self._all() and self._all():
                self._both.append(time.monotonic())

    def _all(self) -> bool:
        return all(member.takes_writes() for member in self._members)


class Cluster:
    def __init__(self, members: tuple[Member, Member], version: str) -> None:
        self.members = members
        self.version = version

    def other(self, member: Member) -> Member:
        first, second = self.members
        return second if member is first else first

    def complete(self) -> Member | None:
        """The leader, once the other member streams from it."""
        for member in self.members:
            if member.takes_writes() and member.sql("SELECT state FROM pg_stat_replication") == "streaming":
                return member
        return None

    def sees_leader(self, leader: Member) -> bool:
        try:
            found = [each for each in self.other(leader).rest("/cluster")["members"] if each["role"] == "leader"]
        except OSError:
            return False
        return [each["name"] for each in found] == [leader.name]

    def configure(self, **settings: int | bool | None) -> None:
        """As ``patronictl edit-config`` does."""
        self.members[0].rest("/config", settings, "PATCH")

    def hurry(self, hosts: str) -> Member:
        """To a ttl and a loop that let the test end soon. Patroni ends its session for another ttl, and so lets go of
        the leader's znode: only when all have new sessions is there a leader again, who is returned."""
        client = KazooClient(hosts)
        client.start()
        try:
            before = self._owners(client)
            self.configure(ttl=_TTL, loop_wait=_LOOP, retry_timeout=5)
            self.until("new sessions", lambda: not before & self._owners(client) and len(self._owners(client)) == 2, 60)
        finally:
            client.stop()
            client.close()
        return self.until("a leader and a streaming replica", self.complete, 60)

    def _owners(self, client: KazooClient) -> set[int]:
        """The sessions that own znodes of the cluster; with the leader's they are two."""
        owners: set[int] = set()
        for path in ("leader", "members/one", "members/two"):
            stat = client.exists(f"/service/accounts/{path}")
            owners.add(stat.ephemeralOwner if stat else 0)
        return owners

    def switch(self, leader: Member, candidate: Member) -> float:
        """As ``patronictl switchover`` does; the seconds it took until both had their new places."""
        began = time.monotonic()
        try:
            leader.rest("/switchover", {"leader": leader.name, "candidate": candidate.name})
        except urllib.error.HTTPError as error:
            logs = "\n".join(self._end_of_log(member) for member in self.members)
            raise Wrong(f"the switchover: {error}: {error.read().decode()}\n{logs}") from error
        self.until("the switchover", lambda: self.complete() is candidate, 60)
        return time.monotonic() - began

    def move(self, leader: Member, hosts: str) -> None:
        """To another ZooKeeper, with PostgreSQL running on: pause, restart each Patroni with other hosts, resume."""
        self.configure(pause=True)
        for member in (leader, self.other(leader)):
            self.until("the pause is known", lambda member=member: member.rest("/cluster").get("pause"))
        for member in (leader, self.other(leader)):
            member.stop()
            member.hosts = hosts
            member.start()
        self.until("the members are at the new servers", lambda: self.sees_leader(leader), 60)
        self.configure(pause=None)
        self.until("a leader and a streaming replica", lambda: self.complete() is leader, 60)

    def rest(self, seconds: float) -> None:
        """For what must not happen: nobody tells of it."""
        time.sleep(seconds)

    def until(self, what: str, condition: Callable[[], T | None], seconds: float = 30) -> T:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline or all(member.ended for member in self.members):
                logs = "\n".join(self._end_of_log(member) for member in self.members)
                raise Wrong(f"{what}: not within {seconds:.0f} s\n{logs}")
            time.sleep(0.1)
        return found

    def _end_of_log(self, member: Member) -> str:
        text = (member.folder / f"{member.name}.log").read_text(errors="replace")
        return f"--- {member.name}\n{text[-3000:]}"


@contextmanager
def _cluster(stage: Stage, server: Path, hosts: str) -> Generator[Cluster]:
    folder = stage.scratch / f"patroni-{hosts.rpartition(':')[2]}"
    folder.mkdir()
    shutil.copy(EXAMPLE / "patroni.yml", folder)
    as_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        as_user = ("runuser", "-u", _USER, "--")
        stage.scratch.chmod(0o755)
        shutil.chown(folder, _USER)
    members = (
        Member("one", folder, server, hosts, as_user),
        Member("two", folder, server, hosts, as_user),
    )
    version = subprocess.run(["patroni", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = subprocess.run([server / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    try:
        for member in members:
            member.start()
        yield Cluster(members, f"{version}, {found.strip()}")
    finally:
        for member in members:
            member.stop()


def _newest_server() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None
