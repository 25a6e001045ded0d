"""Whatever arrives, it is decoded, refused or rejected; nothing else happens."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL
from faaskeeper.znode.operations import Create, Multi, SetData
from faaskeeper_client.wire import decoding, requests
from faaskeeper_client.wire.four_letter import Command
from faaskeeper_client.wire.frames import Frames
from faaskeeper_client.wire.jute import MarshallingError
from faaskeeper_client.wire.requests import Op, Refused, Request
from tests.wire import raw
from tests.wire.record import bodies
from tests.wire.replay import exchanges

GOOD = [
    *(each.request for each in exchanges("exchanges")),
    *(raw.request(op, body) for op, body in bodies("/p").items()),
]


def decoded(decode: Callable[[bytes], object], frame: bytes) -> object:
    try:
        return decode(frame)
    except MarshallingError:
        return None


@given(st.binary(max_size=200))
def test_any_bytes(frame: bytes) -> None:
    decoded(decoding.decode, frame)
    decoded(decoding.decode_connect, frame)


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(Op) | st.integers(-20, 120), st.binary(max_size=200))
def test_any_body(xid: int, op: int, body: bytes) -> None:
    frame = raw.request(op, body, xid)
    request = decoded(decoding.decode, frame)
    if request is None:
        assert op in (Op.AUTH, Op.SASL)
    else:
        assert isinstance(request, Request)
        assert (request.xid, request.op) == (xid, op)


@given(st.sampled_from(GOOD), st.integers(0, 400), st.binary(max_size=8), st.integers(0, 8))
def test_good_requests_gone_bad(frame: bytes, place: int, inserted: bytes, removed: int) -> None:
    place %= len(frame) + 1
    mutant = frame[:place] + inserted + frame[place + removed :]
    decoded(decoding.decode, mutant)
    decoded(decoding.decode_connect, mutant)


@pytest.mark.parametrize(("op", "body"), bodies("/p").items(), ids=str)
def test_a_body_cut_anywhere_is_refused_and_a_longer_one_is_not(op: int, body: bytes) -> None:
    whole = decoding.decode(raw.request(op, body))
    assert not isinstance(whole.body, Refused) or whole.body.code is Code.BAD_ARGUMENTS
    assert decoding.decode(raw.request(op, body + b"more")) == whole
    for size in range(len(body)):
        if op in (Op.AUTH, Op.SASL):
            with pytest.raises(MarshallingError):
                decoding.decode(raw.request(op, body[:size]))
        else:
            refusal = decoding.decode(raw.request(op, body[:size])).body
            assert isinstance(refusal, Refused)
            assert (refusal.code, refusal.closes) == (Code.MARSHALLING_ERROR, False)


@pytest.mark.parametrize("size", range(8))
def test_a_request_without_a_header_cannot_be_answered(size: int) -> None:
    with pytest.raises(MarshallingError):
        decoding.decode(bytes(size))


@pytest.mark.parametrize("size", range(44))
def test_a_handshake_cut_anywhere_is_rejected(size: int) -> None:
    with pytest.raises(MarshallingError):
        decoding.decode_connect(raw.connect(read_only=True)[:size])


def test_the_handshake_s_last_byte_is_optional() -> None:
    assert decoding.decode_connect(raw.connect(read_only=True)).read_only is True
    assert decoding.decode_connect(raw.connect(read_only=True) + b"more").read_only is True
    assert decoding.decode_connect(raw.connect(read_only=None)).read_only is None
    assert decoding.decode_connect(raw.connect(password=None)).password == b""


@given(st.lists(st.binary(max_size=30), max_size=8))
@example([b"ruok"])
def test_any_stream(chunks: list[bytes]) -> None:
    frames = Frames()
    try:
        found = [frame for chunk in chunks for frame in frames.feed(chunk)]
    except MarshallingError:
        return
    stream = b"".join(chunks)
    if found and isinstance(found[0], Command):
        assert stream.startswith(found[0].word.encode())
    else:
        assert stream.startswith(b"".join(raw.string(each) for each in found))  # type: ignore[arg-type]


@pytest.mark.parametrize("op", [Op.SET_WATCHES, Op.SET_WATCHES2, Op.SET_ACL, Op.CREATE, Op.MULTI])
def test_an_absurd_count_costs_nothing(op: Op) -> None:
    """A frame of a few bytes that claims two thousand million elements is refused at once, without memory for them."""
    count = raw.int32(2**31 - 1)
    body = {
        Op.SET_WATCHES: raw.int64(0) + count,
        Op.SET_WATCHES2: raw.int64(0) + raw.strings() * 4 + count,
        Op.SET_ACL: raw.string("/") + count,
        Op.CREATE: raw.string("/") + raw.string("") + count,
        Op.MULTI: raw.int32(1) + raw.boolean(False) + raw.int32(-1) + raw.string("/") + raw.string("") + count,
    }[op]
    started = time.process_time()
    assert isinstance(decoding.decode(raw.request(op, body)).body, Refused)
    assert time.process_time() - started < 1


def test_a_container_with_a_sequence_number_is_beyond_us() -> None:
    """ZooKeeper makes one of createContainer with sequential flags, which none of its clients sends."""
    for flags in (2, 3):
        body = decoding.decode(raw.request(Op.CREATE_CONTAINER, raw.create("/p", flags))).body
        assert isinstance(body, Refused)
        assert (body.code, body.closes) == (Code.BAD_ARGUMENTS, False)
        inside = raw.multi((Op.CREATE_CONTAINER, raw.create("/p", flags)))
        assert isinstance(decoding.decode(raw.request(Op.MULTI, inside)).body, Refused)


def test_a_client_cannot_delete_containers() -> None:
    """ZooKeeper obeys, whatever the ACL."""
    body = decoding.decode(raw.request(Op.DELETE_CONTAINER, raw.string("/container"))).body
    assert isinstance(body, Refused)
    assert (body.code, body.closes) == (Code.BAD_ARGUMENTS, False)


def test_a_client_cannot_create_sessions_by_request() -> None:
    """ZooKeeper answers with a handshake in the middle of the stream."""
    body = decoding.decode(raw.request(Op.CREATE_SESSION, raw.int32(4000))).body
    assert isinstance(body, Refused)
    assert (body.code, body.closes) == (Code.UNIMPLEMENTED, True)


@pytest.mark.parametrize("prefix", [None, "", "/", "  ", " / "])
def test_a_blank_prefix_means_all_ephemerals(prefix: str | None) -> None:
    assert decoding.decode(raw.request(Op.GET_EPHEMERALS, raw.string(prefix))).body == requests.GetEphemerals("")


def test_inside_a_multi_the_flags_say_what_is_made() -> None:
    operations = raw.multi(
        (Op.CREATE, raw.create("/a", 4)),
        (Op.CREATE2, raw.create("/b", 4)),
        (Op.CREATE_TTL, raw.create("/c", 1, 9)),
        (Op.CREATE_TTL, raw.create("/d", 6, 9)),
        (Op.SET_DATA, raw.string("/e") + raw.string(None) + raw.int32(3)),
    )
    request = decoding.decode(raw.request(Op.MULTI, operations))
    assert request.body == Multi(
        (
            Create("/a", b"d", OPEN_ACL, 4),
            Create("/b", b"d", OPEN_ACL, 4),
            Create("/c", b"d", OPEN_ACL, 1),
            Create("/d", b"d", OPEN_ACL, 6, 9),
            SetData("/e", None, 3),
        )
    )
    assert request.result_types == (15, 15, 1, 15, 5)


def test_any_byte_but_0_is_true() -> None:
    for byte in range(256):
        body = decoding.decode(raw.request(Op.EXISTS, raw.string("/") + bytes([byte]))).body
        assert body == requests.Exists("/", byte != 0)


@pytest.mark.parametrize("op", [Op.CHECK_WATCHES, Op.REMOVE_WATCHES, Op.ADD_WATCH, Op.SYNC, Op.SET_DATA, Op.SET_ACL])
def test_a_null_path_is_an_empty_one_where_both_are_as_harmless_or_as_wrong(op: Op) -> None:
    body = bodies("/p")[op]
    null, empty = (raw.string(path) + body[4 + int.from_bytes(body[:4], "big") :] for path in (None, ""))
    assert decoding.decode(raw.request(op, null)) == decoding.decode(raw.request(op, empty))
    assert not isinstance(decoding.decode(raw.request(op, null)).body, Refused)
