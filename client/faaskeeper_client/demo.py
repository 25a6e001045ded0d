"""``make demo``: what ZooKeeper is used for, done by stock kazoo on a service of this machine, and what that costs.

Nothing is simulated but AWS itself: the template is the one that ``cdk deploy`` deploys, the functions run from it,
and two gateways serve the clients as if they were on two machines.
"""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from kazoo.client import KazooClient

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import CloudError, EmbeddedCloud
from faaskeeper_client.local.meter import Meter, Usage, invocations

T = TypeVar("T")

_LONGEST = 60
"""Seconds that any step may take; it says so and fails instead of hanging."""
_SESSION_TIMEOUT = 4.0
"""Seconds: the shortest that ZooKeeper grants by default, two ticks."""


class DemoFailed(Exception):
    """Something did not happen that should have."""


def main() -> int:
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if sys.argv[1:2] == ["--candidate"]:
            _candidate(*sys.argv[2:])
        else:
            _demo()
    except KeyboardInterrupt:
        return 130
    except (CloudError, DemoFailed) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _demo() -> None:
    usage = Usage()
    with ExitStack() as stack:
        _title("A FaaSKeeper on this machine")
        with _timed("starting an emulator of AWS (the first run makes its environment: a minute)"):
            cloud = stack.enter_context(EmbeddedCloud())
        with _timed("synthesizing the service by the CDK (kept for the next run), deploying it by CloudFormation"):
            service = cloud.deploy()
        functions = stack.enter_context(Meter(cloud, "functions", usage))
        functions.lead_functions_here()
        way = stack.enter_context(Meter(cloud, "gateways", usage))
        with _timed("starting two gateways, as on two machines"):
            gateways = [_gateway(stack, way, service) for _ in range(2)]
        hosts = [gateway.hosts for gateway in gateways]
        began = time.monotonic()
        _configuration(hosts)
        _lock(hosts)
        _leader(hosts)
        _large(hosts)
        seconds = time.monotonic() - began
        _bill(usage, invocations(cloud), seconds)


def _gateway(stack: ExitStack, way: Meter, service: Any) -> GatewayThread:
    aws = BotoAws(session=way.session())
    stack.callback(aws.close)
    return stack.enter_context(GatewayThread(aws, service))


def _configuration(hosts: list[str]) -> None:
    _title("A configuration node, watched by three sessions")
    with _clients(hosts[0], hosts[0], hosts[1], hosts[1]) as (writer, *watchers):
        writer.create("/app/config", b"colour=green", makepath=True)
        seen: queue.Queue[tuple[int, bytes, float]] = queue.Queue()

        def follow(number: int, watcher: KazooClient) -> None:
            def changed(data: bytes, stat: object) -> None:
                seen.put((number, data, time.monotonic()))

            watcher.DataWatch("/app/config", changed)

        for number, watcher in enumerate(watchers, 1):
            follow(number, watcher)
        _say(f"three sessions read {_every(seen, watchers, b'colour=green')}")
        for colour in (b"colour=amber", b"colour=red"):
            began = time.monotonic()
            writer.set("/app/config", colour)
            _say(f"a fourth wrote {colour.decode()!r} in {_ms(began)}, and was told so")
            _say(f"  read after their watches fired: {_every(seen, watchers, colour, began)}")


def _every(seen: queue.Queue[tuple[int, bytes, float]], watchers: list[Any], data: bytes, began: float = 0) -> str:
    missing = set(range(1, len(watchers) + 1))
    told: list[str] = []
    while missing:
        number, value, at = _take(seen, f"a watch event for {data.decode()!r}")
        if value == data and number in missing:
            missing.remove(number)
            told.append(f"session {number} after {1000 * (at - began):.0f} ms")
    return ", ".join(sorted(told)) if began else repr(data.decode())


def _lock(hosts: list[str]) -> None:
    _title("A lock, passed between two contenders")
    with _clients(*hosts) as contenders:
        events: queue.Queue[str] = queue.Queue()
        inside = threading.Semaphore(1)
        finish = {"A": threading.Event(), "B": threading.Event()}

        def contend(name: str, client: KazooClient) -> None:
            for _ in range(2):
                with client.Lock("/app/lock", name):
                    alone = inside.acquire(blocking=False)
                    events.put(f"{name} has the lock" + ("" if alone else ", and so has another"))
                    finish[name].wait(_LONGEST)
                    finish[name].clear()
                    inside.release()

        threads = [
            threading.Thread(target=contend, args=(name, client), daemon=True)
            for name, client in zip(finish, contenders, strict=True)
        ]
        for thread in threads:
            thread.start()
        for turn in range(4):
            began = time.monotonic()
            event = _take(events, "the lock")
            _say(event + (f", {_ms(began)} after it was let go" if turn else ""))
            if "another" in event:
                raise DemoFailed("two contenders had the lock at once")
            waiting = min(2, 4 - turn)
            _until(partial(_has_children, contenders[0], "/app/lock", waiting), "the queue behind the lock")
            finish[event[0]].set()
        for thread in threads:
            thread.join(_LONGEST)


def _has_children(client: KazooClient, path: str, number: int) -> bool:
    return len(client.get_children(path) or ()) == number


def _leader(hosts: list[str]) -> None:
    _title("A leader that dies, and is replaced")
    with _candidates(hosts) as candidates:
        names = iter(("first", "second"))
        first = candidates(next(names), hosts[0])
        if first.says() != "leads":
            raise DemoFailed("the first candidate does not lead")
        _say(f"process {first.pid} leads; its session times out after {_SESSION_TIMEOUT:.0f} s")
        second = candidates(next(names), hosts[1])
        if second.says() != "waits":
            raise DemoFailed("the second candidate does not wait")
        _say(f"process {second.pid} waits, through the other gateway")
        first.kill()
        began = time.monotonic()
        _say(f"process {first.pid} killed (SIGKILL): its connection is cut, nothing is closed")
        if second.says() != "leads":
            raise DemoFailed("the second candidate does not lead")
        _say(f"process {second.pid} leads, {time.monotonic() - began:.1f} s later")


def _large(hosts: list[str]) -> None:
    _title("A znode of 900 kB")
    with _clients(*hosts) as (writer, reader):
        data = os.urandom(900_000)
        began = time.monotonic()
        writer.create("/app/large", data)
        _say(f"written through one gateway in {_ms(began)}")
        began = time.monotonic()
        found: Any = reader.get("/app/large")
        if found[0] != data:
            raise DemoFailed("what was read is not what was written")
        _say(f"read through the other in {_ms(began)}: the same {len(data):,} bytes")


def _bill(requests: Usage, computed: Usage, seconds: float) -> None:
    _title(f"What that consumed, in {seconds:.0f} s")
    lines = [*requests, *computed]
    print(f"  {'by':<11}{'request':<29}{'number':>7}  {'billed as':<24}{'dollars':>11}")
    for line in lines:
        amount = f"{line.units:.3f}" if line.unit == "GB-second" else f"{line.units:,.0f}"
        unit = f"{amount} {line.unit}{'' if line.units == 1 or line.unit == 'free' else 's'}"
        request = f"{line.service} {line.operation}"
        print(f"  {line.who:<11}{request:<29}{line.count:>7,}  {unit:<24}{line.dollars:>11.7f}")
    total = requests.dollars + computed.dollars
    print(f"  {'together':<73}{total:>11.7f}")
    units = {unit: sum(line.units for line in lines if line.unit == unit) for unit in ("write unit", "read unit")}
    _say(
        f"{sum(line.count for line in requests):,} requests, {units['write unit']:,.0f} write and "
        f"{units['read unit']:,.0f} read capacity units: {1 / total:,.0f} such runs for a dollar."
    )
    for text in _FINE_PRINT:
        _say(text)


_FINE_PRINT = (
    "Counted: every request of gateways and functions, every invocation by the report in its log. Computed: capacity",
    "units from the sizes of items, and for Lambda's pollers two requests an invocation. Measured on this machine, so",
    "different on AWS: how long functions run. Left out: storage, logs, pollers looking into empty queues, deployment.",
    "Prices of us-east-1 in 2026: on demand, arm64, no free tier.",
)


class _Process:
    """A candidate in a process of its own."""

    def __init__(self, name: str, hosts: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faaskeeper_client.demo", "--candidate", name, hosts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.pid = self._process.pid
        threading.Thread(target=self._read, daemon=True).start()

    def says(self) -> str:
        """Its next word."""
        return _take(self._lines, f"a word of the {self._name} candidate")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put("died")


@contextmanager
def _candidates(hosts: Iterable[str]) -> Generator[Callable[[str, str], _Process]]:
    processes: list[_Process] = []

    def start(name: str, hosts: str) -> _Process:
        processes.append(_Process(name, hosts))
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            process.kill()


def _candidate(name: str, hosts: str) -> None:
    """Waits to lead, says so, and leads for as long as it lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    client = KazooClient(hosts, timeout=_SESSION_TIMEOUT)
    client.start(_LONGEST)
    election = client.Election("/app/leader", name)
    if election.contenders():
        print("waits", flush=True)

    def lead() -> None:
        print("leads", flush=True)
        threading.Event().wait()

    election.run(lead)


def _end_with_parent() -> None:
    """A parent that is interrupted before it knows of this process cannot kill it, but it closes our input."""
    sys.stdin.read()
    os._exit(1)


@contextmanager
def _clients(*hosts: str) -> Generator[list[KazooClient]]:
    clients = [KazooClient(each) for each in hosts]
    try:
        for client in clients:
            client.start(_LONGEST)
        yield clients
    finally:
        for client in clients:
            client.stop()
            client.close()


@contextmanager
def _timed(what: str) -> Generator[None]:
    print(f"  {what} ...", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def _take(source: queue.Queue[T], what: str) -> T:
    try:
        return source.get(timeout=_LONGEST)
    except queue.Empty:
        raise DemoFailed(f"{what} did not come within {_LONGEST} s") from None


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _LONGEST
    while not condition():
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what} did not come within {_LONGEST} s")
        time.sleep(0.05)


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _ms(began: float) -> str:
    return f"{1000 * (time.monotonic() - began):.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
