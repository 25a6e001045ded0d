"""The server that a command talks to: one that runs, or a gateway of the command's own in front of a service."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from faaskeeper_client.addresses import Address
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.parameters import FILE, SECONDS, SERVERS
from faaskeeper_client.cli.zookeeper import ZooKeeper
from faaskeeper_client.discovery import SERVICE_NAME_VARIABLE, default_service

DEFAULT_SERVER = Address.parse("127.0.0.1:2181")
DEFAULT_PATIENCE = 10.0
"""Seconds that a command tries to connect."""

# boto3 and what imports it are loaded where they are needed: most commands get along without


@dataclass(frozen=True, slots=True)
class Tls:
    """``ca`` are the authorities that certify the server, None for the system's. ``cert`` and ``key`` are the client's,
    both or none. All are PEM files."""

    ca: Path | None
    cert: Path | None
    key: Path | None

    def context(self) -> ssl.SSLContext:
        """Raises CommandFailed."""
        context = ssl.create_default_context()
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except OSError as error:
            files = ", ".join(str(file) for file in (self.ca, self.cert, self.key) if file is not None)
            raise CommandFailed(f"no TLS with {files}: {error.strerror or error}") from error
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to go, with which credentials ("user:password"), for how many seconds to try. Without ``service`` to
    ``servers``, by TLS if there is ``tls``."""

    servers: list[Address]
    service: str | None = None
    region: str | None = None
    credentials: tuple[str, ...] = ()
    patience: float = DEFAULT_PATIENCE
    tls: Tls | None = None

    @contextmanager
    def addresses(self) -> Generator[list[Address]]:
        """Those of the servers, or of a gateway that ends with the block. Raises DiscoveryError, AwsError."""
        if self.service is None:
            yield self.servers
            return
        from faaskeeper.blocks.aws import BotoAws
        from faaskeeper_client.discovery import find_service
        from faaskeeper_client.gateway_thread import GatewayThread

        logging.getLogger("faaskeeper_client").setLevel(logging.ERROR)
        service = find_service(self.service, region=self.region)
        with closing(BotoAws(self.region)) as aws, GatewayThread(aws, service) as thread:
            yield [thread.address]

    @contextmanager
    def session(self) -> Generator[ZooKeeper]:
        """Raises ServerUnreachable, Failed if the credentials are refused, DiscoveryError, AwsError, CommandFailed."""
        context = self.tls.context() if self.tls else None
        with (
            self.addresses() as addresses,
            ZooKeeper(addresses, credentials=self.credentials, patience=self.patience, tls=context) as zookeeper,
        ):
            yield zookeeper


_OPTIONS = (
    click.option(
        "--server",
        type=SERVERS,
        metavar="HOST:PORT[,...]",
        help=f"A gateway, or any ZooKeeper. [default: {DEFAULT_SERVER}]",
    ),
    click.option(
        "--service",
        metavar="NAME",
        help="A deployed service, through a gateway of this command's own. Without --server "
        f"${SERVICE_NAME_VARIABLE} names one too.",
    ),
    click.option("--region", help="AWS region of the service, if it is not the environment's."),
    click.option("--auth", multiple=True, metavar="USER:PASSWORD", help="For the digest scheme; may be repeated."),
    click.option("--auth-file", type=FILE, help="Lines of USER:PASSWORD, which no process list shows."),
    click.option("--tls", is_flag=True, help="Speak TLS with --server."),
    click.option("--tls-ca", type=FILE, help="The authorities that certify it (PEM), if not the system's."),
    click.option("--tls-cert", type=FILE, help="A certificate of this client's (PEM)."),
    click.option("--tls-key", type=FILE, help="The key of that certificate (PEM)."),
)
_TIMEOUT = click.option(
    "--timeout", type=SECONDS, default=DEFAULT_PATIENCE, metavar="S", help="How long to try to connect, in seconds."
)


def takes_endpoint(command: Callable[..., None]) -> Callable[..., None]:
    """A command that gets an Endpoint as its first argument, and the options that describe it."""
    return _TIMEOUT(takes_endpoint_without_timeout(command))


def takes_endpoint_without_timeout(command: Callable[..., None]) -> Callable[..., None]:
    """The same for one whose ``--timeout`` says something else."""

    @wraps(command)
    def run(
        server: list[Address] | None,
        service: str | None,
        region: str | None,
        auth: tuple[str, ...],
        auth_file: Path | None,
        tls: bool,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        timeout: float | None = None,
        **rest: Any,
    ) -> None:
        if server and service:
            raise click.UsageError("--server and --service exclude each other")
        name = service or (None if server else os.environ.get(SERVICE_NAME_VARIABLE)) or None
        wants_tls = tls or tls_ca is not None or tls_cert is not None or tls_key is not None
        if wants_tls and name is not None:
            raise click.UsageError(
                "the TLS options are for --server; with --service there is no way between to protect"
            )
        if (tls_cert is None) != (tls_key is None):
            raise click.UsageError("--tls-cert and --tls-key go together")
        command(
            Endpoint(
                server or [DEFAULT_SERVER],
                name,
                region,
                (*auth, *_credentials(auth_file)),
                DEFAULT_PATIENCE if timeout is None else timeout,
                Tls(tls_ca, tls_cert, tls_key) if wants_tls else None,
            ),
            **rest,
        )

    decorated: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def takes_service(command: Callable[..., None]) -> Callable[..., None]:
    """The options ``service`` and ``region``, of a deployed service."""
    name = click.option(
        "--service",
        default=default_service,
        metavar="NAME",
        help=f"Name the service was deployed with; ${SERVICE_NAME_VARIABLE}, or faaskeeper, if not given.",
    )
    region = click.option("--region", help="AWS region, if it is not the environment's.")
    return name(region(command))


def _credentials(file: Path | None) -> list[str]:
    """Raises UsageError."""
    lines = [line.strip() for line in file.read_text().splitlines()] if file else []
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#") and ":" not in line:
            raise click.UsageError(f"{file}: line {number} is not USER:PASSWORD")
    return [line for line in lines if line and not line.startswith("#")]
