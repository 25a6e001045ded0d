"""Which service a function was deployed for."""

from __future__ import annotations

from functools import cache

from faaskeeper.protocol.service import Service


@cache
def service() -> Service:
    """The description in the function's environment, read once an instance. Raises InvalidService,
    IncompatibleVersion."""
    return Service.from_environment()
