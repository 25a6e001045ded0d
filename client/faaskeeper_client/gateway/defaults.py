"""What a gateway does unless it is told otherwise; imported by programs that load nothing else of it."""

DEFAULT_CACHE_BYTES = 64_000_000
"""Of what was read, kept to answer from."""
