"""Whatever comes through a queue is decoded or refused; what is decoded is applied or refused. Nothing else happens."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faaskeeper.blocks.errors import InvalidMessage
from faaskeeper.protocol.messages import Principal, Request, decode_reply, decode_requests
from faaskeeper.protocol.timers import decode_timer, encode_timer
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Acl
from faaskeeper.znode.operations import Create, CreateSession, SetAcl
from faaskeeper_simulator.checker.model import Model
from tests.protocol import hostile

texts = st.text(st.characters(exclude_categories=()), max_size=30)
paths = (
    st.lists(texts, max_size=5).map("/".join) | texts | st.sampled_from([v for v in hostile.VALUES if type(v) is str])
)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    for decode in (decode_requests, decode_reply, decode_timer):
        with pytest.raises(InvalidMessage):
            decode(text)


@given(st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_messages_gone_bad(chance: random.Random) -> None:
    text = hostile.spoil(hostile.message(), chance)
    try:
        message = decode_requests(text)
    except InvalidMessage:
        return
    hostile.take(message)


@given(st.randoms(use_true_random=False))
def test_timers_gone_bad(chance: random.Random) -> None:
    text = hostile.spoil(hostile.timer(chance), chance)
    try:
        timer = decode_timer(text)
    except InvalidMessage:
        return
    assert decode_timer(encode_timer(timer)) == timer


@given(paths, st.integers(-10, 10), st.lists(st.tuples(st.integers(), texts, texts), max_size=4))
def test_any_path_flags_and_acl(path: str, flags: int, acl: list[tuple[int, str, str]]) -> None:
    """A znode is made with it, or a code says why not."""
    model = Model()
    entries = tuple(Acl(*entry) for entry in acl)
    caller = Request(Principal(1, 1, b"password"), 1, CreateSession(sha256(b"password").digest(), 4000))
    assert model.apply(caller, caller.operation, "gateway").changed
    for operation in (Create(path, b"", entries, flags), SetAcl(path, entries)):
        before = set(model.nodes)
        try:
            applied = model.apply(caller, operation, "gateway")
        except UnicodeEncodeError:
            continue
        assert applied.changed == (applied.outcome.code is Code.OK)
        assert len(set(model.nodes) - before) <= 1
