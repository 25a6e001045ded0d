"""Direct calls of gateways to the direct function, and its answers, as JSON.

A call carries a message as the requests queue does (``messages``), and what tells copies of it from each other. Its
answer has the replies that the queue's function would have sent to the calling gateway, or says why there are none.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from faaskeeper.protocol.messages import (
    InvalidMessage,
    ReplyMessage,
    RequestMessage,
    checked_number,
    decode_reply,
    encode_first,
    unpack_requests,
)

SECRET_BYTES = 16
MAX_CALL = 0xFFFFFFFF
"""The highest number of a call."""
MAX_CALL_BYTES = 256_000
"""Of the message in a call. Outcomes take a few times as much at most; an answer ends at 6 MB (Lambda quota)."""


@dataclass(frozen=True, slots=True)
class CallId:
    """What all copies of a call have in common, and whether an earlier one may exist.

    ``secret`` is the gateway's for its life, ``number`` counts its calls from 1, ``since`` is a zxid that was
    committed when the first copy was sent. ``repeated`` copies follow one of which nothing is known.
    """

    secret: bytes
    number: int
    since: int
    repeated: bool = False


class Refusal(Enum):
    """Why a copy of a call was not applied, and never will be."""

    CONTENDED = "contended"
    """Others committed before it, several times. An earlier copy may have been applied."""
    STALE = "stale"
    """Too much was committed since the first copy was sent to know whether that was applied."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``replies`` for the calling gateway, or a ``refusal``. ``zxid`` is the ledger's, at least."""

    replies: tuple[ReplyMessage, ...] = ()
    refusal: Refusal | None = None
    zxid: int = 0


def encode_call(id: CallId, message: str) -> bytes:
    """``message`` is one of ``encode_first``."""
    fields = [base64.b64encode(id.secret).decode("ascii"), id.number, id.since, int(id.repeated)]
    return f'{{"call":{json.dumps(fields)},"message":{message}}}'.encode()


def encode_probe(gateway: str) -> bytes:
    """A call without requests: it changes nothing, and its answer shows that calls are answered."""
    return encode_call(CallId(bytes(SECRET_BYTES), 1, 0), encode_first(gateway, ())[0])


def decode_call(event: Any) -> tuple[CallId, RequestMessage]:
    """Raises InvalidMessage, and OtherVersion of those."""
    try:
        secret, number, since, repeated = event["call"]
        id = CallId(
            base64.b64decode(secret, validate=True),
            checked_number(number),
            checked_number(since),
            bool(checked_number(repeated)),
        )
        message = event["message"]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InvalidMessage(f"{type(error).__name__}: {error}") from error
    if len(id.secret) != SECRET_BYTES or not 0 < id.number <= MAX_CALL:
        raise InvalidMessage(f"call {id.number} with a secret of {len(id.secret)} bytes")
    return id, unpack_requests(message)


def encode_answer(replies: list[str]) -> dict[str, Any]:
    """``replies`` are of ``encode_reply`` or ``encode_refusal``."""
    return {"replies": replies}


def encode_refused(refusal: Refusal, zxid: int) -> dict[str, Any]:
    return {"refused": refusal.value, "zxid": zxid}


def decode_answer(payload: bytes) -> Answer:
    """Raises InvalidMessage, IncompatibleVersion."""
    try:
        document = json.loads(payload)
        if "refused" in document:
            return Answer(refusal=Refusal(document["refused"]), zxid=checked_number(document["zxid"]))
        replies: list[str] = document["replies"]
        return Answer(tuple(decode_reply(text) for text in replies))
    except InvalidMessage:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidMessage(f"no answer to a call: {error!r}") from error
