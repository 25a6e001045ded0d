"""At rest, storage holds the last state and nothing that contradicts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from faaskeeper.blocks.attributes import get_number, get_string
from faaskeeper.storage.keys import CHILD_PREFIX, EPHEMERAL_PREFIX, GATEWAY_SESSION_PREFIX, NODE, VALUE, unhex64
from faaskeeper.storage.sessions import session_of
from faaskeeper.storage.znodes import NodeItem
from faaskeeper.znode import paths
from faaskeeper.znode.model import Blob, Stored, Znode
from faaskeeper_simulator.checker.model import Model
from faaskeeper_simulator.checker.violation import Violation

Items = list[dict[str, Any]]


def check_storage(model: Model, items: Mapping[str, Items], blobs: Mapping[str, bytes]) -> Iterator[Violation]:
    nodes: dict[str, Znode] = {}
    values: dict[str, tuple[int, bytes]] = {}
    edges: dict[str, int] = {}
    for item in items["znodes"]:
        path, part = get_string(item, "path"), get_string(item, "part")
        if part == NODE:
            path = get_string(item, "full", path)
            znode = NodeItem(path, item).znode
            if znode is not None:
                nodes[path] = znode
        elif part == VALUE:
            values[path] = (get_number(item, "mzxid"), bytes(item["data"]["B"]))
        else:
            edges[paths.child(path, get_string(item, "full", part.removeprefix(CHILD_PREFIX)))] = get_number(
                item, "czxid"
            )
    yield from _differ("znode", _bare(nodes), _bare(model.nodes))
    yield from _differ("edge", edges, {path: node.czxid for path, node in model.nodes.items() if path != "/"})
    for path, node in nodes.items():
        expected = model.nodes.get(path)
        if expected is not None and _content(path, node, values, blobs) != expected.data:
            yield Violation("storage", f"the data of {path} are not those of zxid {expected.mzxid}")
    beside = {path for path, node in nodes.items() if isinstance(node.data, Stored)}
    if values.keys() != beside:
        yield Violation("storage", f"values of {sorted(values.keys() - beside)} belong to no node")
    yield from _check_sessions(model, items["sessions"])


def _check_sessions(model: Model, items: Items) -> Iterator[Violation]:
    sessions: dict[int, Any] = {}
    owned: dict[str, int] = {}
    attached: dict[int, str] = {}
    for item in items:
        kind, _, name = get_string(item, "id").partition("#")
        part = get_string(item, "part")
        if kind == "session" and part.startswith(EPHEMERAL_PREFIX):
            owned[get_string(item, "full", part.removeprefix(EPHEMERAL_PREFIX))] = unhex64(name)
        elif kind == "session":
            sessions[unhex64(name)] = session_of(item)
        elif part.startswith(GATEWAY_SESSION_PREFIX):
            attached[unhex64(part.removeprefix(GATEWAY_SESSION_PREFIX))] = name
    yield from _differ("session", sessions, model.sessions)
    yield from _differ("ephemeral", owned, {path: node.owner for path, node in model.nodes.items() if node.owner})
    yield from _differ("attachment", attached, {each: session.gateway for each, session in model.sessions.items()})


def _differ(what: str, actual: Mapping[Any, object], expected: Mapping[Any, object]) -> Iterator[Violation]:
    for key in sorted(actual.keys() | expected.keys(), key=str):
        if actual.get(key) != expected.get(key):
            yield Violation("storage", f"{what} {key}: {actual.get(key)} is stored, {expected.get(key)} was made")


def _bare(nodes: Mapping[str, Znode]) -> dict[str, Znode]:
    """Without what differs: times, and the form that data have."""
    return {path: replace(node, ctime=node.czxid, mtime=node.mzxid, data=None) for path, node in nodes.items()}


def _content(
    path: str, node: Znode, values: Mapping[str, tuple[int, bytes]], blobs: Mapping[str, bytes]
) -> bytes | None:
    match node.data:
        case Blob(key=key):
            return blobs.get(key)
        case Stored():
            mzxid, value = values.get(path, (-1, b""))
            return value if mzxid == node.mzxid else None
        case data:
            return data
