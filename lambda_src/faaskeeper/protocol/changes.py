"""Which znodes the last transactions changed: by this gateways know what of their caches still holds.

The head of the ledger carries it in room that its write units have anyway, so that a write costs the same whether its
znode is cached anywhere or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from struct import Struct
from struct import error as StructError
from zlib import crc32

_SPAN = Struct(">QQ")
_TRANSACTION = Struct(">HH")
_DIGEST_BYTES = 4
_MAX_AGE = 0xFFFF
_MOST = 1000
"""Digests that are remembered."""


def digest(path: str) -> int:
    """By which a path is named. Two paths may share one: then a change of either counts as one of both."""
    # half of a surrogate pair may be in a forged path
    return crc32(path.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes of znodes in the transactions of (``since``, ``upto``]: ``transactions`` are their zxids, the latest
    first, with the digests of the paths that each changed."""

    since: int
    upto: int
    transactions: tuple[tuple[int, frozenset[int]], ...] = ()

    @classmethod
    def unknown(cls, zxid: int) -> Changes:
        """Up to ``zxid``, before which nothing is known."""
        return cls(zxid, zxid)

    def at(self, zxid: int) -> Changes:
        """Those up to ``zxid`` of the head: what says nothing of it was left by code that knows no changes."""
        return self if self.upto == zxid else Changes.unknown(zxid)

    def followed_by(self, zxid: int, digests: Iterable[int]) -> Changes:
        """With one transaction more."""
        changed = frozenset(digests)
        made = ((zxid, changed),) if changed else ()
        return _limited(self.since, zxid, chain(made, self.transactions), _MOST * _DIGEST_BYTES)

    def between(self, after: int, upto: int) -> Iterator[tuple[int, frozenset[int]]] | None:
        """The changes in (``after``, ``upto``]; None if some of them are not known."""
        if after < self.since or upto > self.upto:
            return None
        return ((zxid, digests) for zxid, digests in self.transactions if after < zxid <= upto)

    def pack(self, room: int) -> bytes:
        """In at most ``room`` bytes, the oldest left out; empty if there is not even room for none."""
        if room < _SPAN.size:
            return b""
        kept = _limited(self.since, self.upto, self.transactions, room - _SPAN.size)
        parts = [_SPAN.pack(kept.since, kept.upto)]
        for zxid, digests in kept.transactions:
            parts.append(_TRANSACTION.pack(kept.upto - zxid, len(digests)))
            parts += (each.to_bytes(_DIGEST_BYTES, "big") for each in sorted(digests))
        return b"".join(parts)


def _limited(since: int, upto: int, transactions: Iterable[tuple[int, frozenset[int]]], room: int) -> Changes:
    kept: list[tuple[int, frozenset[int]]] = []
    for zxid, digests in transactions:
        room -= _TRANSACTION.size + _DIGEST_BYTES * len(digests)
        if room < 0 or upto - zxid > _MAX_AGE:
            return Changes(zxid, upto, tuple(kept))
        kept.append((zxid, digests))
    return Changes(since, upto, tuple(kept))


def unpack_changes(packed: bytes) -> Changes | None:
    """None if it is empty. Raises ValueError."""
    if not packed:
        return None
    try:
        return _unpacked(packed)
    except StructError as failure:
        raise ValueError(f"changes of {len(packed)} bytes: {failure}") from failure


def _unpacked(packed: bytes) -> Changes:
    since, upto = _SPAN.unpack_from(packed)
    transactions: list[tuple[int, frozenset[int]]] = []
    at = _SPAN.size
    while at < len(packed):
        age, count = _TRANSACTION.unpack_from(packed, at)
        at += _TRANSACTION.size
        end = at + count * _DIGEST_BYTES
        if end > len(packed):
            raise ValueError(f"changes of {len(packed)} bytes: {end} are announced")
        digests = (int.from_bytes(packed[each : each + _DIGEST_BYTES], "big") for each in range(at, end, _DIGEST_BYTES))
        transactions.append((upto - age, frozenset(digests)))
        at = end
    return Changes(since, upto, tuple(transactions))
