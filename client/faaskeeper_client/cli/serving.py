"""``gateway`` and ``local``: what serves ZooKeeper clients until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from faaskeeper_client.addresses import Address, check_free, tls_context
from faaskeeper_client.cli.endpoint import DEFAULT_SERVER, takes_service
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.parameters import ADDRESS, FILE
from faaskeeper_client.gateway.defaults import CACHE_BYTES_VARIABLE, DEFAULT_CACHE_BYTES

if TYPE_CHECKING:
    import ssl

    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper.protocol.service import Service
    from faaskeeper_client.http.options import HttpOptions


@dataclass(frozen=True, slots=True)
class Listening:
    """Where ZooKeeper clients connect to, by TLS or not, and the HTTP port, if any."""

    address: Address
    tls: ssl.SSLContext | None
    http: HttpOptions | None
    cache_bytes: int


def takes_listening(command: Callable[..., None]) -> Callable[..., None]:
    """A command that gets a Listening as its first argument, and the options that describe it."""

    @wraps(command)
    def run(
        listen: Address,
        tls_cert: Path | None,
        tls_key: Path | None,
        tls_client_ca: Path | None,
        http: Address | None,
        http_write: bool,
        http_console: bool,
        http_names: tuple[str, ...],
        cache_bytes: int,
        verbose: bool,
        **rest: Any,
    ) -> None:
        _log(verbose)
        tls = _tls(tls_cert, tls_key, tls_client_ca)
        listening = Listening(listen, tls, _http(http, http_write, http_console, http_names), cache_bytes)
        check_free(listen)
        command(listening, **rest)

    options = (
        click.option(
            "--listen",
            type=ADDRESS,
            default=DEFAULT_SERVER,
            metavar="HOST:PORT",
            help=f"Where ZooKeeper clients connect to. [default: {DEFAULT_SERVER}]",
        ),
        click.option("--tls-cert", type=FILE, help="Speak TLS with this certificate (PEM),"),
        click.option("--tls-key", type=FILE, help="and this key,"),
        click.option("--tls-client-ca", type=FILE, help="to clients certified by these authorities only."),
        click.option(
            "--http",
            type=ADDRESS,
            metavar="HOST:PORT",
            help="Also serve a console, ZooKeeper's AdminServer, Prometheus metrics and health. "
            "Needs faaskeeper[http].",
        ),
        click.option("--http-write", is_flag=True, help="The console may change the tree."),
        click.option("--http-console", is_flag=True, help="Serve the console on an address that is not loopback too."),
        click.option(
            "--http-host",
            "http_names",
            multiple=True,
            metavar="NAME",
            help="A name by which browsers may ask, beside addresses and localhost; may be repeated.",
        ),
        click.option(
            "--cache-bytes",
            type=click.IntRange(min=0),
            default=DEFAULT_CACHE_BYTES,
            show_default=True,
            envvar=CACHE_BYTES_VARIABLE,
            metavar="BYTES",
            help=f"What is kept of what was read, to answer from; 0: every read goes to storage. "
            f"${CACHE_BYTES_VARIABLE} says it too.",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Log connections and sessions."),
    )
    decorated: Callable[..., None] = run
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


@click.command()
@takes_listening
@takes_service
def gateway(listening: Listening, service: str, region: str | None) -> None:
    """Serve ZooKeeper clients in front of a service. Ends by SIGINT or SIGTERM."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.discovery import find_service

    found = find_service(service, region=region)
    with closing(BotoAws(region)) as aws:
        asyncio.run(_serve(aws, found, listening))


@click.command()
@click.option("--data", type=FILE, metavar="DIR", help="Keep the tree here from one run to the next.")
@click.option("--name", default="local", show_default=True, help="Name of the service.")
@click.option(
    "--tier",
    type=click.Choice(("development", "standard", "critical")),
    default="development",
    show_default=True,
    help="What is deployed.",
)
@click.option(
    "--super-digest",
    default="",
    metavar="USER:HASH",
    help="The super user, as ZooKeeper's DigestAuthenticationProvider prints it.",
)
@takes_listening
def local(listening: Listening, data: Path | None, name: str, tier: str, super_digest: str) -> None:
    """Run AWS (embedded), the service and a gateway here. Ends by SIGINT or SIGTERM."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.local import CloudError, EmbeddedCloud

    try:
        cloud = EmbeddedCloud(data=data)
        cloud.prepare(name, tier=tier, super_digest=super_digest)
        with cloud:
            print(f"embedded AWS at {cloud.endpoint_url}, account {cloud.account}, {cloud.region}", file=sys.stderr)
            service = cloud.deploy(name, tier=tier, super_digest=super_digest)
            with closing(BotoAws(session=cloud.session())) as aws:
                asyncio.run(_serve(aws, service, listening))
    except CloudError as error:
        raise CommandFailed(error) from error


async def _serve(aws: BotoAws, service: Service, listening: Listening) -> None:
    """Until SIGINT or SIGTERM."""
    from faaskeeper_client.gateway_thread import serve

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(
        aws,
        service,
        listening.address,
        lambda address: print(f"ready {address}", flush=True),
        stop,
        listening.tls,
        listening.http,
        lambda address: print(f"http://{address}/", file=sys.stderr, flush=True),
        listening.cache_bytes,
    )


def _http(address: Address | None, write: bool, console: bool, names: tuple[str, ...]) -> HttpOptions | None:
    """Raises UsageError, ListenError."""
    from faaskeeper_client.http.options import HttpOptions, check_installed

    if address is None:
        if write or console or names:
            raise click.UsageError("--http-write, --http-console and --http-host are of --http")
        return None
    check_installed()
    check_free(address)
    return HttpOptions(address, console=console, write=write, names=names)


def _tls(certificate: Path | None, key: Path | None, clients: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None and clients is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("TLS takes both --tls-cert and --tls-key")
    return tls_context(certificate, key, clients)


def _log(verbose: bool) -> None:
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO if verbose else logging.WARNING
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)
