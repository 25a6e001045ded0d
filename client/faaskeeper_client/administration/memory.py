"""How a gateway's memory of reads does, by the gateway itself: nothing in storage tells."""

from __future__ import annotations

import asyncio

from faaskeeper_client.addresses import Address

_PREFIX = "zk_cache_"
_PATIENCE = 5.0
"""Seconds in which the gateway must have answered."""


class NoGateway(Exception):
    """There is none at the address; the message says why."""


async def read_memory(address: Address) -> dict[str, int]:
    """The figures that ``mntr`` has of it (``CacheStatistics``), by name. Raises NoGateway."""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write(b"mntr")
                answer = (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError, UnicodeDecodeError) as error:
        raise NoGateway(f"no gateway answers at {address}: {error or type(error).__name__}") from error
    pairs = (line.split("\t") for line in answer.splitlines() if line.startswith(_PREFIX))
    found = {name.removeprefix(_PREFIX): int(value) for name, value in pairs}
    if not found:
        raise NoGateway(f"no gateway answers at {address}: mntr has no {_PREFIX}* there")
    return found
