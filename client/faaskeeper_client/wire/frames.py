"""Where one frame ends and the next begins (org.apache.zookeeper.server.NIOServerCnxn)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .four_letter import WORDS
from .jute import INT32, MarshallingError

MAX_FRAME = 1_048_575
"""Longest body in bytes: jute.maxbuffer's default; a longer one closes the connection."""


class Command(NamedTuple):
    """A connection that began with a four-letter word; ``argument`` is what came with it (stmk takes 8 bytes)."""

    word: str
    argument: bytes


class Frames:
    """Cuts a connection's bytes, however they arrive, into frame bodies."""

    __slots__ = ("_pending", "_started")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes | Command]:
        """The frames that ``data`` completes; exhaust it before the next call.

        A connection's first four bytes may be a four-letter word: that yields one Command, and the connection is
        to be closed when it is answered. Raises MarshallingError after the last good frame when a length is negative
        or above MAX_FRAME: nothing that follows can be trusted, the connection is to be closed.
        """
        pending = self._pending
        pending += data
        offset = 0
        try:
            while len(pending) - offset >= 4:
                (length,) = INT32.unpack_from(pending, offset)
                if not self._started:
                    word = pending[:4].decode("latin-1")
                    if word in WORDS:
                        yield Command(word, bytes(pending[4:]))
                        offset = len(pending)
                        return
                    self._started = True
                if not 0 <= length <= MAX_FRAME:
                    raise MarshallingError(f"frame length {length} is not within 0..{MAX_FRAME}")
                end = offset + 4 + length
                if end > len(pending):
                    return
                body = bytes(pending[offset + 4 : end])
                offset = end
                yield body
        finally:
            del pending[:offset]
