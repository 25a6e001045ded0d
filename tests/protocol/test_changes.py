"""What changed in the last transactions: packed into the room there is, and never taken for more than it says."""

from __future__ import annotations

import random

import pytest

from faaskeeper.protocol.changes import Changes, digest, unpack_changes


def made(chance: random.Random, transactions: int) -> tuple[Changes, dict[int, frozenset[int]]]:
    """And all that was told to it, by zxid."""
    changes, told = Changes.unknown(chance.randrange(100)), dict[int, frozenset[int]]()
    for _ in range(transactions):
        zxid = changes.upto + chance.choice((1, 1, 1, 7, 1000))
        told[zxid] = frozenset(digest(f"/{chance.randrange(50)}") for _ in range(chance.randrange(4)))
        changes = changes.followed_by(zxid, told[zxid])
    return changes, told


@pytest.mark.parametrize("seed", range(20))
def test_what_it_knows_is_all_there_was(seed: int) -> None:
    chance = random.Random(seed)
    changes, told = made(chance, 60)
    for room in (0, 10, 16, 30, 100, 1000, 5000):
        packed = changes.pack(room)
        assert len(packed) <= room
        known = unpack_changes(packed)
        if known is None:
            assert room < 16
            continue
        assert known.upto == changes.upto
        for after in (known.since, *(zxid for zxid in told if zxid >= known.since)):
            found = known.between(after, known.upto)
            assert found is not None
            assert dict(found) == {zxid: some for zxid, some in told.items() if some and after < zxid}
        assert known.between(known.since - 1, known.upto) is None
        assert known.between(known.since, known.upto + 1) is None


def test_a_transaction_that_is_larger_than_the_room_is_a_gap() -> None:
    changes = Changes.unknown(5).followed_by(6, [1]).followed_by(7, range(5000))
    assert changes.between(6, 7) is None
    after = changes.followed_by(8, [3])
    assert after.between(6, 8) is None
    assert dict(after.between(7, 8) or ()) == {8: frozenset([3])}


def test_what_says_nothing_of_the_last_transaction_is_unknown() -> None:
    """It was left by code that knows no changes."""
    old = Changes.unknown(1).followed_by(2, [1])
    assert old.at(2) is old
    assert old.at(3) == Changes.unknown(3)
    assert old.at(3).followed_by(4, [2]).between(2, 4) is None


@pytest.mark.parametrize("packed", [b"x", bytes(15), bytes(17), bytes(16) + b"\0\0\0\2\0\0\0\0"])
def test_what_was_cut_off_is_no_changes(packed: bytes) -> None:
    with pytest.raises(ValueError, match="changes of"):
        unpack_changes(packed)
