"""This code against what a real ZooKeeper 3.9.5 was asked and answered (``record.py``)."""

from __future__ import annotations

import pytest

from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Acl, EventKind, Identity, Stat
from faaskeeper.znode.operations import Check, CloseSession, Create, Delete, Multi, Outcome, SetAcl, SetData
from faaskeeper_client.wire import decoding, responses
from faaskeeper_client.wire.jute import MarshallingError
from faaskeeper_client.wire.requests import (
    AddWatch,
    Auth,
    Body,
    CheckWatches,
    Exists,
    GetAcl,
    GetAllChildrenNumber,
    GetChildren,
    GetData,
    GetEphemerals,
    MultiRead,
    Ping,
    Reconfig,
    Refused,
    RemoveWatches,
    Request,
    Sasl,
    SetWatches,
    Sync,
    WatcherType,
    WhoAmI,
)
from tests.wire.raw import Values, int32
from tests.wire.replay import Exchange, exchanges, load, opened, results, written
from tests.znode.tree import Tree

LIFE = exchanges("exchanges")
HANDSHAKES = [each for each in LIFE if each.name.startswith("connect")]
REQUESTS = [each for each in LIFE if not each.name.startswith("connect")]
VERDICTS = exchanges("verdicts")
WRITES = (Create, Delete, SetData, SetAcl, Multi)


LAST_ZXID = 99
"""Which a gateway knows and a reply without zxid must not show."""


def create(path: str, flags: int = 0, ttl: int | None = None, data: bytes | None = b"d") -> Create:
    return Create(path, data, OPEN_ACL, flags, ttl)


MEANT: dict[str, Body] = {
    "ping": Ping(),
    "exists.missing.watch": Exists("/r", True),
    "create": create("/r"),
    "getChildren.watch": GetChildren("/r", True, False),
    "create2": create("/r/a", data=None),
    "createContainer": create("/r/c", 4),
    "createTTL": create("/r/t", 5, 60_000),
    "create.sequential": create("/r/s-", 2),
    "create2.ephemeral": create("/r/e-é", 1),
    "create.flags_4": create("/r/flags4", 0),
    "createTTL.flags_0": create("/r/flags0", 0, 60_000),
    "getData.null": GetData("/r/a", True),
    "setData": SetData("/r/a", b"new", 0),
    "setData.empty": SetData("/r/a", b"", -1),
    "getChildren2": GetChildren("/r", False, True),
    "getAllChildrenNumber": GetAllChildrenNumber("/r"),
    "getEphemerals": GetEphemerals(""),
    "sync": Sync("/r"),
    "setACL": SetAcl("/r/c", (Acl(1, "digest", "bob:hash"), Acl(31, "ip", "127.0.0.1")), 0),
    "getACL": GetAcl("/r/c"),
    "auth": Auth("digest", b"bob:secret"),
    "whoAmI": WhoAmI(),
    "sasl.unconfigured": Sasl(b"token"),
    "addWatch.recursive": AddWatch("/r/a", True),
    "checkWatches": CheckWatches("/r/a", WatcherType.ANY),
    "removeWatches": RemoveWatches("/r/a", WatcherType.ANY),
    "delete": Delete("/r/a/k", -1),
    "multi": Multi(
        (
            create("/r/m1"),
            create("/r/m2"),
            create("/r/m3", 4),
            create("/r/m4", 5, 60_000),
            create("/r/m-", 2),
            SetData("/r/m1", b"x", 0),
            Check("/r/m1", 1),
            Delete("/r/m1", -1),
        )
    ),
    "multi.empty": Multi(()),
    "multiRead": MultiRead((GetData("/r/a"), GetChildren("/r/a"), GetData("/no"))),
    "reconfig": Reconfig(None, None, None, -1),
    "setWatches": SetWatches(1, ("/r", "/gone"), ("/r/t",), ("/r/c",)),
    "setWatches2": SetWatches(1 << 40, ("/r",), (), ("/r",), ("/r/c",), ("/",)),
    "closeSession": CloseSession(),
}


@pytest.mark.parametrize("name", MEANT)
def test_a_request_means_what_was_asked(name: str) -> None:
    (exchange,) = [each for each in REQUESTS if each.name == name]
    assert decoding.decode(exchange.request).body == MEANT[name]


@pytest.mark.parametrize("exchange", HANDSHAKES, ids=lambda each: each.name)
def test_the_handshake_is_answered_byte_for_byte(exchange: Exchange) -> None:
    request = decoding.decode_connect(exchange.request)
    assert (request.protocol_version, request.last_zxid_seen, request.timeout) == (0, 0, 10_000)
    assert request.password == bytes(16)
    assert request.read_only is (None if exchange.name.endswith("old") else False)
    (answer,) = exchange.answers
    values = Values(answer)
    _, timeout, session, password = values.int32(), values.int32(), values.int64(), values.buffer()
    assert password is not None
    if exchange.closed:
        assert responses.session_expired(request.read_only) == int32(len(answer)) + answer
    else:
        assert responses.connected(timeout, session, password, request.read_only) == int32(len(answer)) + answer


@pytest.mark.parametrize("exchange", REQUESTS, ids=lambda each: each.name)
def test_the_answer_is_given_byte_for_byte(exchange: Exchange) -> None:
    request = decoding.decode(exchange.request)
    for answer in exchange.answers:
        assert encoded(request, answer) == int32(len(answer)) + answer
    closes = isinstance(request.body, CloseSession) or (isinstance(request.body, Refused) and request.body.closes)
    assert closes is exchange.closed


def encoded(request: Request, answer: bytes) -> bytes:
    """Our frame for what ``answer`` says."""
    (xid, zxid, err), values = opened(answer)
    if xid == responses.EVENT_XID:
        kind, state, path = values.int32(), values.int32(), values.string()
        assert state == 3
        return responses.event(path, EventKind(kind), zxid)
    body = request.body
    if isinstance(body, Refused):
        assert err == body.code
        return responses.refused(request.xid, LAST_ZXID if zxid == -1 else zxid, body)
    if isinstance(body, WRITES):
        return responses.outcome(request, written(request.op, zxid, values) if err == 0 else Outcome(Code(err), zxid))
    if err:
        return responses.error(request.xid, zxid, Code(err))
    match body:
        case Ping():
            return responses.ping(zxid)
        case Auth():
            return responses.auth(request.xid)
        case Sasl():
            return responses.sasl(request.xid, values.buffer())
        case Exists():
            return responses.stat(request.xid, zxid, Stat(*values.stat()))
        case GetData():
            return responses.data(request.xid, zxid, values.buffer(), Stat(*values.stat()))
        case GetAcl():
            return responses.acls(request.xid, zxid, [Acl(*each) for each in values.acl()], Stat(*values.stat()))
        case GetChildren():
            names = values.strings()
            return responses.children(request.xid, zxid, names, Stat(*values.stat()) if body.with_stat else None)
        case GetAllChildrenNumber() | AddWatch():
            return responses.number(request.xid, zxid, values.int32())
        case GetEphemerals():
            return responses.paths(request.xid, zxid, values.strings())
        case Sync():
            return responses.path(request.xid, zxid, values.string())
        case WhoAmI():
            known = [Identity(values.string(), values.string()) for _ in range(values.int32())]
            return responses.identities(request.xid, zxid, known)
        case MultiRead():
            return responses.multi_read(request.xid, zxid, read(values))
        case _:
            return responses.reply(request.xid, zxid)


def read(values: Values) -> list[bytes]:
    found: list[bytes] = []
    while True:
        op, done, _ = values.int32(), values.boolean(), values.int32()
        if done:
            return found
        if op == -1:
            found.append(responses.error_result(Code(values.int32())))
        elif op == 4:
            found.append(responses.data_result(values.buffer(), Stat(*values.stat())))
        else:
            found.append(responses.children_result(values.strings()))


def said(exchange: Exchange) -> tuple[object, bool]:
    """What an answer comes to: an error, the types and errors of a multi's results, nothing, or success."""
    if not exchange.answers:
        return None, exchange.closed
    (_, zxid, err), values = opened(exchange.answers[-1])
    if err:
        return Code(err), exchange.closed
    if exchange.request[4:8] == int32(14):
        return [(op, each.code) for op, each in results(zxid, values)], exchange.closed
    return Code.OK, exchange.closed


def judged(exchange: Exchange) -> tuple[object, bool]:
    """The same of ours: writes go through the core, reads that decode are well."""
    try:
        request = decoding.decode(exchange.request)
    except MarshallingError:
        return None, True
    body = request.body
    if isinstance(body, Refused):
        return body.code, body.closes
    if not isinstance(body, WRITES):
        return Code.OK, False
    tree = Tree(1)
    for path in ("/v", "/m"):
        tree.do(create(path))
    try:
        outcome = tree.do(body).outcome
    except ZnodeError as error:
        return error.code, False
    return said(Exchange(exchange.name, exchange.request, [responses.outcome(request, outcome)[4:]], False))


BEYOND_THE_BYTES = (("16", Code.UNIMPLEMENTED), ("17", Code.NO_WATCHER), ("18", Code.NO_WATCHER))
"""Which watches there are, and that a single server cannot be reconfigured, is for others to know."""


@pytest.mark.parametrize("exchange", VERDICTS, ids=lambda each: each.name)
def test_a_doubtful_body_is_taken_as_zookeeper_takes_it(exchange: Exchange) -> None:
    expected, closed = said(exchange)
    op = exchange.name.split(".")[0]
    if (op, expected) in BEYOND_THE_BYTES:
        expected = Code.OK
    assert judged(exchange) == (expected, closed)


def test_malformed_text_is_read_as_java_reads_it() -> None:
    for sent, echoed in load("echoes"):
        text = bytes.fromhex(sent)
        body = decoding.decode(int32(1) + int32(9) + int32(len(text)) + text).body
        assert body == Sync(echoed), sent


def test_text_above_ffff_is_written_as_java_writes_it() -> None:
    assert responses.path(1, 1, "/a😀é")[20:] == int32(10) + b"/a" + b"\xed\xa0\xbd\xed\xb8\x80" + "é".encode()
