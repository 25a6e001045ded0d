"""How the HTTP port is wanted."""

from __future__ import annotations

import importlib.util
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from faaskeeper_client.addresses import Address, ListenError

_LIBRARIES = ("aiohttp", "prometheus_client")


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """``console``: also on an address that is not loopback. ``write``: the console may change the tree. ``names``: of
    this machine, by which browsers may ask, beside its addresses and localhost."""

    listen: Address
    console: bool = False
    write: bool = False
    names: Collection[str] = ()

    @property
    def has_console(self) -> bool:
        return self.console or is_loopback(self.listen)


def is_loopback(address: Address) -> bool:
    """Whether only this machine reaches it. A name other than localhost may be any machine's."""
    if address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def check_installed() -> None:
    """Before anything slow is started. Raises ListenError."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ListenError(f"the HTTP port needs {' and '.join(missing)}: pip install 'faaskeeper[http]'")
