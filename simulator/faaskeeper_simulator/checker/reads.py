"""What a read must answer: the state at its reply's zxid, exactly, as in ZooKeeper.

Nothing less would do: a client sets its watches anew by the last zxid it was told, so a reply that showed less, or
more, than its zxid says would let an event be lost or come twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from faaskeeper.znode import paths
from faaskeeper.znode.acl import Caller, masked_for_reader, may_read
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import Znode
from faaskeeper_client.wire.requests import (
    Auth,
    Exists,
    GetAcl,
    GetChildren,
    GetData,
    MultiRead,
    SetWatches,
)
from faaskeeper_simulator.checker.model import Model, caller_of, timeless
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call, Connection
from faaskeeper_simulator.harness.wire import Reply

READS = (Exists, GetData, GetChildren, GetAcl, MultiRead)


@dataclass(slots=True)
class Reads:
    """Answered reads by the zxid of their reply. ``at_zxid`` compares those of the model's; ``missed`` are the
    (list, path) of which setWatches must have told something, by its call."""

    by_zxid: dict[int, list[Call]] = field(default_factory=lambda: defaultdict[int, list[Call]](list))
    missed: dict[Call, set[tuple[str, str]]] = field(default_factory=dict[Call, set[tuple[str, str]]])
    violations: list[Violation] = field(default_factory=list[Violation])
    callers: dict[Call, Caller] = field(default_factory=dict[Call, Caller])

    def add(self, connection: Connection) -> None:
        credentials: tuple[tuple[str, str], ...] = (("ip", connection.address),)
        for call in connection.calls:
            if isinstance(call.body, Auth):
                if call.body.scheme == "digest":
                    credentials = (*credentials, ("digest", call.body.credentials.decode()))
            elif call.zxid is not None and isinstance(call.body, (*READS, SetWatches)):
                self.by_zxid[call.zxid].append(call)
                self.callers[call] = caller_of(connection.session, "", credentials)

    def at_zxid(self, model: Model) -> None:
        for call in self.by_zxid.pop(model.zxid, ()):
            if isinstance(call.body, SetWatches):
                self.missed[call] = set(_missed(model, call.body))
                continue
            expected = expect(model, call.body, self.callers[call])
            actual = normal(call.reply)
            if expected != actual:
                text = f"the state at zxid {call.zxid} is {expected}"
                self.violations.append(Violation("read", text, call.answered, (call,)))

    def finish(self, last: int) -> None:
        for zxid, calls in self.by_zxid.items():
            for call in calls:
                text = f"zxid {zxid} was shown, but the last is {last}"
                self.violations.append(Violation("read", text, call.answered, (call,)))


def normal(reply: Reply | None) -> Reply | None:
    """The reply without times."""
    if reply is None:
        return None
    results = None if reply.results is None else tuple(normal(result) for result in reply.results)
    return Reply(reply.code, reply.path, timeless(reply.stat), reply.data, reply.names, reply.acl, results)  # type: ignore[arg-type]


def read_paths(body: Any) -> Iterable[str]:
    if isinstance(body, MultiRead):
        return [read.path or "/" for read in body.reads]
    return [body.path or "/"]


def expect(model: Model, body: Any, caller: Caller) -> Reply:
    if isinstance(body, MultiRead):
        return Reply(Code.OK, results=tuple(_part(model, read, caller) for read in body.reads))
    node = model.nodes.get(body.path or "/")
    if node is None:
        return Reply(Code.NO_NODE)
    if isinstance(body, GetAcl):
        try:
            return Reply(Code.OK, acl=masked_for_reader(node.acl, caller), stat=node.stat)
        except ZnodeError as error:
            return Reply(error.code)
    if not may_read(node.acl, caller):
        return Reply(Code.NO_AUTH)
    match body:
        case Exists():
            return Reply(Code.OK, stat=node.stat)
        case GetData():
            return Reply(Code.OK, data=_bytes(node), stat=node.stat)
        case GetChildren():
            return Reply(Code.OK, names=_names(model, body.path), stat=node.stat)
        case _:
            raise AssertionError(f"{body} is no read")


def _part(model: Model, body: GetData | GetChildren, caller: Caller) -> Reply:
    """In a multiRead a list of children comes without the Stat."""
    reply = expect(model, body, caller)
    return Reply(Code.OK, names=reply.names) if isinstance(body, GetChildren) and reply.code is Code.OK else reply


def _names(model: Model, path: str) -> tuple[str, ...]:
    return tuple(sorted(model.names.get(path or "/", ())))


def _bytes(node: Znode) -> bytes | None:
    assert node.data is None or isinstance(node.data, bytes)
    return node.data


def _missed(model: Model, body: SetWatches) -> Iterable[tuple[str, str]]:
    """(list, path) of what has changed by the model's zxid, by DataTree.setWatches."""
    since = body.relative_zxid
    for path in body.data:
        node = _at(model, path)
        if node is None or node.mzxid > since:
            yield "data", path
    for path in body.exist:
        if _at(model, path) is not None:
            yield "exist", path
    for path in body.child:
        node = _at(model, path)
        if node is None or node.pzxid > since:
            yield "child", path


def _at(model: Model, path: str) -> Znode | None:
    return model.nodes.get(path) if paths.is_valid(path) else None
