"""What the head of the ledger knows of direct calls: for each gateway that makes them, how far they are applied.

A lane is to the direct calls of one gateway what the watermark is to the requests queue. It is opened by the first
commit of such a call and found again by a digest of a secret that nobody but its gateway knows, so nobody else can move
it. There is room for a few; the one unused for longest makes room, and ``floor`` remembers up to when lanes may have
gone. So of any call it is known whether it was applied, or the call is refused (``Lanes.applied``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

from faaskeeper.blocks.invocation import Forgotten
from faaskeeper.blocks.transactions import Position

MAX_LANES = 16
"""With all of them the head of a small write stays within one write unit (1 KB)."""
_FLOOR = struct.Struct(">Q")
_LANE = struct.Struct(">8sQIH")


@dataclass(frozen=True, slots=True)
class Lane:
    """``applied`` is the last request that was: (number of its call, index in it). ``zxid`` is that of its commit."""

    digest: bytes
    zxid: int
    applied: Position


@dataclass(frozen=True, slots=True)
class Lanes:
    """``lanes`` in the order of their last use. Of those last used up to zxid ``floor`` some may be gone."""

    floor: int = 0
    lanes: tuple[Lane, ...] = ()

    def applied(self, digest: bytes, since: int) -> Position | None:
        """The last request of the lane that was applied; None if none was from zxid ``since`` on. Raises Forgotten if
        the lane may have gone since then."""
        for lane in self.lanes:
            if lane.digest == digest:
                return lane.applied
        if since < self.floor:
            raise Forgotten(f"lanes used up to {self.floor} may be gone, the call was first made at {since}")
        return None

    def moved(self, digest: bytes, applied: Position, zxid: int) -> Lanes:
        """After a commit of that lane."""
        others = tuple(lane for lane in self.lanes if lane.digest != digest)
        gone, kept = others[: -(MAX_LANES - 1)], others[-(MAX_LANES - 1) :]
        return Lanes(max([self.floor, *(lane.zxid for lane in gone)]), (*kept, Lane(digest, zxid, applied)))

    def pack(self) -> bytes:
        packed = (
            _LANE.pack(lane.digest, lane.zxid, lane.applied.sequence_number, lane.applied.index) for lane in self.lanes
        )
        return b"".join((_FLOOR.pack(self.floor), *packed))


def unpack_lanes(packed: bytes) -> Lanes:
    (floor,) = _FLOOR.unpack_from(packed)
    lanes = _LANE.iter_unpack(packed[_FLOOR.size :])
    return Lanes(floor, tuple(Lane(digest, zxid, Position(call, index)) for digest, zxid, call, index in lanes))


def lane_digest(secret: bytes) -> bytes:
    return sha256(secret).digest()[:8]
