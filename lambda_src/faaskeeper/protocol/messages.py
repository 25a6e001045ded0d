"""The messages on the queues, as JSON: requests from gateways, replies and hints from the sequencer.

Every message carries PROTOCOL_VERSION, and whoever speaks another one refuses it. So that both can say so, ``v`` and
``gateway`` of a request and ``v`` and ``refused`` of a reply mean the same in every version. Bytes are base64, data in
the bucket is ``[key, length]``, the open ACL is 0, trailing absent fields are left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from faaskeeper.blocks.errors import InvalidMessage
from faaskeeper.protocol.changes import Changes, unpack_changes
from faaskeeper.protocol.service import PROTOCOL_VERSION, IncompatibleVersion, check_version
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL, Acl, Blob, Data, Event, EventKind, Stat, Stored
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
    Outcome,
    SetAcl,
    SetData,
    UnwatchSubtree,
    WatchSubtree,
)

_GATEWAY = re.compile("[0-9A-Za-z_-]{1,32}")
"""So long that its queue's name is one that SQS takes, behind the longest prefix."""
MAX_REQUESTS = 500
"""Of one message."""
_ENVELOPE = 100
"""Bytes that a message takes at most beside its principals and requests."""
_MAX_CHANGES_BYTES = 2000
"""Of the changes that a reply tells: some 200 transactions."""
MAX_CREDENTIALS = 50
"""Of one connection. Whatever their number, each request is checked by all of them."""
MAX_CREDENTIAL_CHARACTERS = 16_384
"""Characters of all of them: they go with every message that has a request of the connection."""


class OtherVersion(InvalidMessage):
    """A request of a gateway that speaks another version; "" if one of the service's own functions sent it."""

    def __init__(self, gateway: str, reason: str) -> None:
        super().__init__(reason)
        self.gateway = gateway


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf: a session's id, the attach epoch of its connection, the password that proves it, and what
    its connection authenticated with. ``credentials`` are (scheme, credential) as in ZooKeeper's auth request,
    so that the sequencer itself derives the ids; an ``ip`` credential is the client's address.
    Session 0 is the service itself (reaper, janitor)."""

    session: int
    epoch: int = 0
    password: bytes = b""
    credentials: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One operation. ``number`` is unique within the gateway, and nobody else can guess it."""

    principal: Principal
    number: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """What one gateway (or function) sends at once."""

    gateway: str
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class ReplyMessage:
    """From the sequencer to one gateway: outcomes by request number, and the news that came with them.

    ``zxid`` is complete: all of its transaction and those before are visible. ``events`` are all that fired in
    (``base``, ``zxid``], or None if they must be read from the ledger. ``detached`` are (session, epoch) whose
    connections, if they still exist, must be closed: the session ended or came back elsewhere. ``detached_at`` is the
    last transaction up to ``zxid`` that closed any, of whichever gateway; without it, ``zxid`` may be. ``changes`` are
    those up to ``zxid``; None if nothing is known of them.
    """

    zxid: int
    base: int
    outcomes: tuple[tuple[int, Outcome], ...] = ()
    events: tuple[Event, ...] | None = ()
    detached: tuple[tuple[int, int], ...] = ()
    detached_at: int = 0
    changes: Changes | None = None


def encode_requests(message: RequestMessage) -> str:
    return encode_first(message.gateway, message.requests)[0]


def encode_first(gateway: str, requests: Iterable[Request], most: float = math.inf) -> tuple[str, int]:
    """The message of ``gateway`` with the first of ``requests``, and how many: as many as its ``most`` bytes hold, and
    at least one."""
    principals: dict[Principal, int] = {}
    proofs: list[str] = []
    packed: list[str] = []
    size = _ENVELOPE
    for request in requests:
        index = principals.setdefault(request.principal, len(principals))
        proof = _dump(_pack_principal(request.principal)) if index == len(proofs) else ""
        text = _dump([index, request.number, *_pack_operation(request.operation)])
        size += len(proof) + len(text) + 2
        if packed and size > most:
            break
        packed.append(text)
        if proof:
            proofs.append(proof)
    return (
        f'{{"v":{PROTOCOL_VERSION},"gateway":{_dump(gateway)},'
        f'"principals":[{",".join(proofs)}],"requests":[{",".join(packed)}]}}'
    ), len(packed)


def decode_requests(text: str) -> RequestMessage:
    """Raises InvalidMessage, and OtherVersion of those."""
    return _load(text, _unpack_requests)


def unpack_requests(document: Any) -> RequestMessage:
    """Of a message that is decoded JSON already; as ``decode_requests``."""
    return _checked_build(document, _unpack_requests)


def _unpack_requests(document: Any) -> RequestMessage:
    version = checked_number(document["v"])
    if version != PROTOCOL_VERSION:
        who = "the gateway" if version < PROTOCOL_VERSION else "the service"
        raise OtherVersion(
            checked_gateway(document["gateway"]),
            f"the gateway speaks protocol version {version}, the service {PROTOCOL_VERSION}: upgrade {who}",
        )
    principals: list[Principal] = [_unpack_principal(*fields) for fields in document["principals"]]
    requests: list[list[Any]] = document["requests"]
    if len(requests) > MAX_REQUESTS:
        raise ValueError(f"{len(requests)} requests in a message, {MAX_REQUESTS} at most")
    return RequestMessage(
        checked_gateway(document["gateway"]),
        tuple(
            Request(principals[checked_number(index)], checked_number(number), _unpack_operation(tag, fields))
            for index, number, tag, *fields in requests
        ),
    )


def encode_reply(message: ReplyMessage) -> str:
    return _dump(
        {
            "v": PROTOCOL_VERSION,
            "zxid": message.zxid,
            "base": message.base,
            "outcomes": [[number, *pack_outcome(outcome)] for number, outcome in message.outcomes],
            "events": None if message.events is None else [pack_event(event) for event in message.events],
            "detached": [list(pair) for pair in message.detached],
            "detached_at": message.detached_at,
            "changes": base64.b64encode(message.changes.pack(_MAX_CHANGES_BYTES)).decode() if message.changes else "",
        }
    )


def encode_refusal(reason: str) -> str:
    """The reply to requests of another version."""
    return _dump({"v": PROTOCOL_VERSION, "refused": reason})


def decode_reply(text: str) -> ReplyMessage:
    """Raises InvalidMessage, and IncompatibleVersion if the sequencer is of another version or refuses this one."""

    def build(document: Any) -> ReplyMessage:
        if "refused" in document:
            raise IncompatibleVersion(_text(document["refused"]))
        check_version("the service", "protocol", checked_number(document["v"]), PROTOCOL_VERSION)
        events = document["events"]
        return ReplyMessage(
            int(document["zxid"]),
            int(document["base"]),
            tuple((int(number), unpack_outcome(fields)) for number, *fields in document["outcomes"]),
            None if events is None else tuple(unpack_event(event) for event in events),
            tuple((int(session), int(epoch)) for session, epoch in document["detached"]),
            int(document.get("detached_at", document["zxid"])),
            unpack_changes(base64.b64decode(document.get("changes", ""))),
        )

    return _load(text, build)


def pack_outcome(outcome: Outcome) -> list[Any]:
    """A JSON-ready list, short because the head of the ledger holds it too."""
    packed = [
        int(outcome.code),
        outcome.zxid,
        outcome.path,
        None if outcome.stat is None else list(outcome.stat),
        None if outcome.results is None else [pack_outcome(result) for result in outcome.results],
        None if outcome.session is None else list(outcome.session),
        None if outcome.names is None else list(outcome.names),
    ]
    while packed[-1] is None:
        packed.pop()
    return packed


def outcome_size(outcome: Outcome) -> int:
    """Bytes that it takes in a message."""
    return len(_dump(pack_outcome(outcome)))


def unpack_outcome(fields: list[Any]) -> Outcome:
    code, zxid, path, stat, results, session, names = fields + [None] * (7 - len(fields))
    return Outcome(
        Code(code),
        int(zxid),
        path,
        None if stat is None else Stat(*stat),
        None if results is None else tuple(unpack_outcome(result) for result in results),
        None if session is None else (int(session[0]), int(session[1])),
        None if names is None else tuple(names),
    )


def pack_event(event: Event) -> list[Any]:
    packed: list[Any] = [event.zxid, event.path, int(event.kind)]
    return packed if event.acl == OPEN_ACL else [*packed, pack_acl(event.acl)]


def unpack_event(fields: list[Any]) -> Event:
    zxid, path, kind, *acl = fields
    return Event(int(zxid), str(path), EventKind(kind), unpack_acl(acl[0]) if acl else OPEN_ACL)


def pack_acl(acl: tuple[Acl, ...]) -> Any:
    return 0 if acl == OPEN_ACL else [list(entry) for entry in acl]


def unpack_acl(packed: Any) -> tuple[Acl, ...]:
    return OPEN_ACL if packed == 0 else tuple(Acl(int(perms), scheme, ident) for perms, scheme, ident in packed)


def _pack_principal(principal: Principal) -> list[Any]:
    return [principal.session, principal.epoch, _pack_bytes(principal.password), principal.credentials]


def _unpack_principal(session: int, epoch: int, password: str, credentials: list[list[str]]) -> Principal:
    proofs = tuple((_text(scheme), _text(credential)) for scheme, credential in credentials)
    if too_many(proofs):
        raise ValueError(f"{len(proofs)} credentials are more than a connection has")
    return Principal(checked_number(session), checked_number(epoch), _unpack_bytes(password), proofs)


def too_many(credentials: tuple[tuple[str, str], ...]) -> bool:
    """Whether they are more than a connection may have, in number or length."""
    length = sum(len(scheme) + len(credential) for scheme, credential in credentials)
    return len(credentials) > MAX_CREDENTIALS or length > MAX_CREDENTIAL_CHARACTERS


def is_gateway(id: str) -> bool:
    """Whether a gateway can have that id, which is part of its queue's name."""
    return bool(id) and _GATEWAY.fullmatch(id) is not None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def checked_number(value: Any) -> int:
    """Raises TypeError for anything but an integer of 64 bits."""
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise TypeError(f"{value!r} is no 64-bit number")
    return value


def checked_gateway(value: Any) -> str:
    """A gateway's id; "" stands for the service's own functions. Raises TypeError, ValueError."""
    id = _text(value)
    if id and not is_gateway(id):
        raise ValueError(f"{id!r} is no gateway")
    return id


def _pack_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _unpack_bytes(text: str) -> bytes:
    return base64.b64decode(_text(text), validate=True)


def _pack_data(data: Data) -> Any:
    if isinstance(data, Stored):
        raise TypeError("a request carries data or a blob's key, never stored data")
    if data is None:
        return None
    return [data.key, data.length] if isinstance(data, Blob) else _pack_bytes(data)


def _unpack_data(packed: Any) -> Data:
    if packed is None:
        return None
    if isinstance(packed, str):
        return _unpack_bytes(packed)
    key, length = packed
    return Blob(_text(key), checked_number(length))


def _unpack_acl_of_request(packed: Any) -> tuple[Acl, ...]:
    if packed == 0:
        return OPEN_ACL
    return tuple(Acl(checked_number(perms), _text(scheme), _text(ident)) for perms, scheme, ident in packed)


_T = TypeVar("_T")


def _unpack_create(path: str, data: Any, acl: Any, flags: int, ttl: int | None = None) -> Create:
    return Create(
        _text(path),
        _unpack_data(data),
        _unpack_acl_of_request(acl),
        checked_number(flags),
        None if ttl is None else checked_number(ttl),
    )


def _unpack_set(path: str, data: Any, version: int) -> SetData:
    return SetData(_text(path), _unpack_data(data), checked_number(version))


def _unpack_set_acl(path: str, acl: Any, version: int) -> SetAcl:
    return SetAcl(_text(path), _unpack_acl_of_request(acl), checked_number(version))


def _unpack_multi(*packed: list[Any]) -> Multi:
    for tag, *_ in packed:
        if tag not in _PARTS:
            raise ValueError(f"{tag!r} in a multi")
    return Multi(tuple(_OPERATIONS[tag][2](*fields) for tag, *fields in packed))  # type: ignore[arg-type]


def _unpack_session(password_hash: str, timeout: int) -> CreateSession:
    return CreateSession(_unpack_bytes(password_hash), checked_number(timeout))


def _unpack_close(silent: int = 0) -> CloseSession:
    return CloseSession(bool(checked_number(silent)))


def _checked(kind: Callable[..., Operation], *types: Callable[[Any], Any]) -> Callable[..., Operation]:
    """``kind`` made of fields that are checked one by one."""

    def unpack(*fields: Any) -> Operation:
        return kind(*(check(field) for check, field in zip(types, fields, strict=True)))

    return unpack


_OPERATIONS: dict[str, tuple[type[Any], Callable[[Any], list[Any]], Callable[..., Operation]]] = {
    "create": (
        Create,
        lambda o: [o.path, _pack_data(o.data), pack_acl(o.acl), o.flags, *([] if o.ttl is None else [o.ttl])],
        _unpack_create,
    ),
    "delete": (Delete, lambda o: [o.path, o.version], _checked(Delete, _text, checked_number)),
    "set": (SetData, lambda o: [o.path, _pack_data(o.data), o.version], _unpack_set),
    "setAcl": (SetAcl, lambda o: [o.path, pack_acl(o.acl), o.version], _unpack_set_acl),
    "check": (Check, lambda o: [o.path, o.version], _checked(Check, _text, checked_number)),
    "multi": (Multi, lambda o: [_pack_operation(operation) for operation in o.operations], _unpack_multi),
    "session": (CreateSession, lambda o: [_pack_bytes(o.password_hash), o.timeout], _unpack_session),
    "attach": (AttachSession, lambda o: [o.timeout], _checked(AttachSession, checked_number)),
    "close": (CloseSession, lambda o: [1] if o.silent else [], _unpack_close),
    "expire": (ExpireSession, lambda o: [o.epoch], _checked(ExpireSession, checked_number)),
    # deleteContainer; a tag is part of PROTOCOL_VERSION, so it stays
    "reap": (
        DeleteContainer,
        lambda o: [o.path, o.czxid, o.mzxid, o.pzxid],
        _checked(DeleteContainer, _text, checked_number, checked_number, checked_number),
    ),
    "watch": (WatchSubtree, lambda o: [o.path, o.gateway], _checked(WatchSubtree, _text, checked_gateway)),
    "unwatch": (
        UnwatchSubtree,
        lambda o: [o.path, o.gateway],
        _checked(UnwatchSubtree, _text, checked_gateway),
    ),
    "list": (ListChildren, lambda o: [o.path], _checked(ListChildren, _text)),
}
_PARTS = frozenset(("create", "delete", "set", "check"))
"""What ZooKeeper's protocol allows inside a multi (MultiOperationRecord), and so no other multi. What is asked for by
itself is checked first for who asks for it, and how large it is."""
_TAGS = {kind: tag for tag, (kind, _, _) in _OPERATIONS.items()}


def _pack_operation(operation: Operation) -> list[Any]:
    tag = _TAGS[type(operation)]
    return [tag, *_OPERATIONS[tag][1](operation)]


def _unpack_operation(tag: str, fields: list[Any]) -> Operation:
    return _OPERATIONS[tag][2](*fields)


_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def _load(text: str, build: Callable[[Any], _T]) -> _T:
    return _checked_build(text, lambda text: build(json.loads(text)))


def _checked_build(document: Any, build: Callable[[Any], _T]) -> _T:
    try:
        return build(document)
    except InvalidMessage:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, binascii.Error) as error:
        raise InvalidMessage(f"{type(error).__name__}: {error}") from error
