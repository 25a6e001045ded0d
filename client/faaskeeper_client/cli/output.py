"""What commands print: for people, or one JSON document (a line each, where there is no end)."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from faaskeeper.znode.model import Acl, Permission, Stat
from faaskeeper_client.administration.progress import Progress, untold

JsonObject = dict[str, Any]

CLOSED = "(closed: its ACL does not allow reading)"

_MAX_RICH_ROWS = 2000
"""Above that a table takes rich seconds, and nobody reads it on a terminal."""
_LETTERS = {
    "c": Permission.CREATE,
    "d": Permission.DELETE,
    "r": Permission.READ,
    "w": Permission.WRITE,
    "a": Permission.ADMIN,
}
_CONTROL = frozenset(map(chr, {*range(32), 127} - {9, 10, 13}))


def text_of(data: bytes) -> str | None:
    """None if it is not text: other than UTF-8, or with control characters."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL & set(text) else text


def data_fields(data: bytes | None) -> JsonObject:
    """``data``: text, or null for none; ``data64``: base64 of what is not text."""
    text = None if data is None else text_of(data)
    if data is None or text is not None:
        return {"data": text}
    return {"data64": base64.b64encode(data).decode()}


def stat_fields(stat: Stat) -> JsonObject:
    """By ZooKeeper's own names."""
    return {
        "czxid": stat.czxid,
        "mzxid": stat.mzxid,
        "pzxid": stat.pzxid,
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": stat.ephemeral_owner,
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    }


def stat_lines(stat: Stat) -> list[str]:
    shown = {
        name: hex(value) if "zxid" in name or name == "ephemeralOwner" else when(value) if "time" in name else value
        for name, value in stat_fields(stat).items()
    }
    return [f"{name:<15} {value}" for name, value in shown.items()]


def when(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03d}Z"


def acl_text(entry: Acl) -> str:
    """``scheme:id:perms`` as zkCli takes it."""
    return f"{entry.scheme}:{entry.id}:" + "".join(
        letter for letter, permission in _LETTERS.items() if entry.perms & permission
    )


def parse_acl(text: str) -> Acl:
    """Raises ValueError."""
    scheme, _, rest = text.partition(":")
    id, separator, letters = rest.rpartition(":")
    if not scheme or not separator or not letters or not set(letters) <= set(_LETTERS):
        raise ValueError(f"{text!r} is not SCHEME:ID:PERMS, with PERMS of {''.join(_LETTERS)}")
    return Acl(sum(_LETTERS[letter] for letter in set(letters)), scheme, id)


def show(text: str = "") -> None:
    print(text, flush=True)


def show_lines(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def show_json(value: object, *, compact: bool = False) -> None:
    show(json.dumps(value, ensure_ascii=False, indent=None if compact else 2))


def show_data(data: bytes | None) -> None:
    """As it is, so that it can go into a file; on a terminal made readable."""
    if data is None:
        return
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    text = text_of(data)
    if text is None:
        for offset in range(0, len(data), 16):
            line = data[offset : offset + 16]
            visible = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
            show(f"{offset:08x}  {line.hex(' '):<47}  {visible}")
    elif text:
        show(text.removesuffix("\n"))


@contextmanager
def replacing(file: Path) -> Generator[TextIO]:
    """To write a text file as a whole: under another name beside it, which takes its place when all went well. What is
    no regular file (a pipe, a device) is written as it is. Raises OSError."""
    if file.exists() and not file.is_file():
        with file.open("w", encoding="utf-8") as output:
            yield output
        return
    file = file.resolve()
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("x", encoding="utf-8") as output:
            yield output
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns of equal width; all but the last column to the left of two spaces."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """On a terminal with a head that stands out, and cells that wrap within their columns."""
    rich = _rich(sys.stdout) if len(rows) <= _MAX_RICH_ROWS else None
    if rich is None:
        show_lines(table([head, *rows]))
    else:
        rich.show_table(head, rows)


def show_parts(lines: Iterable[Sequence[tuple[str, str]]]) -> None:
    """Lines of (text, style); a style (rich's) is seen on a terminal only."""
    rich = _rich(sys.stdout)
    if rich is None:
        show_lines("".join(text for text, _ in line) for line in lines)
    else:
        rich.show_parts(lines)


@contextmanager
def progress() -> Generator[Progress]:
    """On a terminal (standard error) bars with number, rate and rest; elsewhere nothing."""
    rich = _rich(sys.stderr)
    if rich is None:
        yield untold
    else:
        with rich.bars() as tell:
            yield tell


def _rich(stream: TextIO) -> ModuleType | None:
    """What shows on a terminal; None where plain text is wanted: no terminal, or no rich."""
    if not stream.isatty():
        return None
    try:
        from faaskeeper_client.cli import terminal
    except ModuleNotFoundError:
        _tell_of_rich()
        return None
    return terminal


@cache
def _tell_of_rich() -> None:
    print("faaskeeper: plain text without rich: pip install 'faaskeeper[cli]' for tables and progress", file=sys.stderr)
