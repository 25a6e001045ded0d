"""The commands of ZooKeeper's AdminServer (org.apache.zookeeper.server.admin.Commands), about a gateway.

Names and fields are those of 3.9. What a gateway has no counterpart of (files, JVM, quorum) is left out, as in mntr, or
answered as by a standalone server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from faaskeeper_client.gateway.sessions import TICK
from faaskeeper_client.http.gateway_view import GatewayView
from faaskeeper_client.wire.four_letter import (
    TRACE_MASK,
    Connection,
    Snapshot,
    data_watch_count,
    monitor,
    operation_name,
)

JsonObject: TypeAlias = dict[str, Any]

_NOT_SERVING = "This ZooKeeper instance is not currently serving requests"
_MAX_LONG = (1 << 63) - 1
_READABLE = 1
"""``interest_ops`` of a connection whose requests are read (SelectionKey.OP_READ)."""


@dataclass(frozen=True, slots=True)
class Question:
    gateway: GatewayView
    snapshot: Snapshot
    parameters: Mapping[str, str]


Answer = Callable[[Question], Awaitable[JsonObject]]


@dataclass(frozen=True, slots=True)
class Command:
    """``names``: the primary one first. ``needs_service``: refused while the gateway must not answer."""

    names: tuple[str, ...]
    answer: Answer
    needs_service: bool = True


async def run(gateway: GatewayView, name: str, parameters: Mapping[str, str]) -> JsonObject:
    """The answer of the command with that name, as AdminServer's JSON. Unknown commands and those that the gateway must
    not answer now are answered with ``error``. Raises AwsError."""
    command = _BY_NAME.get(name)
    if command is None:
        return {"command": name, "error": f"Unknown command: {name}"}
    snapshot = gateway.snapshot()
    if command.needs_service and not snapshot.serving:
        return {"command": name, "error": _NOT_SERVING}
    answer = await command.answer(Question(gateway, snapshot, parameters))
    return {"error": None} | answer | {"command": command.names[0]}


def primary_names() -> list[str]:
    return sorted(command.names[0] for command in _COMMANDS)


async def _configuration(question: Question) -> JsonObject:
    return {_snake_case(name): value for name, value in question.snapshot.configuration.items()}


async def _initial_configuration(question: Question) -> JsonObject:
    text = "".join(f"{name}={value}\n" for name, value in question.snapshot.configuration.items())
    return {"initial_configuration": text}


async def _connections(question: Question) -> JsonObject:
    return _split(question.snapshot, [_brief(each) | _details(each) for each in question.snapshot.connections])


async def _dump(question: Question) -> JsonObject:
    snapshot = question.snapshot
    expiries: defaultdict[str, list[int]] = defaultdict(list)
    for session, expires in sorted(snapshot.sessions.items(), key=lambda each: each[1]):
        elapsed = expires - snapshot.wall + snapshot.elapsed
        expiries[str(-(-elapsed // TICK) * TICK)].append(session)
    owned = await question.gateway.ephemerals()
    return {
        "expiry_time_to_session_ids": expiries,
        "session_id_to_ephemeral_paths": {str(session): paths for session, paths in owned.items()},
    }


async def _environment(question: Question) -> JsonObject:
    return {"zookeeper.version": question.snapshot.version, **question.snapshot.environment}


async def _monitor(question: Question) -> JsonObject:
    return dict(monitor(question.snapshot))


async def _server_stats(question: Question) -> JsonObject:
    snapshot = question.snapshot
    statistics = snapshot.statistics
    sizes = {
        "last_buffer_size": statistics.last_response_size,
        "min_buffer_size": statistics.min_response_size,
        "max_buffer_size": statistics.max_response_size,
    }
    return {
        "version": snapshot.version,
        "read_only": False,
        "server_stats": {
            "packets_sent": statistics.sent,
            "packets_received": statistics.received,
            "client_response_stats": sizes,
            "last_processed_zxid": snapshot.zxid,
            "outstanding_requests": snapshot.outstanding,
            "server_state": "standalone",
            "avg_latency": round(statistics.average_latency, 4),
            "max_latency": statistics.max_latency,
            "min_latency": statistics.min_latency,
            "num_alive_client_connections": len(snapshot.connections),
            "uptime": snapshot.uptime,
        },
        "client_response": sizes,
    }


async def _stats(question: Question) -> JsonObject:
    brief = _split(question.snapshot, [_brief(each) for each in question.snapshot.connections])
    return await _server_stats(question) | brief


async def _watches(question: Question) -> JsonObject:
    watches = question.snapshot.watches
    return {"session_id_to_watched_paths": {str(session): sorted(paths) for session, paths in watches.items() if paths}}


async def _watches_by_path(question: Question) -> JsonObject:
    sessions: defaultdict[str, list[int]] = defaultdict(list)
    for session, paths in question.snapshot.watches.items():
        for path in paths:
            sessions[path].append(session)
    return {"path_to_session_ids": sessions}


async def _watch_summary(question: Question) -> JsonObject:
    watched = [paths for paths in question.snapshot.watches.values() if paths]
    return {
        "num_connections": len(watched),
        "num_paths": len({path for paths in watched for path in paths}),
        "num_total_watches": data_watch_count(question.snapshot),
    }


async def _reset_statistics(question: Question) -> JsonObject:
    question.gateway.reset_statistics()
    return {}


async def _reset_connection_statistics(question: Question) -> JsonObject:
    question.gateway.reset_connection_statistics()
    return {}


async def _set_trace_mask(question: Question) -> JsonObject:
    """Answered, and nothing is traced by it: a gateway's log has levels."""
    text = question.parameters.get("traceMask")
    if text is None:
        return {"error": "setTraceMask requires long traceMask argument"}
    digits = text.removeprefix("-").removeprefix("+")
    if not digits.isdecimal() or not digits.isascii() or not -_MAX_LONG - 1 <= int(text) <= _MAX_LONG:
        return {"error": f"setTraceMask requires long traceMask argument, got {text}"}
    return {"tracemask": int(text)}


def _always(fields: JsonObject) -> Answer:
    async def answer(question: Question) -> JsonObject:
        return fields

    return answer


def _split(snapshot: Snapshot, connections: Iterable[JsonObject]) -> JsonObject:
    """Connections, and those by TLS: a gateway's are all of one kind."""
    found = list(connections)
    return {
        "connections": [] if snapshot.secure else found,
        "secure_connections": found if snapshot.secure else [],
    }


def _brief(connection: Connection) -> JsonObject:
    """ServerCnxn.getConnectionInfo."""
    host, port = connection.address
    return {
        "remote_socket_address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "interest_ops": _READABLE,
        "outstanding_requests": connection.queued,
        "packets_received": connection.statistics.received,
        "packets_sent": connection.statistics.sent,
    }


def _details(connection: Connection) -> JsonObject:
    statistics = connection.statistics
    return {
        "session_id": connection.session,
        "last_operation": operation_name(statistics.last_op),
        "established": connection.established,
        "session_timeout": connection.timeout,
        "last_cxid": -1 if statistics.last_xid is None else statistics.last_xid,
        "last_zxid": statistics.last_zxid,
        "last_response_time": statistics.last_response,
        "last_latency": statistics.last_latency,
        "min_latency": statistics.min_latency,
        "avg_latency": int(statistics.average_latency),
        "max_latency": statistics.max_latency,
    }


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


_COMMANDS = (
    Command(("configuration", "conf", "config"), _configuration),
    Command(("connection_stat_reset", "crst"), _reset_connection_statistics),
    Command(("connections", "cons"), _connections),
    Command(("dirs",), _always({"datadir_size": 0, "logdir_size": 0})),
    Command(("dump",), _dump),
    Command(("environment", "env", "envi"), _environment, needs_service=False),
    Command(("get_trace_mask", "gtmk"), _always({"tracemask": TRACE_MASK}), needs_service=False),
    Command(("hash",), _always({"digests": []})),
    Command(("initial_configuration", "icfg"), _initial_configuration),
    Command(("is_read_only", "isro"), _always({"read_only": False})),
    Command(("leader", "lead"), _always({"error": "server is not initialized"})),
    Command(("monitor", "mntr"), _monitor),
    Command(("observer_connection_stat_reset", "orst"), _always({})),
    Command(("observers", "obsr"), _always({"synced_observers": 0, "observers": []})),
    Command(("ruok",), _always({})),
    Command(("server_stats", "srvr"), _server_stats),
    Command(("set_trace_mask", "stmk"), _set_trace_mask, needs_service=False),
    Command(("stat_reset", "srst"), _reset_statistics),
    Command(("stats", "stat"), _stats),
    Command(("voting_view",), _always({"current_config": {}})),
    Command(("watch_summary", "wchs"), _watch_summary),
    Command(("watches", "wchc"), _watches),
    Command(("watches_by_path", "wchp"), _watches_by_path),
    Command(("zabstate",), _always({"voting": False, "zabstate": ""}), needs_service=False),
)
_BY_NAME = {name: command for command in _COMMANDS for name in command.names}
