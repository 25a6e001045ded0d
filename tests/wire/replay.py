"""The recorded answers, and a foreign hand that takes them apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import Stat
from faaskeeper.znode.operations import Outcome
from tests.wire.raw import Values

RECORDED = Path(__file__).with_name("recorded")
NOT_SENT = Stat(*[-7] * 11)
"""The sequencer's outcomes hold more than every reply shows."""


class Exchange(NamedTuple):
    name: str
    request: bytes
    answers: list[bytes]
    closed: bool


def load(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def exchanges(name: str) -> list[Exchange]:
    return [
        Exchange(each["name"], bytes.fromhex(each["request"]), [*map(bytes.fromhex, each["answers"])], each["closed"])
        for each in load(name)
    ]


class Header(NamedTuple):
    xid: int
    zxid: int
    err: int


def opened(frame: bytes) -> tuple[Header, Values]:
    values = Values(frame)
    return Header(values.int32(), values.int64(), values.int32()), values


def written(op: int, zxid: int, values: Values) -> Outcome:
    """What the sequencer must have said for the server to answer so."""
    match op:
        case 1:
            return Outcome(Code.OK, zxid, values.string(), NOT_SENT)
        case 15 | 19 | 21:
            return Outcome(Code.OK, zxid, values.string(), Stat(*values.stat()))
        case 5 | 7:
            return Outcome(Code.OK, zxid, stat=Stat(*values.stat()))
        case 14:
            return Outcome(Code.OK, zxid, results=tuple(each for _, each in results(zxid, values)))
        case _:
            return Outcome(Code.OK, zxid)


def results(zxid: int, values: Values) -> list[tuple[int, Outcome]]:
    """A multi's results with their types."""
    found: list[tuple[int, Outcome]] = []
    while True:
        op, done, err = values.int32(), values.boolean(), values.int32()
        if done:
            assert (op, err) == (-1, -1)
            return found
        found.append((op, Outcome(Code(values.int32()), zxid) if op == -1 else written(op, zxid, values)))
