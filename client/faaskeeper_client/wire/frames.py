"""Where one frame ends and the next begins (org.apache.zookeeper.server.NIOServerCnxn)."""

from __future__ import annotations

from collections.abc import Iterator

from .four_letter import WORDS, Command
from .jute import INT32, MarshallingError

MAX_FRAME = 1_048_575
"""Longest body in bytes: jute.maxbuffer's default; a longer one closes the connection."""


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
        or above MAX_FRAME: nothing that follows can be trusted, the connection must be closed.
        """
        pending = self._pending
        source: bytes | bytearray = data
        if pending:
            pending += data
            source = pending
        size = len(source)
        offset = 0
        try:
            while size - offset >= 4:
                if not self._started:
                    word = source[:4].decode("latin-1")
                    if word in WORDS:
                        offset = size
                        yield Command(word, bytes(source[4:]))
                        return
                    self._started = True
                (length,) = INT32.unpack_from(source, offset)
                if not 0 <= length <= MAX_FRAME:
                    raise MarshallingError(f"frame length {length} is not within 0..{MAX_FRAME}")
                start = offset + 4
                if start + length > size:
                    return
                offset = start + length
                yield bytes(source[start:offset])
        finally:
            if source is pending:
                del pending[:offset]
            else:
                pending += data[offset:]
