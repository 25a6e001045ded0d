"""``gateway`` and ``local``: what serves ZooKeeper clients until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from faaskeeper_client.addresses import Address, check_free, tls_context
from faaskeeper_client.cli.endpoint import DEFAULT_SERVER, takes_service
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.parameters import ADDRESS, FILE

if TYPE_CHECKING:
    import ssl

    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper.protocol.service import Service


def takes_listening(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which something listens: ``listen``, ``tls_cert``, ``tls_key``, ``tls_client_ca``, ``verbose``."""
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
        click.option("-v", "--verbose", is_flag=True, help="Log connections and sessions."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@takes_listening
@takes_service
def gateway(
    service: str,
    region: str | None,
    listen: Address,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    verbose: bool,
) -> None:
    """Serve ZooKeeper clients in front of a service. Ends by SIGINT or SIGTERM."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.discovery import find_service

    _log(verbose)
    tls = _tls(tls_cert, tls_key, tls_client_ca)
    check_free(listen)
    found = find_service(service, region=region)
    with closing(BotoAws(region)) as aws:
        asyncio.run(_serve(aws, found, listen, tls))


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
def local(
    data: Path | None,
    name: str,
    tier: str,
    super_digest: str,
    listen: Address,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    verbose: bool,
) -> None:
    """Run AWS (embedded), the service and a gateway here. Ends by SIGINT or SIGTERM."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.local import CloudError, EmbeddedCloud

    _log(verbose)
    tls = _tls(tls_cert, tls_key, tls_client_ca)
    check_free(listen)
    try:
        cloud = EmbeddedCloud(data=data)
        cloud.prepare(name, tier=tier, super_digest=super_digest)
        with cloud:
            print(f"embedded AWS at {cloud.endpoint_url}, account {cloud.account}, {cloud.region}", file=sys.stderr)
            service = cloud.deploy(name, tier=tier, super_digest=super_digest)
            with closing(BotoAws(session=cloud.session())) as aws:
                asyncio.run(_serve(aws, service, listen, tls))
    except CloudError as error:
        raise CommandFailed(error) from error


async def _serve(aws: BotoAws, service: Service, address: Address, tls: ssl.SSLContext | None) -> None:
    """Until SIGINT or SIGTERM."""
    from faaskeeper_client.gateway_thread import serve

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(aws, service, address, lambda listening: print(f"ready {listening}", flush=True), stop, tls)


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
