"""kazoo on a service, without a server to run: the gateway is a thread of the program that uses it."""

# kazoo has no type stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import atexit
import os
import threading
import weakref
from typing import Any

import boto3.session
from kazoo.client import KazooClient

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.addresses import Address
from faaskeeper_client.discovery import default_service, find_service
from faaskeeper_client.gateway.defaults import default_cache_bytes
from faaskeeper_client.gateway_thread import ANY_PORT, GatewayThread


def connect(
    service_name: str | None = None,
    *,
    region: str | None = None,
    session: boto3.session.Session | None = None,
    listen: str | None = None,
    cache_bytes: int | None = None,
    **kazoo_options: Any,
) -> KazooClient:
    """A KazooClient for a deployed service, to be started like any other::

        zk = connect("faaskeeper")
        zk.start()
        ...
        zk.stop()
        zk.close()

    The gateway behind it runs in a thread of this process, on the loopback interface. Clients of the same service,
    region, session, ``listen`` and ``cache_bytes`` share one. It ends with the last of them that is closed or garbage,
    and with the process: sessions that were not stopped live on until their timeout, as with any ZooKeeper. A forked
    child makes its own.

    ``service_name`` defaults to the environment variable FAASKEEPER_SERVICE_NAME, and without one to the name that
    ``cdk deploy`` gives. ``region`` and ``session`` say where it is, if not where boto3 would look by itself.
    ``listen`` (``HOST:PORT``) is for serving other ZooKeeper clients too. ``cache_bytes`` of what was read are kept in
    memory to answer from: what others wrote through other gateways may show up to two seconds late, as at a ZooKeeper
    server that follows; with 0 every read goes to storage. It defaults to the environment variable
    FAASKEEPER_CACHE_BYTES, and without one to 64 MB. ``kazoo_options`` go to KazooClient, except
    for ``hosts``. Raises DiscoveryError, AwsError, IncompatibleVersion, OSError if the address cannot be listened on,
    and ValueError if it is none, or ``cache_bytes`` is negative.
    """
    if "hosts" in kazoo_options:
        raise TypeError("connect() chooses the hosts itself: name a service, or use KazooClient(hosts=...)")
    try:
        address = Address.parse(listen) if listen else ANY_PORT
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"listen={listen!r}: {error}") from None
    memory = default_cache_bytes() if cache_bytes is None else cache_bytes
    return _Client((service_name or default_service(), region, session, address, memory), kazoo_options)


_Key = tuple[str, str | None, boto3.session.Session | None, Address, int]


class _SharedGateway:
    """A gateway and the number of its users, of whom the first is whoever makes it."""

    def __init__(self, key: _Key) -> None:
        name, region, session, address, cache_bytes = key
        service = find_service(name, region=region, session=session)
        self._aws = BotoAws(region or service.region, session=session)
        self._thread = GatewayThread(self._aws, service, address, cache_bytes=cache_bytes)
        self._users = 1
        self._lock = threading.Lock()
        try:
            self._thread.start()
        except BaseException:
            self._aws.close()
            raise

    @property
    def hosts(self) -> str:
        return self._thread.hosts

    @property
    def in_use(self) -> bool:
        return self._users > 0

    def acquire(self) -> bool:
        """Whether there is one more user; none is taken once the last has gone."""
        with self._lock:
            self._users += self.in_use
            return self.in_use

    def release(self) -> None:
        """One user less; the last stops the gateway."""
        if self._leave():
            self.stop()

    def collected(self) -> None:
        """A user was garbage. Where Python finds that out no lock may be taken, so it happens on the gateway's loop."""
        self._thread.call_soon(self._leave)

    def stop(self) -> None:
        self._thread.stop()
        self._aws.close()

    def _leave(self) -> bool:
        with self._lock:
            self._users -= 1
        if not self.in_use:
            self._thread.ask_to_stop()
        return not self.in_use


class _Client(KazooClient):
    def __init__(self, key: _Key, options: dict[str, Any]) -> None:
        self._key = key
        gateway = _gateway(key)
        try:
            super().__init__(hosts=gateway.hosts, **options)
        except BaseException:
            gateway.release()
            raise
        self._hold(gateway)

    def start_async(self) -> Any:
        # kazoo closes a client whose start timed out, and its user may start it again
        if not self._collected.alive:
            gateway = _gateway(self._key)
            self.set_hosts(gateway.hosts + (self.chroot or ""))
            self._hold(gateway)
        return super().start_async()

    def close(self) -> None:
        super().close()
        if self._collected.detach():
            self._gateway.release()

    def _hold(self, gateway: _SharedGateway) -> None:
        self._gateway = gateway
        self._collected = weakref.finalize(self, gateway.collected)
        self._collected.atexit = False


_gateways: dict[_Key, _SharedGateway] = {}
_starting = threading.Lock()


def _gateway(key: _Key) -> _SharedGateway:
    """With the caller as one of its users."""
    with _starting:
        for old in [old for old, gateway in _gateways.items() if not gateway.in_use]:
            del _gateways[old]
        gateway = _gateways.get(key)
        if gateway is None or not gateway.acquire():
            gateway = _gateways[key] = _SharedGateway(key)
        return gateway


@atexit.register
def _stop_all() -> None:
    for gateway in _gateways.values():
        gateway.stop()


def _forget_all() -> None:
    """In a forked child, which has none of the threads."""
    global _starting
    _starting = threading.Lock()
    _gateways.clear()


os.register_at_fork(after_in_child=_forget_all)
