"""What commands talk to: a server, a gateway of their own, storage, or a whole cloud on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from faaskeeper_client.addresses import Address, check_free, tls_context
from faaskeeper_client.cli.commands import Command, CommandFailed, Options, UsageError
from faaskeeper_client.cli.output import show_json, show_lines
from faaskeeper_client.cli.zookeeper import ZooKeeper
from faaskeeper_client.discovery import SERVICE_NAME_VARIABLE

if TYPE_CHECKING:
    import ssl

    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper.protocol.service import Service

DEFAULT_SERVER = Address.parse("127.0.0.1:2181")

# boto3 and what imports it are loaded where they are needed: most commands get along without


def with_session(command: Command) -> Callable[[Options], None]:
    """``command`` with a session of its own."""

    def run(options: Options) -> None:
        with (
            _endpoint(options) as addresses,
            ZooKeeper(addresses, credentials=options.auth, patience=options.timeout) as zookeeper,
        ):
            command(options, zookeeper)

    return run


@contextmanager
def _endpoint(options: Options) -> Generator[list[Address]]:
    name = options.service or (None if options.server else os.environ.get(SERVICE_NAME_VARIABLE))
    if not name:
        yield options.server or [DEFAULT_SERVER]
        return
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.discovery import find_service
    from faaskeeper_client.gateway_thread import GatewayThread

    logging.getLogger("faaskeeper_client").setLevel(logging.ERROR)
    service = find_service(name, region=options.region)
    with closing(BotoAws(options.region)) as aws, GatewayThread(aws, service) as thread:
        yield [thread.address]


def sessions(options: Options) -> None:
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.administration.sessions import scan_sessions
    from faaskeeper_client.cli.reports import sessions_json, sessions_lines
    from faaskeeper_client.discovery import find_service

    service = find_service(options.service, region=options.region)
    with closing(BotoAws(options.region)) as aws:
        found, _ = asyncio.run(scan_sessions(aws, service))
    if options.json:
        show_json(sessions_json(found))
    else:
        show_lines(sessions_lines(found))


def status(options: Options) -> None:
    """Raises CommandFailed after it has shown why."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.administration.status import read_status
    from faaskeeper_client.cli.reports import status_json, status_lines
    from faaskeeper_client.discovery import find_service

    service = find_service(options.service, region=options.region)
    with closing(BotoAws(options.region)) as aws:
        found = asyncio.run(read_status(aws, service, options.patience))
    if options.json:
        show_json(status_json(found))
    else:
        show_lines(status_lines(found))
    if found.problems:
        raise CommandFailed(f"service {service.name} is not healthy")


def verify(options: Options) -> None:
    """Raises CommandFailed after it has shown what is wrong."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.administration.contents import missing_blobs, problems, read_contents
    from faaskeeper_client.discovery import find_service

    service = find_service(options.service, region=options.region)

    async def look(aws: BotoAws) -> list[str]:
        contents = await read_contents(aws, service)
        return problems(contents, service) + await missing_blobs(aws, service, contents)

    with closing(BotoAws(options.region)) as aws:
        found = asyncio.run(look(aws))
    if options.json:
        show_json(found)
    else:
        show_lines(found)
    if found:
        raise CommandFailed(f"{len(found)} things do not fit together; of a service in use they may be of the moment")


def restore(options: Options) -> None:
    """Raises CommandFailed."""
    import time
    from dataclasses import replace

    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.administration import restore as restoring
    from faaskeeper_client.cli.reports import restored_json, restored_lines
    from faaskeeper_client.discovery import find_service

    target = find_service(options.service, region=options.region)
    names = {name: getattr(options, name) for name in ("znodes", "sessions", "ledger", "blobs")}
    with closing(BotoAws(options.region)) as aws:
        try:
            work = restoring.restore(
                aws, replace(target, **names), target, time.time_ns() // 1_000_000, repair=options.repair
            )
            restored = asyncio.run(work)
        except restoring.Torn as error:
            show_lines(error.problems)
            raise CommandFailed(error) from error
        except restoring.InUse as error:
            raise CommandFailed(error) from error
    if options.json:
        show_json(restored_json(restored))
    else:
        show_lines(restored_lines(restored))


def dead_letters(options: Options) -> None:
    """Raises CommandFailed."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.administration import dead_letters as letters
    from faaskeeper_client.cli.reports import letter_json, letter_lines, letters_json, letters_lines
    from faaskeeper_client.discovery import find_service

    service = find_service(options.service, region=options.region)
    with closing(BotoAws(options.region)) as aws:
        try:
            match options.action:
                case "show":
                    letter = asyncio.run(letters.show_letter(aws, service, options.id))
                    if options.json:
                        show_json(letter_json(letter))
                    else:
                        show_lines(letter_lines(letter))
                    return
                case "list":
                    found = asyncio.run(letters.list_letters(aws, service))
                case "redrive":
                    found = asyncio.run(letters.redrive(aws, service, options.ids or None))
                case _:
                    found = asyncio.run(letters.drop(aws, service, options.ids or None))
        except (letters.NotRedriven, letters.NoSuchLetter) as error:
            raise CommandFailed(error) from error
    if options.json:
        show_json(letters_json(found))
    else:
        show_lines(letters_lines(found))


def gateway(options: Options) -> None:
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.discovery import find_service

    _log(options)
    tls = _tls(options)
    check_free(options.listen)
    service = find_service(options.service, region=options.region)
    with closing(BotoAws(options.region)) as aws:
        asyncio.run(_serve(aws, service, options.listen, tls))


def local(options: Options) -> None:
    """Raises CommandFailed."""
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.local import CloudError, EmbeddedCloud

    _log(options)
    tls = _tls(options)
    check_free(options.listen)
    try:
        with EmbeddedCloud(data=options.data) as cloud:
            print(f"embedded AWS at {cloud.endpoint_url}, account {cloud.account}, {cloud.region}", file=sys.stderr)
            service = cloud.deploy(options.name, tier=options.tier)
            with closing(BotoAws(session=cloud.session())) as aws:
                asyncio.run(_serve(aws, service, options.listen, tls))
    except CloudError as error:
        raise CommandFailed(error) from error


async def _serve(aws: BotoAws, service: Service, address: Address, tls: ssl.SSLContext | None) -> None:
    """Until SIGINT or SIGTERM."""
    from faaskeeper_client.gateway_thread import serve

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(aws, service, address, lambda listening: print(f"ready {listening}", flush=True), stop, tls)


def _tls(options: Options) -> ssl.SSLContext | None:
    certificate, key, clients = options.tls_cert, options.tls_key, options.tls_client_ca
    if certificate is None and key is None and clients is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS takes both --tls-cert and --tls-key")
    return tls_context(certificate, key, clients)


def _log(options: Options) -> None:
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=logging.INFO if options.verbose else logging.WARNING,
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)
