"""Coverage-guided fuzzing of what strangers send: ``make fuzz``, or ``python -m tests.fuzz.fuzz TARGET CORPUS [options
of libFuzzer]``. The corpus directory is made of good inputs, and keeps what the run found worth keeping.

A crash is an exception that the target does not expect; libFuzzer prints its input and ends with a non-zero status.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports]

with atheris.instrument_imports(include=["faaskeeper", "faaskeeper_client"]):
    from faaskeeper.blocks.errors import InvalidMessage
    from faaskeeper.protocol.messages import Principal, Request, decode_reply, decode_requests
    from faaskeeper.protocol.service import IncompatibleVersion
    from faaskeeper.protocol.timers import decode_timer
    from faaskeeper.znode.model import Acl
    from faaskeeper.znode.operations import Check, Create, CreateSession, Delete, Multi, SetAcl, SetData
    from faaskeeper_client.wire import decoding
    from faaskeeper_client.wire.frames import Frames
    from faaskeeper_client.wire.jute import MarshallingError
    from faaskeeper_simulator.checker.model import Model

from tests.protocol import hostile
from tests.wire import raw
from tests.wire.record import bodies

_CALLER = Request(Principal(1, 1, b"password"), 1, CreateSession(sha256(b"password").digest(), 4000))


def jute(data: bytes) -> None:
    """A frame, a handshake, a stream: decoded, refused or rejected."""
    for decode in (decoding.decode, decoding.decode_connect, lambda stream: list(Frames().feed(stream))):
        try:
            decode(data)
        except MarshallingError:
            continue


def messages(data: bytes) -> None:
    """A message of any queue: decoded or refused, and what it asks for is applied or refused."""
    text = data.decode(errors="replace")
    with suppress(InvalidMessage, IncompatibleVersion):
        decode_reply(text)
    with suppress(InvalidMessage):
        decode_timer(text)
    try:
        message = decode_requests(text)
    except InvalidMessage:
        return
    hostile.take(message)


def rules(data: bytes) -> None:
    """Paths, flags, versions and ACLs: the tree takes them, or a code says why not."""
    provider = atheris.FuzzedDataProvider(data)
    model = Model()
    model.apply(_CALLER, _CALLER.operation, "gateway")
    while provider.remaining_bytes():
        path = "/" * provider.ConsumeBool() + provider.ConsumeUnicode(provider.ConsumeIntInRange(0, 12))
        number = provider.ConsumeIntInRange(-3, 9)
        acl = tuple(
            Acl(provider.ConsumeInt(4), provider.ConsumeUnicode(6), provider.ConsumeUnicode(12))
            for _ in range(provider.ConsumeIntInRange(0, 3))
        )
        parts = (Create(path, b"", acl, number), SetAcl(path, acl, number), SetData(path, b"", number), Delete(path))
        for operation in (*parts, Multi((Check(path, number), *parts))):
            hostile.obey(model, _CALLER, operation, "gateway")


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "jute": (jute, [raw.connect(), *(raw.request(op, body) for op, body in bodies("/p").items())]),
    "messages": (messages, [json.dumps(hostile.message()).encode()]),
    "rules": (rules, [b"\1\6/a/b/c\3\1\37world\6anyone"]),
}


def main() -> None:
    name, corpus, *options = sys.argv[1:]
    target, good = TARGETS[name]
    directory = Path(corpus)
    directory.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(good):
        (directory / f"good-{number}").write_bytes(content)
    atheris.Setup([name, corpus, f"-artifact_prefix={directory.parent}/", *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
