"""AdminServer's answers, a real one's beside the gateway's: field by field, after the same clients did the same.

Compared are the names of all fields, the kinds of their values, and the values but for times, sizes of processes and
versions. ``accepted.json`` names what a gateway leaves out.
"""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from kazoo.client import KazooClient

from faaskeeper_client.addresses import Address
from faaskeeper_client.http.admin import primary_names
from tests.conformance.judges import Verdict, accepted_differences

_ALIASES = (
    *("conf", "config", "cons", "env", "envi", "gtmk", "icfg", "isro", "lead", "mntr", "obsr", "orst", "srvr", "stat"),
    *("stmk", "stmk?traceMask=5", "stmk?traceMask=x", "wchs", "wchc", "wchp", "nonesuch"),
)
_RESETS = ("connection_stat_reset", "crst", "stat_reset", "srst")
"""Asked last, so that there is something to compare before."""
_ABSENT = "absent"
_VOLATILE = (
    "*latency*",
    "*_zxid",
    "*established",
    "*last_operation",
    "*last_response_time",
    "*remote_socket_address",
    "*port",
    "*uptime",
    "*version*",
    "environment.*",
    "*packets_*",
    "*buffer_size",
    "*response_size",
    "*initial_configuration",
)
"""Fields whose values, not kinds, differ from one server or moment to the next."""


def admin(oracle: tuple[Address, Address], endpoint: tuple[Address, Address]) -> Verdict:
    """Each is (where clients connect to, where AdminServer answers)."""
    began = time.monotonic()
    with _clients(oracle[0]) as there, _clients(endpoint[0]) as here:
        found: list[str] = []
        accepted: list[str] = []
        commands = [*sorted({*primary_names(), *_ALIASES} - {*_RESETS}), *_RESETS]
        for command in commands:
            expected, answer = _fields(_ask(oracle[1], command), there), _fields(_ask(endpoint[1], command), here)
            for field in sorted(expected.keys() | answer.keys()):
                real, ours = expected.get(field, _ABSENT), answer.get(field, _ABSENT)
                if _same(field, real, ours):
                    continue
                rule = _accepting(field, ours)
                if rule is None:
                    found.append(f"/commands/{command}: {field} is {real!r} on ZooKeeper, here {ours!r}")
                elif rule not in accepted:
                    accepted.append(rule)
    return Verdict("AdminServer", f"{len(commands)} commands", tuple(found), tuple(accepted), time.monotonic() - began)


def _same(field: str, real: Any, ours: Any) -> bool:
    if real == ours:
        return True
    volatile = any(fnmatchcase(field, pattern) for pattern in _VOLATILE)
    return volatile and _ABSENT not in (real, ours) and _kind(real) is _kind(ours)


def _kind(value: Any) -> type:
    """Whole numbers and others are one kind: an average may be either."""
    return float if type(value) is int else type(value)


def _accepting(field: str, ours: Any) -> str | None:
    rules = accepted_differences()["admin"]
    matching = (name for name, rule in rules.items() if fnmatchcase(field, name) and rule["ours"] in (ours, "other"))
    return next(matching, None)


@contextmanager
def _clients(address: Address) -> Iterator[dict[str, str]]:
    """Two sessions with watches and an ephemeral; yields what their ids and ports are called."""
    clients = [KazooClient(str(address), timeout=10.0) for _ in range(2)]
    try:
        for client in clients:
            client.start()
        one, two = clients
        one.create("/admin", b"x")
        one.create("/admin/e", b"yy", ephemeral=True)
        one.get("/admin", watch=_ignore)
        one.exists("/admin/missing", watch=_ignore)
        one.get_children("/admin", watch=_ignore)
        one.get_children("/", watch=_ignore)
        two.get("/admin", watch=_ignore)
        yield {str(client.client_id[0]): name for client, name in zip(clients, ("one", "two"), strict=True)}
    finally:
        for client in clients:
            client.stop()
            client.close()


def _ask(address: Address, command: str) -> Any:
    with urllib.request.urlopen(f"http://{address}/commands/{command}", timeout=10) as answer:
        return json.load(answer)


def _fields(answer: Any, names: dict[str, str]) -> dict[str, Any]:
    """By path from the command's primary name on. Sessions are called by their names; lists are in order of those."""
    return dict(_flat(answer["command"], answer, names))


def _flat(path: str, value: Any, names: dict[str, str]) -> Iterator[tuple[str, Any]]:
    if path.endswith("expiry_time_to_session_ids"):
        yield path, sorted(names.get(str(session), "?") for bucket in value.values() for session in bucket)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(f"{path}.{names.get(name, name)}", each, names)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        ordered = sorted(value, key=lambda each: names.get(str(each.get("session_id")), ""))
        for number, each in enumerate(ordered):
            yield from _flat(f"{path}[{number}]", each, names)
    elif isinstance(value, list):
        yield path, sorted(names.get(str(each), str(each)) for each in value)
    else:
        yield path, names.get(str(value), value)


def _ignore(event: object) -> None:
    pass
