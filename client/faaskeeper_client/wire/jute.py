"""Jute, ZooKeeper's serialization (org.apache.jute.BinaryInputArchive, BinaryOutputArchive).

Integers are big-endian; a ustring or buffer is an int32 length (-1 for null) and its bytes; a vector is an int32
count (-1 for null) and its elements; a bool is one byte.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable
from struct import Struct, unpack
from struct import error as StructError
from typing import TypeVar

from faaskeeper.znode.model import Acl

T = TypeVar("T")

INT32 = Struct(">i")
INT64 = Struct(">q")
STAT = Struct(">qqqqiiiqiiq")
"""``STAT.pack(*stat)`` for a faaskeeper.znode.model.Stat."""
NULL = INT32.pack(-1)
FALSE, TRUE = b"\0", b"\1"


class MarshallingError(ValueError):
    """The bytes are not what they should be; the message says what was read and where."""


def _java_replacement(error: UnicodeError) -> tuple[str, int]:
    """Replaces malformed UTF-8 as java.lang.String does: an encoded surrogate, whole or cut, is one U+FFFD."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    rest = error.object[error.start : error.start + 3]
    if rest[0] != 0xED or not 0xA0 <= (rest[1] if len(rest) > 1 else 0) <= 0xBF:
        return "\ufffd", error.end
    whole = len(rest) > 2 and 0x80 <= rest[2] <= 0xBF
    return "\ufffd", error.start + (3 if whole else 2)


codecs.register_error("faaskeeper.java", _java_replacement)


class Reader:
    """Reads values off a body, one after the other. Every method raises MarshallingError where the body ends early.

    Bytes after the last value read are ignored, as in ZooKeeper. A reader that raised is of no further use.
    """

    __slots__ = ("_body", "_offset")

    def __init__(self, body: bytes, offset: int = 0) -> None:
        self._body = body
        self._offset = offset

    @property
    def exhausted(self) -> bool:
        return self._offset >= len(self._body)

    def _short(self, wanted: int) -> MarshallingError:
        return MarshallingError(f"{wanted} bytes wanted at offset {self._offset} of a frame of {len(self._body)}")

    def int32(self) -> int:
        offset = self._offset
        try:
            value: int = INT32.unpack_from(self._body, offset)[0]
        except StructError:
            raise self._short(4) from None
        self._offset = offset + 4
        return value

    def int64(self) -> int:
        offset = self._offset
        try:
            value: int = INT64.unpack_from(self._body, offset)[0]
        except StructError:
            raise self._short(8) from None
        self._offset = offset + 8
        return value

    def boolean(self) -> bool:
        """Any byte but 0 is true (java.io.DataInput.readBoolean)."""
        offset = self._offset
        if offset >= len(self._body):
            raise self._short(1)
        self._offset = offset + 1
        return self._body[offset] != 0

    def buffer(self) -> bytes | None:
        length = self.int32()
        offset = self._offset
        if length < 0:
            if length == -1:
                return None
            raise MarshallingError(f"length {length} at offset {offset - 4} is negative")
        if length > len(self._body) - offset:
            raise self._short(length)
        self._offset = end = offset + length
        return self._body[offset:end]

    def ustring(self) -> str | None:
        value = self.buffer()
        return None if value is None else value.decode("utf-8", "faaskeeper.java")

    def vector(self, element: Callable[[], T]) -> tuple[T, ...] | None:
        """``element`` is a method of this reader. -1 is null, any other negative count empty (BinaryIndex.done).

        Every element takes bytes, so an absurd count fails where the body ends, whatever it claims.
        """
        count = self.int32()
        if count < 0:
            return None if count == -1 else ()
        return tuple([element() for _ in range(count)])

    def acl(self) -> Acl:
        """A null scheme or id is read as an empty one, which no scheme accepts either (but ``auth``, as in Java)."""
        return Acl(self.int32(), self.ustring() or "", self.ustring() or "")


def boolean(value: bool) -> bytes:
    return TRUE if value else FALSE


def buffer(value: bytes | None) -> bytes:
    return NULL if value is None else INT32.pack(len(value)) + value


def ustring(value: str | None) -> bytes:
    """As Java's own writer has it: UTF-8, but a character above U+FFFF is two encoded surrogates."""
    if value is None:
        return NULL
    if not value.isascii() and max(value) > "\uffff":
        units = value.encode("utf-16-be", "surrogatepass")
        value = "".join(map(chr, unpack(f">{len(units) // 2}H", units)))
    encoded = value.encode("utf-8", "surrogatepass")
    return INT32.pack(len(encoded)) + encoded


def vector(elements: Iterable[bytes] | None) -> bytes:
    """``elements`` are encoded already."""
    if elements is None:
        return NULL
    encoded = list(elements)
    return b"".join((INT32.pack(len(encoded)), *encoded))


def acl(value: Acl) -> bytes:
    return INT32.pack(value.perms) + ustring(value.scheme) + ustring(value.id)
