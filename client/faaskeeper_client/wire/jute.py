"""Jute, ZooKeeper's serialization (org.apache.jute.BinaryInputArchive, BinaryOutputArchive).

Integers are big-endian; a ustring or buffer is an int32 length (-1 for null) and its bytes; a vector is an int32
count (-1 for null) and its elements; a bool is one byte.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from struct import Struct
from struct import error as StructError
from typing import TypeVar

from faaskeeper.znode.model import Acl, Stat

T = TypeVar("T")

INT32 = Struct(">i")
INT64 = Struct(">q")
STAT = Struct(">qqqqiiiqiiq")
NULL = INT32.pack(-1)
FALSE, TRUE = b"\0", b"\1"


class MarshallingError(ValueError):
    """The bytes are not what they should be; the message says what was read and where."""


def _java_replacement(error: UnicodeError) -> tuple[str, int]:
    """Replaces malformed UTF-8 as java.lang.String does: an encoded surrogate is one U+FFFD, not three."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    first, second, third = (error.object[error.start :] + b"\0\0\0")[:3]
    surrogate = first == 0xED and 0xA0 <= second <= 0xBF and 0x80 <= third <= 0xBF
    return "\ufffd", error.start + 3 if surrogate else error.end


codecs.register_error("faaskeeper.java", _java_replacement)


class Reader:
    """Reads values off a body, one after the other. Every method raises MarshallingError at the body's end.

    Bytes after the last value read are ignored, as in ZooKeeper.
    """

    __slots__ = ("_body", "_offset")

    def __init__(self, body: bytes, offset: int = 0) -> None:
        self._body = body
        self._offset = offset

    @property
    def exhausted(self) -> bool:
        return self._offset >= len(self._body)

    def _fixed(self, layout: Struct) -> tuple[int, ...]:
        offset = self._offset
        try:
            values = layout.unpack_from(self._body, offset)
        except StructError as error:
            raise MarshallingError(
                f"{layout.size} bytes wanted at offset {offset} of a body of {len(self._body)}"
            ) from error
        self._offset = offset + layout.size
        return values

    def int32(self) -> int:
        return self._fixed(INT32)[0]

    def int64(self) -> int:
        return self._fixed(INT64)[0]

    def boolean(self) -> bool:
        """Any byte but 0 is true (java.io.DataInput.readBoolean)."""
        offset = self._offset
        if offset >= len(self._body):
            raise MarshallingError(f"1 byte wanted at offset {offset} of a body of {len(self._body)}")
        self._offset = offset + 1
        return self._body[offset] != 0

    def buffer(self) -> bytes | None:
        length = self.int32()
        if length < 0:
            if length == -1:
                return None
            raise MarshallingError(f"length {length} at offset {self._offset - 4} is negative")
        end = self._offset + length
        if end > len(self._body):
            raise MarshallingError(f"{length} bytes wanted at offset {self._offset} of a body of {len(self._body)}")
        value = self._body[self._offset : end]
        self._offset = end
        return value

    def nullable_ustring(self) -> str | None:
        value = self.buffer()
        return None if value is None else value.decode("utf-8", "faaskeeper.java")

    def ustring(self) -> str:
        """A ustring that may not be null: ZooKeeper stumbles over a null path and answers MARSHALLING_ERROR."""
        value = self.buffer()
        if value is None:
            raise MarshallingError(f"null string at offset {self._offset - 4}")
        return value.decode("utf-8", "faaskeeper.java")

    def vector(self, element: Callable[[], T]) -> tuple[T, ...]:
        """``element`` is a method of this reader. Null and, as in BinaryIndex.done, negative counts are empty."""
        count = self.int32()
        # Every element takes a byte at least, so an absurd count is known before anything is allocated for it.
        if count > len(self._body) - self._offset:
            raise MarshallingError(f"{count} elements at offset {self._offset} of a body of {len(self._body)}")
        return tuple(element() for _ in range(count))

    def acl(self) -> Acl:
        return Acl(self.int32(), self.ustring(), self.ustring())

    def stat(self) -> Stat:
        return Stat(*self._fixed(STAT))


def boolean(value: bool) -> bytes:
    return TRUE if value else FALSE


def buffer(value: bytes | None) -> bytes:
    return NULL if value is None else INT32.pack(len(value)) + value


def ustring(value: str | None) -> bytes:
    """A lone surrogate, which no path or identity of ours holds, becomes ``?`` as in Java."""
    if value is None:
        return NULL
    encoded = value.encode("utf-8", "replace")
    return INT32.pack(len(encoded)) + encoded


def vector(elements: Iterable[bytes] | None) -> bytes:
    """``elements`` are encoded already."""
    if elements is None:
        return NULL
    encoded = list(elements)
    return b"".join((INT32.pack(len(encoded)), *encoded))


def acl(value: Acl) -> bytes:
    return INT32.pack(value.perms) + ustring(value.scheme) + ustring(value.id)


def stat(value: Stat) -> bytes:
    return STAT.pack(*value)
