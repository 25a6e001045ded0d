"""The gateway: ZooKeeper's server side for the clients beside it, with FaaSKeeper's storage and queue behind it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.errors import AwsError
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.service import PARAMETER_PREFIX, IncompatibleVersion, InvalidService, Service
from faaskeeper_client.gateway.connection import Client, Connection
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES
from faaskeeper_client.gateway.life import Life, begin
from faaskeeper_client.gateway.liveness import DeclaredDead
from faaskeeper_client.gateway.tasks import Tasks
from faaskeeper_client.wire.statistics import ServerStatistics

logger = logging.getLogger(__name__)

_REOPEN_DELAY = 1.0
_LONGEST_END = 2.0
"""Seconds that a gateway tries to say that it has ended."""


class Gateway:
    """Without a socket: ``connect`` takes any means of sending frames.

    ``clock`` gives seconds and goes on while the machine sleeps, ``entropy`` makes ids and passwords. ``life`` is
    another object each time the gateway begins anew. What it answers from memory (``cache_bytes``, 0: nothing) is the
    present of two seconds ago, by ``clock`` and by ``wall``.
    """

    def __init__(
        self,
        aws: Aws,
        service: Service,
        *,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        entropy: random.Random | None = None,
    ) -> None:
        self.service = service
        self.clock = clock or boot_time
        self.connections: dict[Connection, None] = {}
        """In the order in which they came."""
        self._wall = wall
        self._cache_bytes = cache_bytes
        self.started = self.clock()
        self.port = 0
        self.secure = False
        """Whether clients connect to it by TLS."""
        self.statistics = ServerStatistics()
        self.tasks = Tasks()
        self._aws = aws
        self._entropy = entropy or random.SystemRandom()
        self._living: asyncio.Task[None] | None = None
        self.life = self._begin()

    async def start(self) -> None:
        """Makes the gateway known. Raises AwsError."""
        await self.life.open()
        self._living = self.tasks.spawn(self._live())

    async def live_until(self, stop: asyncio.Event) -> None:
        """Raises IncompatibleVersion when the service has gone on to a version that this gateway does not know."""
        assert self._living is not None
        told = self.tasks.spawn(stop.wait())
        await asyncio.wait((self._living, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if self._living.done():
            await self._living

    async def stop(self) -> None:
        """Drops all connections. Sessions live on until their timeout, so that clients can go to another gateway."""
        living, self._living = self._living, None
        if living is not None:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            if living.cancelled():  # else the service may be of a version that must not be written to
                await self._end()
        await self.life.inbox.close()

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_END):
                await self.life.liveness.end()
        except (AwsError, TimeoutError) as error:
            logger.info("gateway %s is found dead later: %s", self.life.id, error)

    def connect(self, client: Client, address: tuple[str, int]) -> Connection:
        """A connection for ``client``; give it the client's bytes with ``feed``."""
        connection = Connection(self, self.life, client, address)
        self.connections[connection] = None
        return connection

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self.connections.pop(connection, None)

    def _begin(self) -> Life:
        return begin(
            self._aws,
            self.service,
            clock=self.clock,
            wall=self._wall,
            cache_bytes=self._cache_bytes,
            entropy=self._entropy,
            tasks=self.tasks,
            drop_connections=self._drop_connections,
        )

    async def _live(self) -> None:
        """Runs until cancelled. When a part fails, or the gateway was declared dead, its clients are dropped and it
        begins anew: they come back, and find the service through it or another as soon as that is possible.
        Raises IncompatibleVersion."""
        while True:
            life = self.life
            parts = [self.tasks.spawn(part) for part in life.parts()]
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                for part in done:
                    logger.error("gateway %s begins anew", life.id, exc_info=part.exception())
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)
                self._drop_connections()
                life.outbox.close()
            await life.inbox.close()
            if any(isinstance(part.exception(), IncompatibleVersion) for part in done):
                await self._confirm_version()
            await self._reopen()

    async def _confirm_version(self) -> None:
        """A sequencer that has not been replaced yet, or a forger, may refuse us too: the description decides.
        Raises IncompatibleVersion."""
        try:
            response = await self._aws.call("ssm", "get_parameter", Name=PARAMETER_PREFIX + self.service.name)
            Service.from_json(response["Parameter"]["Value"])
        except (AwsError, InvalidService) as error:
            logger.warning("the version of service %r cannot be read: %s", self.service.name, error)

    async def _reopen(self) -> None:
        attempt = 0
        while True:
            # a client that came meanwhile would wait for parts that have ended
            self._drop_connections()
            self.life = self._begin()
            try:
                await self.life.open()
            except (AwsError, DeclaredDead) as error:
                logger.warning("the gateway cannot begin: %s", error)
                await asyncio.sleep(_REOPEN_DELAY + delay(attempt))
                attempt += 1
            else:
                return

    def _drop_connections(self) -> None:
        for connection in list(self.connections):
            connection.close()
