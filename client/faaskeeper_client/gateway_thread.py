"""A gateway and its server, from start to clean stop: on a loop that runs, or in a thread of their own."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from faaskeeper.blocks.aws import Aws
from faaskeeper.protocol.service import Service
from faaskeeper_client.addresses import Address
from faaskeeper_client.gateway.defaults import DEFAULT_CACHE_BYTES
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.server import Server

if TYPE_CHECKING:
    from faaskeeper_client.http.options import HttpOptions

LOOPBACK = "127.0.0.1"
ANY_PORT = Address(LOOPBACK, 0)
_LONGEST_STOP = 5.0

logger = logging.getLogger(__name__)


async def serve(
    aws: Aws,
    service: Service,
    listen: Address,
    ready: Callable[[Address], object],
    stop: asyncio.Event,
    tls: ssl.SSLContext | None = None,
    http: HttpOptions | None = None,
    http_ready: Callable[[Address], object] = lambda _: None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> None:
    """A gateway for ZooKeeper clients, until ``stop``. ``ready`` is told where they connect to; port 0 of ``listen``
    takes a free one. With ``tls`` they must speak that. ``http`` asks for an HTTP port too, of which ``http_ready`` is
    told first; it takes the extra ``faaskeeper[http]``. ``cache_bytes`` of what was read are kept to answer from.

    At the end its clients are dropped. Their sessions live on until their timeout. Raises AwsError, OSError, and
    IncompatibleVersion, also later, when the service is upgraded.
    """
    async with AsyncExitStack() as stack:
        # closed transports end in the loop's next round
        stack.push_async_callback(asyncio.sleep, 0)
        if http is None:
            gateway = Gateway(aws, service, cache_bytes=cache_bytes)
            await _start(gateway, stack)
        else:
            from faaskeeper_client.http.gateway_view import LocalGateway
            from faaskeeper_client.http.port import HttpPort
            from faaskeeper_client.http.usage import CountedAws

            counted = CountedAws(aws)
            gateway = Gateway(counted, service, cache_bytes=cache_bytes)
            await _start(gateway, stack)
            port = HttpPort(LocalGateway(gateway), counted.usage, http)
            stack.push_async_callback(port.stop)
            http_ready(await port.start())
        server = Server(gateway)
        stack.callback(server.close)
        ready(Address(*await server.listen(listen.host, listen.port, tls)))
        await gateway.live_until(stop)


async def _start(gateway: Gateway, stack: AsyncExitStack) -> None:
    await gateway.start()
    stack.push_async_callback(gateway.stop)


class GatewayThread:
    """``serve`` in a thread with an event loop of its own, which does not keep the program from ending."""

    def __init__(
        self,
        aws: Aws,
        service: Service,
        listen: Address = ANY_PORT,
        http: HttpOptions | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self._aws = aws
        self._service = service
        self._listen = listen
        self._http = http
        self._cache_bytes = cache_bytes
        self._http_address: Future[Address] = Future()
        self._address: Future[Address] = Future()
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"faaskeeper-{service.name}", daemon=True)

    def start(self) -> Self:
        """Returns when it serves. Raises AwsError, OSError, IncompatibleVersion."""
        self._thread.start()
        self._address.result()
        return self

    @property
    def address(self) -> Address:
        return self._address.result()

    @property
    def http_address(self) -> Address:
        """Of its HTTP port, once it serves, if it was asked for one."""
        assert self._http is not None
        return self._http_address.result()

    @property
    def hosts(self) -> str:
        """As ZooKeeper clients take it."""
        return str(self.address)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Calls back on the gateway's loop, unless that has ended. Waits for nothing, not even a lock of ours."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(callback)

    def ask_to_stop(self) -> None:
        """Returns at once; may be called again."""
        self.call_soon(self._stop.set)

    def stop(self) -> None:
        """Returns when clients are dropped and the reply queue is deleted, or after five seconds of trying."""
        self.ask_to_stop()
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(_LONGEST_STOP)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._address.done():
                logger.exception("the gateway of service %r ended", self._service.name)
            else:
                self._address.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await serve(
            self._aws,
            self._service,
            self._listen,
            self._address.set_result,
            self._stop,
            http=self._http,
            http_ready=self._http_address.set_result,
            cache_bytes=self._cache_bytes,
        )
