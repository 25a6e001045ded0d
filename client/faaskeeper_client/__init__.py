"""ZooKeeper's protocol in front of a FaaSKeeper service: gateway, command line, embedded cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faaskeeper_client.discovery import find_service
    from faaskeeper_client.kazoo_client import connect

__all__ = ["connect", "find_service"]


def __getattr__(name: str) -> object:
    # boto3 and kazoo take longer to load than most programs that import this package to look at it want to wait
    if name == "connect":
        from faaskeeper_client.kazoo_client import connect

        return connect
    if name == "find_service":
        from faaskeeper_client.discovery import find_service

        return find_service
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
