"""The fingerprint by which a listing of children is known to belong to one state of the parent."""

from __future__ import annotations

from hashlib import blake2b

_MODULUS = 1 << 64


def edge_hash(name: str, czxid: int) -> int:
    """64-bit hash of one child. The czxid is in it, so a recreated child is another child."""
    return int.from_bytes(blake2b(f"{czxid}/{name}".encode(), digest_size=8).digest())


def add_child(children_sum: int, name: str, czxid: int) -> int:
    return (children_sum + edge_hash(name, czxid)) % _MODULUS


def remove_child(children_sum: int, name: str, czxid: int) -> int:
    return (children_sum - edge_hash(name, czxid)) % _MODULUS
