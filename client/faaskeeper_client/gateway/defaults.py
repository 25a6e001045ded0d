"""What a gateway does unless it is told otherwise; imported by programs that load nothing else of it."""

from __future__ import annotations

import os

from faaskeeper.protocol.service import CACHE_BYTES_VARIABLE

DEFAULT_CACHE_BYTES = 64_000_000
"""Of what was read, kept to answer from."""


def default_cache_bytes() -> int:
    """What the environment says, and without it DEFAULT_CACHE_BYTES. Raises ValueError."""
    text = os.environ.get(CACHE_BYTES_VARIABLE)
    if not text:
        return DEFAULT_CACHE_BYTES
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{CACHE_BYTES_VARIABLE}={text!r}: a number of bytes, 0 for no cache")
    return int(text)
