"""Messages as somebody would make them who may send to the queues: nearly right in every way."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

from faaskeeper.protocol.messages import Principal, Request, RequestMessage, decode_requests, encode_requests
from faaskeeper.protocol.timers import GatewayTimer, SessionTimer, encode_timer
from faaskeeper.znode.model import OPEN_ACL, Acl, Blob
from faaskeeper.znode.operations import (
    AttachSession,
    Check,
    CloseSession,
    Create,
    CreateSession,
    Delete,
    DeleteContainer,
    ExpireSession,
    ListChildren,
    Multi,
    Operation,
    SetAcl,
    SetData,
    UnwatchSubtree,
    WatchSubtree,
)
from faaskeeper_simulator.checker.model import Model

_ACL = (*OPEN_ACL, Acl(1, "digest", "me:x"), Acl(4, "ip", "10.0.0.0/8"), Acl(2, "auth", ""))
OPERATIONS: tuple[Operation, ...] = (
    Create("/a", b"data", _ACL, 3),
    Create("/a/b", None, OPEN_ACL, 5, 1000),
    Create("/big", Blob("blobs/x/y", 100), OPEN_ACL, 0),
    Delete("/a"),
    SetData("/a", b"data"),
    SetAcl("/a", _ACL),
    Check("/a", 0),
    Multi((Create("/m", b"", OPEN_ACL, 0), Check("/m"), Delete("/m"), SetData("/", b""))),
    CreateSession(bytes(32), 4000),
    AttachSession(4000),
    CloseSession(),
    ExpireSession(1),
    DeleteContainer("/a", 1, 1, 1),
    WatchSubtree("/a", "gateway"),
    UnwatchSubtree("/a", "gateway"),
    ListChildren("/"),
)
TEXTS = (
    "",
    "/",
    "/a/../b",
    "//",
    "/zookeeper/quota",
    "a\0b",
    "\ud800",
    "\uffff",
    "x" * 3000,
    "/" + "x" * 3000,
    "/a" * 400,
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    None,
    True,
    0,
    -1,
    1 << 31,
    (1 << 63) - 1,
    1 << 64,
    1.5,
    [],
    [[]],
    {},
    {"v": 1},
)


def message(session: int = 1, password: bytes = b"password", gateway: str = "gateway") -> dict[str, Any]:
    """A good one, with every operation."""
    principals = (
        Principal(session, 1, password, (("ip", "10.0.0.1"), ("digest", "me:secret"))),
        Principal(0, 0, b"", (("unheard of", "x"),)),
    )
    requests = tuple(
        Request(principals[number % 2], number + 1, operation) for number, operation in enumerate(OPERATIONS)
    )
    return json.loads(encode_requests(RequestMessage(gateway, requests)))


def timer(chance: random.Random) -> dict[str, Any]:
    return json.loads(encode_timer(chance.choice((GatewayTimer("gateway", 1, 1), SessionTimer(1, 1)))))


def spoil(document: Any, chance: random.Random) -> str:
    """The document with some of its values replaced, left out or doubled; sometimes its text is cut or changed."""
    for _ in range(chance.randint(1, 3)):
        _spoil_somewhere(document, chance)
    text = json.dumps(document)
    if chance.random() < 0.2:
        place = chance.randrange(len(text))
        text = text[:place] + chance.choice(("", '"', "[", "{", "\\u", "9" * 30, "é")) + text[place + 1 :]
    return text


def _spoil_somewhere(document: Any, chance: random.Random) -> None:
    while True:
        keys = list(document) if isinstance(document, dict) else range(len(document))
        if not keys:
            return
        key = chance.choice(list(keys))
        inside = document[key]
        if isinstance(inside, dict | list) and inside and chance.random() < 0.85:
            document = inside
            continue
        match chance.randrange(4):
            case 0 if isinstance(document, list):
                document.insert(key, deepcopy(inside))
            case 1:
                del document[key]
            case _:
                document[key] = deepcopy(chance.choice(VALUES))
        return


def take(message: RequestMessage) -> None:
    """It survives being written, and what it asks for is applied or refused."""
    assert decode_requests(encode_requests(message)) == message
    model = Model()
    for request in message.requests:
        obey(model, request, request.operation, message.gateway)


def obey(model: Model, request: Request, operation: Operation, gateway: str) -> None:
    before = model.zxid
    try:
        applied = model.apply(request, operation, gateway)
    except UnicodeEncodeError:  # of half a character in a credential; its own request fails by it, and no other
        return
    assert model.zxid == before + applied.changed
