"""Four-letter words: an administrator's questions on the client port (org.apache.zookeeper.server.command).

The answers have the form that scripts, exporters and agents parse from a real server; what has no counterpart in a
gateway (quorum, files, digests) is left out or zero, never invented.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from .jute import INT64
from .requests import Op
from .statistics import CacheStatistics, ServerStatistics, Statistics

ZOOKEEPER_VERSION = "3.9.5"
"""Whose behaviour a gateway has; clients and tools decide by it what they may use."""

_NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"
TRACE_MASK = 306
_UINT64 = 0xFFFFFFFFFFFFFFFF


class Command(NamedTuple):
    """A connection that began with a four-letter word; ``argument`` is what came along (stmk takes 8 bytes)."""

    word: str
    argument: bytes


@dataclass(frozen=True, slots=True)
class Connection:
    """A client's connection. ``session`` is 0 before the handshake; ``established`` and ``expires`` are ms since the
    epoch, ``timeout`` is in ms."""

    address: tuple[str, int]
    expires: int
    queued: int = 0
    session: int = 0
    timeout: int = 0
    established: int = 0
    statistics: Statistics = field(default_factory=Statistics)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A gateway as it is now.

    ``version`` is like ``"3.9.5-faaskeeper-1.0.0, built on 2026-01-31 00:00 UTC"``: agents parse both halves.
    ``serving`` is False while the gateway must not answer. ``zxid`` is the last complete one. ``outstanding`` are
    requests in progress, ``uptime`` is in ms. ``sessions`` (when each expires, in ms since the epoch) and ``watches``
    (the paths it has data watches on, as ZooKeeper keeps them) are by session id, connected or not; ``child_watches``
    is a number. ``configuration`` is conf's, ``environment`` envi's. ``elapsed`` is what the gateway's own clock, which
    only goes forward, showed in ms at ``wall`` ms since the epoch. ``secure``: clients connect by TLS.
    """

    version: str
    zxid: int
    serving: bool = True
    connections: Collection[Connection] = ()
    sessions: Mapping[int, int] = field(default_factory=dict[int, int])
    watches: Mapping[int, Collection[str]] = field(default_factory=dict[int, Collection[str]])
    child_watches: int = 0
    statistics: ServerStatistics = field(default_factory=ServerStatistics)
    outstanding: int = 0
    uptime: int = 0
    configuration: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    elapsed: int = 0
    wall: int = 0
    secure: bool = False
    cache: CacheStatistics = field(default_factory=CacheStatistics)


def answer(command: Command, snapshot: Snapshot) -> bytes:
    """The whole answer, after which the connection closes.

    Those to crst and srst only say that it is done: whoever keeps the statistics begins new ones.
    """
    if command.word == "stmk":
        mask = command.argument[: INT64.size]
        return str(INT64.unpack(mask)[0]).encode() if len(mask) == INT64.size else b""
    if not snapshot.serving and command.word not in _ALWAYS:
        return b"null" if command.word == "isro" else _NOT_SERVING.encode()
    return _ANSWERS[command.word](snapshot).encode()


def _srvr(snapshot: Snapshot) -> str:
    return f"Zookeeper version: {snapshot.version}\n{_statistics(snapshot)}"


def _stat(snapshot: Snapshot) -> str:
    clients = "".join(f"{_client(connection)})\n" for connection in snapshot.connections)
    return f"Zookeeper version: {snapshot.version}\nClients:\n{clients}\n{_statistics(snapshot)}"


def _statistics(snapshot: Snapshot) -> str:
    """``Node count: -1`` as it is unknown: some tools read the lines by position."""
    statistics = snapshot.statistics
    average = round(statistics.average_latency, 4)
    return (
        f"Latency min/avg/max: {statistics.min_latency}/{average}/{statistics.max_latency}\n"
        f"Received: {statistics.received}\n"
        f"Sent: {statistics.sent}\n"
        f"Connections: {len(snapshot.connections)}\n"
        f"Outstanding: {snapshot.outstanding}\n"
        f"Zxid: {_hex(snapshot.zxid)}\n"
        "Mode: standalone\n"
        "Node count: -1\n"
    )


def _cons(snapshot: Snapshot) -> str:
    return "".join(f"{_client(connection)}{_details(connection)})\n" for connection in snapshot.connections) + "\n"


def _client(connection: Connection) -> str:
    statistics = connection.statistics
    counts = f"queued={connection.queued},recved={statistics.received},sent={statistics.sent}"
    return f" {_address(connection)}[1]({counts}"


def _details(connection: Connection) -> str:
    if not connection.session:
        return ""
    statistics = connection.statistics
    operation = operation_name(statistics.last_op)
    xid = statistics.last_xid
    return (
        f",sid={_hex(connection.session)},lop={operation},est={connection.established},to={connection.timeout}"
        f"{'' if xid is None else f',lcxid={_hex(xid)}'},lzxid={_hex(statistics.last_zxid)}"
        f",lresp={statistics.last_response},llat={statistics.last_latency},minlat={statistics.min_latency}"
        f",avglat={int(statistics.average_latency)},maxlat={statistics.max_latency}"
    )


def _address(connection: Connection) -> str:
    """As java.net.InetSocketAddress prints it."""
    host, port = connection.address
    return f"/[{host}]:{port}" if ":" in host else f"/{host}:{port}"


def _dump(snapshot: Snapshot) -> str:
    """Without ephemerals: which there are, storage knows."""
    sessions = ((expires, f"\t{_hex(key)}\n") for key, expires in snapshot.sessions.items())
    connections = (
        (connection.expires, f"\tip: {_address(connection)} sessionId: {_hex(connection.session)}\n")
        for connection in snapshot.connections
    )
    return (
        f"SessionTracker dump:\n{_expiries('Session', sessions)}"
        "ephemeral nodes dump:\nSessions with Ephemerals (0):\n"
        f"Connections dump:\n{_expiries('Connections', connections)}"
    )


def _expiries(title: str, entries: Iterable[tuple[int, str]]) -> str:
    """Sorted into buckets of a second, by time in ms since the epoch."""
    buckets: defaultdict[int, list[str]] = defaultdict(list)
    for expires, line in entries:
        buckets[-(-expires // 1000)].append(line)
    lines = [f"{title} Sets ({len(buckets)})/({sum(map(len, buckets.values()))}):\n"]
    for second, bucket in sorted(buckets.items()):
        date = time.asctime(time.gmtime(second)).replace("  ", " 0")
        lines.append(f"{len(bucket)} expire at {date[:-5]} UTC{date[-5:]}:\n")
        lines += bucket
    return "".join(lines)


def _tree(branches: Iterable[tuple[str, Iterable[str]]]) -> str:
    return "".join(f"{head}\n" + "".join(f"\t{leaf}\n" for leaf in leaves) for head, leaves in branches)


def _wchs(snapshot: Snapshot) -> str:
    watchers = sum(1 for paths in snapshot.watches.values() if paths)
    paths = len({path for paths in snapshot.watches.values() for path in paths})
    return f"{watchers} connections watching {paths} paths\nTotal watches:{data_watch_count(snapshot)}\n"


def data_watch_count(snapshot: Snapshot) -> int:
    """Each path of each session once."""
    return sum(map(len, snapshot.watches.values()))


def _wchc(snapshot: Snapshot) -> str:
    return _tree((_hex(session), paths) for session, paths in snapshot.watches.items() if paths) + "\n"


def _wchp(snapshot: Snapshot) -> str:
    sessions: defaultdict[str, list[str]] = defaultdict(list)
    for session, paths in snapshot.watches.items():
        for path in paths:
            sessions[path].append(_hex(session))
    return _tree(sessions.items()) + "\n"


def _mntr(snapshot: Snapshot) -> str:
    cache = {f"cache_{name}": value for name, value in asdict(snapshot.cache).items()}
    return "".join(f"zk_{name}\t{value}\n" for name, value in {**monitor(snapshot), **cache}.items())


def monitor(snapshot: Snapshot) -> dict[str, str | int | float]:
    """By ZooKeeper's names, without the prefix that mntr gives them (ZooKeeperServer.registerMetrics)."""
    statistics = snapshot.statistics
    return {
        "version": snapshot.version,
        "server_state": "standalone",
        "num_alive_connections": len(snapshot.connections),
        "avg_latency": round(statistics.average_latency, 4),
        "outstanding_requests": snapshot.outstanding,
        "global_sessions": len(snapshot.sessions),
        "local_sessions": 0,
        "last_client_response_size": statistics.last_response_size,
        "min_client_response_size": statistics.min_response_size,
        "max_client_response_size": statistics.max_response_size,
        "packets_sent": statistics.sent,
        "packets_received": statistics.received,
        "watch_count": data_watch_count(snapshot) + snapshot.child_watches,
        "min_latency": statistics.min_latency,
        "max_latency": statistics.max_latency,
        "uptime": snapshot.uptime,
    }


def _envi(snapshot: Snapshot) -> str:
    return "Environment:\n" + _settings({"zookeeper.version": snapshot.version, **snapshot.environment})


def _conf(snapshot: Snapshot) -> str:
    return _settings(snapshot.configuration)


def _settings(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def operation_name(op: int | None) -> str:
    """Of an opcode, as cons and AdminServer show it (Request.op2String), NA if there is none."""
    return "NA" if op is None else _OPERATIONS.get(op, "NA")


def _hex(value: int) -> str:
    return f"0x{value & _UINT64:x}"


_OPERATIONS: dict[int, str] = {
    Op.CREATE: "CREA",
    Op.CREATE2: "CREA",
    Op.CREATE_CONTAINER: "CREA",
    Op.CREATE_TTL: "CREA",
    Op.DELETE: "DELE",
    Op.EXISTS: "EXIS",
    Op.GET_DATA: "GETD",
    Op.SET_DATA: "SETD",
    Op.GET_ACL: "GETA",
    Op.SET_ACL: "SETA",
    Op.GET_CHILDREN: "GETC",
    Op.GET_CHILDREN2: "GETC",
    Op.GET_ALL_CHILDREN_NUMBER: "GETACN",
    Op.GET_EPHEMERALS: "GETE",
    Op.SYNC: "SYNC",
    Op.PING: "PING",
    Op.MULTI: "MULT",
    Op.MULTI_READ: "MLTR",
    Op.RECONFIG: "RECO",
    Op.CHECK_WATCHES: "CHKW",
    Op.REMOVE_WATCHES: "REMW",
    Op.ADD_WATCH: "ADDW",
    Op.SET_WATCHES: "SETW",
    Op.SET_WATCHES2: "STW2",
    Op.WHO_AM_I: "HOMI",
    Op.CREATE_SESSION: "SESS",
    Op.CLOSE_SESSION: "CLOS",
}
_ALWAYS = frozenset({"ruok", "envi", "gtmk"})
_ANSWERS: dict[str, Callable[[Snapshot], str]] = {
    "ruok": lambda _: "imok",
    "isro": lambda _: "rw",
    "srvr": _srvr,
    "stat": _stat,
    "cons": _cons,
    "dump": _dump,
    "wchs": _wchs,
    "wchc": _wchc,
    "wchp": _wchp,
    "mntr": _mntr,
    "envi": _envi,
    "conf": _conf,
    "dirs": lambda _: "datadir_size: 0\nlogdir_size: 0\n",
    "hash": lambda _: "",
    "gtmk": lambda _: str(TRACE_MASK),
    "crst": lambda _: "Connection stats reset.\n",
    "srst": lambda _: "Server stats reset.\n",
}
WORDS = frozenset({*_ANSWERS, "stmk"})
