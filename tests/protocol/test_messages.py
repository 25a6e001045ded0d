"""What one release leaves out and the next one looks for; and how much goes into a message."""

from __future__ import annotations

import json
from dataclasses import replace

from faaskeeper.protocol.messages import (
    Principal,
    ReplyMessage,
    Request,
    RequestMessage,
    decode_reply,
    decode_requests,
    encode_first,
    encode_reply,
)
from faaskeeper.protocol.service import Service
from faaskeeper.znode.model import OPEN_ACL, Acl
from faaskeeper.znode.operations import Create, Delete, Multi, Operation, SetAcl


def test_a_sequencer_that_does_not_say_when_a_session_last_left() -> None:
    """Just now, for all that the gateway knows."""
    document = json.loads(encode_reply(ReplyMessage(zxid=7, base=5, detached_at=3)))
    del document["detached_at"]
    assert decode_reply(json.dumps(document)) == ReplyMessage(zxid=7, base=5, detached_at=7)


def test_a_service_that_was_described_without_its_key() -> None:
    described = Service(*(["x"] * 10), encryption_key="arn:aws:kms:us-east-1:123456789012:key/k")
    document = json.loads(described.to_json())
    del document["encryption_key"]
    assert Service.from_json(json.dumps(document)) == replace(described, encryption_key="")


def test_a_message_ends_before_it_is_too_large() -> None:
    """Whatever it is that takes the room, and not much earlier; what is too large by itself goes alone."""
    small, large = Delete("/n", -1), (Acl(31, "digest", "\ufffd" * 200),)
    operations: tuple[Operation, ...] = (
        small,
        Create("/" + "\1" * 150, b"", OPEN_ACL),
        Create("/n", b"x" * 700, OPEN_ACL),
        SetAcl("/n", large),
        Multi((small, Create("/n", b"", large))),
        Create("/n", b"x" * 5000, OPEN_ACL),
    )
    principals = (
        Principal(1, 1, b"p" * 16),
        Principal(2, 1, b"p" * 16, (("digest", "\1" * 150),)),
        Principal(3, 1, b"p" * 16, tuple(("digest", "x" * 20) for _ in range(30))),
    )
    waiting = [
        Request(principals[number * number % 3], number, operations[number % len(operations)]) for number in range(200)
    ]
    most, slack = 4000, 200
    while waiting:
        body, count = encode_first("g" * 32, waiting, most)
        assert decode_requests(body) == RequestMessage("g" * 32, tuple(waiting[:count]))
        assert len(body) <= most or count == 1
        assert count == len(waiting) or len(encode_first("g" * 32, waiting[: count + 1])[0]) > most - slack
        del waiting[:count]
