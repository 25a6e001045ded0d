"""kazoo writes what we read and reads what we write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kazoo.exceptions import EXCEPTIONS
from kazoo.protocol import serialization as kazoo
from kazoo.protocol.states import WatchedEvent
from kazoo.security import ACL, Id

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl, EventKind, Stat
from faaskeeper.znode.operations import Check, CloseSession, Create, Delete, Multi, Outcome, SetAcl, SetData
from faaskeeper_client.wire import decoding, responses
from faaskeeper_client.wire.requests import (
    Auth,
    Body,
    ConnectRequest,
    Exists,
    GetAcl,
    GetChildren,
    GetData,
    Ping,
    Reconfig,
    Request,
    Sasl,
    Sync,
)

int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
datas = st.none() | st.binary(max_size=50)
acls = st.lists(st.builds(Acl, int32s, texts | st.just(""), texts | st.just("")), max_size=3).map(tuple)
"""kazoo sends an empty string as null, so that the id of its ``auth`` scheme arrives as one."""
legible = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF), min_size=1, max_size=20)
"""Above that kazoo, like most, cannot read what ZooKeeper writes: two encoded surrogates."""
legible_acls = st.lists(st.builds(Acl, int32s, legible, legible), max_size=3).map(tuple)
stats = st.builds(Stat, int64s, int64s, int64s, int64s, int32s, int32s, int32s, int64s, int32s, int32s, int64s)
creates = st.builds(Create, texts, st.binary(max_size=50), acls, st.sampled_from([0, 1, 2, 3]))
deletes = st.builds(Delete, texts, int32s)
sets = st.builds(SetData, texts, st.binary(max_size=50), int32s)
checks = st.builds(Check, texts, int32s)


def theirs(entries: tuple[Acl, ...]) -> list[ACL]:
    return [ACL(entry.perms, Id(entry.scheme, entry.id)) for entry in entries]


def kazoo_request(body: Body | Check) -> Any:
    """kazoo's object for a request of ours."""
    match body:
        case Create(path, data, acl, flags):
            return kazoo.Create(path, data, theirs(acl), flags)
        case Delete(path, version):
            return kazoo.Delete(path, version)
        case SetData(path, data, version):
            return kazoo.SetData(path, data, version)
        case SetAcl(path, acl, version):
            return kazoo.SetACL(path, theirs(acl), version)
        case Check(path, version):
            return kazoo.CheckVersion(path, version)
        case Multi(operations):
            return kazoo.Transaction([kazoo_request(each) for each in operations])
        case Exists(path, watch):
            return kazoo.Exists(path, watch or None)
        case GetData(path, watch):
            return kazoo.GetData(path, watch or None)
        case GetAcl(path):
            return kazoo.GetACL(path)
        case GetChildren(path, watch, with_stat):
            return (kazoo.GetChildren2 if with_stat else kazoo.GetChildren)(path, watch or None)
        case Sync(path):
            return kazoo.Sync(path)
        case Reconfig(joining, leaving, members, version):
            return kazoo.Reconfig(joining, leaving, members, version)
        case Auth(scheme, credentials):
            return kazoo.Auth(0, scheme, credentials.decode())
        case Sasl(token):
            return kazoo.SASL(token)
        case Ping():
            return kazoo.Ping
        case CloseSession():
            return kazoo.Close
        case _:
            raise AssertionError(body)


@given(
    int32s,
    creates
    | deletes
    | sets
    | st.builds(SetAcl, texts, acls, int32s)
    | st.builds(Multi, st.lists(creates | deletes | sets | checks, max_size=4).map(tuple))
    | st.builds(Exists, texts, st.booleans())
    | st.builds(GetData, texts, st.booleans())
    | st.builds(GetAcl, texts)
    | st.builds(GetChildren, texts, st.booleans(), st.booleans())
    | st.builds(Sync, texts)
    | st.builds(Reconfig, st.none() | texts, st.none() | texts, st.none() | texts, int64s)
    | st.builds(Auth, texts, texts.map(str.encode))
    | st.builds(Sasl, st.binary(max_size=50))
    | st.just(Ping())
    | st.just(CloseSession()),
)
def test_what_kazoo_writes(xid: int, body: Body) -> None:
    theirs = kazoo_request(body)
    frame = kazoo.int_struct.pack(xid) + kazoo.int_struct.pack(theirs.type) + bytes(theirs.serialize())
    request = decoding.decode(frame)
    assert (request.xid, request.op, request.body) == (xid, theirs.type, body)


@given(int64s, int32s, int64s, st.binary(min_size=16, max_size=16), st.booleans())
def test_what_kazoo_connects_with(zxid: int, timeout: int, session: int, password: bytes, read_only: bool) -> None:
    frame = bytes(kazoo.Connect(0, zxid, timeout, session, password, read_only or None).serialize())
    assert decoding.decode_connect(frame) == ConnectRequest(0, zxid, timeout, session, password, read_only)


@given(int32s, int64s, st.binary(min_size=16, max_size=16))
def test_how_kazoo_reads_a_handshake(timeout: int, session: int, password: bytes) -> None:
    answer, _ = kazoo.Connect.deserialize(responses.connected(timeout, session, password, False)[4:], 0)
    assert (answer.time_out, answer.session_id, answer.passwd, answer.read_only) == (timeout, session, password, False)


def header(frame: bytes) -> tuple[int, int, int, int]:
    """(xid, zxid, err) and where the body begins, once the length is seen to be right."""
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    found, offset = kazoo.ReplyHeader.deserialize(frame, 4)
    return found.xid, found.zxid, found.err, offset


@given(int32s, int64s, legible, datas, stats, st.lists(legible, max_size=4), legible_acls)
def test_how_kazoo_reads_answers(
    xid: int, zxid: int, path: str, data: bytes | None, stat: Stat, names: list[str], acl: tuple[Acl, ...]
) -> None:
    written = Outcome(Code.OK, zxid, path, stat)
    cases: list[tuple[bytes, Any, Any]] = [
        (responses.outcome(Request(xid, 1, Create(path, b"", ())), written), kazoo.Create, path),
        (responses.outcome(Request(xid, 15, Create(path, b"", ())), written), kazoo.Create2, (path, stat)),
        (responses.outcome(Request(xid, 2, Delete(path)), Outcome(Code.OK, zxid)), kazoo.Delete, True),
        (
            responses.outcome(Request(xid, 5, SetData(path, b"")), Outcome(Code.OK, zxid, None, stat)),
            kazoo.SetData,
            stat,
        ),
        (responses.outcome(Request(xid, 7, SetAcl(path, ())), Outcome(Code.OK, zxid, None, stat)), kazoo.SetACL, stat),
        (responses.stat(xid, zxid, stat), kazoo.Exists, stat),
        (responses.data(xid, zxid, data, stat), kazoo.GetData, (data, stat)),
        (responses.acls(xid, zxid, acl, stat), kazoo.GetACL, (theirs(acl), stat)),
        (responses.children(xid, zxid, names, None), kazoo.GetChildren, names),
        (responses.children(xid, zxid, names, stat), kazoo.GetChildren2, (names, stat)),
        (responses.path(xid, zxid, path), kazoo.Sync, path),
    ]
    for frame, kind, expected in cases:
        *found, offset = header(frame)
        assert found == [xid, zxid, 0]
        assert kind.deserialize(frame, offset) == expected


@given(int32s, int64s, st.text("abc/", min_size=1), stats)
def test_how_kazoo_reads_a_transaction(xid: int, zxid: int, path: str, stat: Stat) -> None:
    operations = Multi((Create(path, b"", ()), SetData(path, b""), Check(path), Delete(path)))
    request = Request(xid, 14, operations, (1, 5, 13, 2))
    ok = Outcome(Code.OK, zxid)
    done = Outcome(
        Code.OK, zxid, results=(Outcome(Code.OK, zxid, path, stat), Outcome(Code.OK, zxid, None, stat), ok, ok)
    )
    frame = responses.outcome(request, done)
    assert kazoo.Transaction.deserialize(frame, header(frame)[3]) == [path, stat, True, True]

    undone = Outcome(Code.RUNTIME_INCONSISTENCY, zxid)
    failed = Outcome(Code.OK, zxid, results=(ok, Outcome(Code.BAD_VERSION, zxid), undone, undone))
    frame = responses.outcome(request, failed)
    found = [type(each) for each in kazoo.Transaction.deserialize(frame, header(frame)[3])]
    assert found == [EXCEPTIONS[code] for code in (0, -103, -2, -2)]


@given(legible, st.sampled_from(EventKind), int64s)
def test_how_kazoo_reads_an_event(path: str, kind: EventKind, zxid: int) -> None:
    frame = responses.event(path, kind, zxid)
    *found, offset = header(frame)
    assert found == [-1, zxid, 0]
    watch, _ = kazoo.Watch.deserialize(frame, offset)
    assert WatchedEvent(watch.type, watch.state, watch.path) == WatchedEvent(int(kind), 3, path)


@pytest.mark.parametrize("code", [code for code in Code if int(code) in EXCEPTIONS and code is not Code.OK])
def test_how_kazoo_reads_errors(code: Code) -> None:
    frame = responses.error(5, 6, code)
    assert header(frame) == (5, 6, int(code), 20)
    assert len(frame) == 20
