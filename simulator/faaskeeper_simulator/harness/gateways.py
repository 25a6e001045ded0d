"""Gateways in processes of their own, each started again some time after it died."""

from __future__ import annotations

import asyncio
import random

from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.service import Service
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_simulator.cloud import Cloud, Process

RESTART = (0.2, 5.0)
"""Seconds from a gateway's death to the start of the next in its place."""


class Slot:
    """A place where a gateway runs. ``gateway`` is None while none is up."""

    def __init__(
        self, cloud: Cloud, service: Service, name: str, *, mortal: bool, cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> None:
        self.name = name
        self.gateway: Gateway | None = None
        self.process: Process | None = None
        self.deaths = 0
        self._cloud = cloud
        self._service = service
        self._mortal = mortal
        self._cache_bytes = cache_bytes
        self._chance: random.Random = cloud.loop.stream(f"gateway {name}")

    async def keep_up(self) -> None:
        """Runs outside of the process it watches; never returns."""
        while True:
            died = asyncio.Event()
            self.process = self._cloud.process(self.name, mortal=self._mortal)
            self.process.when_killed(died.set)
            self.process.start(self._serve(self.process))
            await died.wait()
            self.gateway = None
            self.deaths += 1
            await asyncio.sleep(self._chance.uniform(*RESTART))

    async def _serve(self, process: Process) -> None:
        """A gateway that cannot start is started again, as any supervisor would."""
        while True:
            gateway = Gateway(
                self._cloud.client(process),
                self._service,
                clock=self._cloud.loop.time,
                wall=process.clock,
                cache_bytes=self._cache_bytes,
                entropy=random.Random(self._chance.getrandbits(64)),
            )
            try:
                await gateway.start()
            except AwsError:
                await asyncio.sleep(1.0)
                continue
            self.gateway = gateway
            return
