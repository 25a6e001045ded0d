"""Where systems run: a service on the embedded cloud, and a gateway whose calls are counted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.protocol.service import Service
from faaskeeper_client.addresses import Address
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.meter import PRICES, Meter, Usage, invocations
from tests.conformance.servers import NoOracle, zookeeper

SECONDS_A_MONTH = 30 * 24 * 3600


class Stage:
    """``scratch`` is a folder that goes away, ``hosts`` the gateway as clients are given it, ``idle_seconds`` for how
    long a system is watched that has nothing to do."""

    def __init__(
        self, cloud: EmbeddedCloud, service: Service, way: Meter, usage: Usage, scratch: Path, idle: float
    ) -> None:
        self.scratch = scratch
        self.idle_seconds = idle
        self.no_zookeeper = ""
        self._stack = ExitStack()
        self._cloud = cloud
        self._usage = usage
        self._service = service
        self._aws = BotoAws(session=way.session())
        self._gateway = GatewayThread(self._aws, service).start()

    @property
    def address(self) -> Address:
        return self._gateway.address

    @property
    def hosts(self) -> str:
        return self._gateway.hosts

    @cached_property
    def zookeeper(self) -> Address | None:
        """A real one to compare with; None if it cannot be had, for which ``no_zookeeper`` says the reason."""
        try:
            return self._stack.enter_context(zookeeper())
        except NoOracle as error:
            self.no_zookeeper = str(error)
            return None

    def restart_gateway(self) -> None:
        """At the same address, with its clients connected."""
        address: Address = self._gateway.address
        self._gateway.stop()
        self._gateway = GatewayThread(self._aws, self._service, address).start()

    def bill_of(self, work: Callable[[], None]) -> str:
        """What AWS would take a month if ``work`` went on all the time, and what it is made of."""
        before, began = self._so_far(), time.monotonic()
        work()
        months = (time.monotonic() - began) / SECONDS_A_MONTH
        lines = {
            key: (count - before[key][0], units - before[key][1]) for key, (count, units) in self._so_far().items()
        }
        dollars = sum(units * PRICES[unit] for (_, _, unit), (_, units) in lines.items()) / months
        minutes = months * SECONDS_A_MONTH / 60
        parts = [
            f"{service} {operation} {count / minutes:.1f}"
            for (service, operation, _), (count, _) in sorted(lines.items())
            if count and operation
        ]
        return f"${dollars:.2f} a month; requests a minute: {', '.join(parts)}"

    def close(self) -> None:
        self._stack.close()
        self._gateway.stop()
        self._aws.close()

    def _so_far(self) -> dict[tuple[str, str, str], tuple[int, float]]:
        """(count, units) by (service, operation, unit), of the gateway, the functions and Lambda's pollers."""
        found: dict[tuple[str, str, str], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        for line in (*self._usage, *invocations(self._cloud)):
            key = (line.service, line.operation, line.unit)
            count, units = found[key]
            found[key] = (count + line.count, units + line.units)
        return found


@contextmanager
def stage(idle_seconds: float) -> Generator[Stage]:
    with ExitStack() as stack:
        cloud = stack.enter_context(EmbeddedCloud())
        service = cloud.deploy("systems")
        usage = Usage()
        way = stack.enter_context(Meter(cloud, "all", usage))
        way.lead_functions_here()
        made = Stage(cloud, service, way, usage, Path(stack.enter_context(TemporaryDirectory())), idle_seconds)
        stack.callback(made.close)
        yield made
