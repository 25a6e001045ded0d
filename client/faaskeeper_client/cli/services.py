"""The commands that read and mend a deployed service, past its gateways. All raise DiscoveryError and AwsError."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import click

from faaskeeper import page
from faaskeeper_client.addresses import Address
from faaskeeper_client.cli.endpoint import takes_service
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.output import progress, show_json, show_lines
from faaskeeper_client.cli.parameters import ADDRESS, SECONDS, as_json

if TYPE_CHECKING:
    from faaskeeper.blocks.aws import Aws
    from faaskeeper.protocol.service import Service
    from faaskeeper_client.administration.dead_letters import Letter

T = TypeVar("T")

# boto3 and what imports it are loaded where they are needed: most commands get along without


def _on(name: str, region: str | None, work: Callable[[Aws, Service], Awaitable[T]]) -> T:
    from faaskeeper.blocks.aws import BotoAws
    from faaskeeper_client.discovery import find_service

    service = find_service(name, region=region)

    async def run(aws: Aws) -> T:
        return await work(aws, service)

    with closing(BotoAws(region)) as aws:
        return asyncio.run(run(aws))


@click.command()
@as_json
@takes_service
def sessions(service: str, region: str | None, as_json: bool) -> None:
    """List the sessions of a service and their ephemerals."""
    from faaskeeper_client.administration.sessions import scan_sessions
    from faaskeeper_client.cli.reports import sessions_json, sessions_lines

    found, _ = _on(service, region, scan_sessions)
    if as_json:
        show_json(sessions_json(found))
    else:
        show_lines(sessions_lines(found))


@click.command()
@click.option(
    "--patience", type=SECONDS, default=10.0, metavar="S", help="How long waiting requests may stand still, in seconds."
)
@click.option(
    "--gateway",
    "gateways",
    type=ADDRESS,
    multiple=True,
    metavar="HOST:PORT",
    help="Tell also how many reads the gateway there answers from memory. May be repeated.",
)
@as_json
@takes_service
def status(service: str, region: str | None, patience: float, gateways: Sequence[Address], as_json: bool) -> None:
    """Tell whether a service works. Exit status 1 if it does not."""
    from faaskeeper_client.administration.memory import NoGateway, read_memory
    from faaskeeper_client.administration.status import read_status
    from faaskeeper_client.cli.output import show_parts
    from faaskeeper_client.cli.reports import status_json, status_parts

    found = _on(service, region, lambda aws, service: read_status(aws, service, patience))
    try:
        memory = {str(address): asyncio.run(read_memory(address)) for address in gateways}
    except NoGateway as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        show_json(status_json(found, memory))
    else:
        show_parts(status_parts(found, memory))
    if found.problems:
        raise CommandFailed(f"service {service} is not healthy")


@click.command()
@as_json
@takes_service
def verify(service: str, region: str | None, as_json: bool) -> None:
    """Check that the tables of a service fit together. Exit status 1 if they do not."""
    from faaskeeper_client.administration.contents import missing_blobs, problems, read_contents

    with progress() as tell:

        async def look(aws: Aws, service: Service) -> list[str]:
            contents = await read_contents(aws, service, tell)
            return problems(contents, service) + await missing_blobs(aws, service, contents)

        found = _on(service, region, look)
    if as_json:
        show_json(found)
    else:
        show_lines(found)
    if found:
        raise CommandFailed(f"{len(found)} things do not fit together; of a service in use they may be of the moment")


@click.command(
    epilog=f"How to recover tables, and what a restore takes along: {page('regions.md')}",
)
@click.option("--znodes", required=True, metavar="TABLE", help="Recovered from the znodes table.")
@click.option("--sessions", required=True, metavar="TABLE", help="Recovered from the sessions table.")
@click.option("--ledger", required=True, metavar="TABLE", help="Recovered from the ledger table.")
@click.option("--blobs", required=True, metavar="BUCKET", help="The bucket the service had.")
@click.option("--repair", is_flag=True, help="Take what does not fit together too, and mend it.")
@as_json
@takes_service
def restore(
    service: str, region: str | None, znodes: str, sessions: str, ledger: str, blobs: str, repair: bool, as_json: bool
) -> None:
    """Fill a new service from tables and a bucket of another."""
    from faaskeeper_client.administration import restore as restoring
    from faaskeeper_client.cli.reports import restored_json, restored_lines

    with progress() as tell:

        async def work(aws: Aws, target: Service) -> restoring.Restored:
            source = replace(target, znodes=znodes, sessions=sessions, ledger=ledger, blobs=blobs)
            now = time.time_ns() // 1_000_000
            return await restoring.restore(aws, source, target, now, repair=repair, tell=tell)

        try:
            restored = _on(service, region, work)
        except restoring.Torn as error:
            show_lines(error.problems)
            raise CommandFailed(error) from error
        except restoring.InUse as error:
            raise CommandFailed(error) from error
    if as_json:
        show_json(restored_json(restored))
    else:
        show_lines(restored_lines(restored))


@click.group("dead-letters", epilog=f"What each is, and what may be done about it: {page('runbook.md')}")
def dead_letters() -> None:
    """See, send again or drop what a service gave up on."""


@dead_letters.command("list")
@as_json
@takes_service
def list_(service: str, region: str | None, as_json: bool) -> None:
    """What is there, and leave it there."""
    from faaskeeper_client.administration.dead_letters import list_letters

    _show_letters(_on(service, region, list_letters), as_json)


@dead_letters.command()
@click.argument("id")
@as_json
@takes_service
def show(id: str, service: str, region: str | None, as_json: bool) -> None:
    """One of them, whole."""
    from faaskeeper_client.administration import dead_letters as letters
    from faaskeeper_client.cli.reports import letter_json, letter_lines

    try:
        letter = _on(service, region, lambda aws, service: letters.show_letter(aws, service, id))
    except letters.NoSuchLetter as error:
        raise CommandFailed(error) from error
    if as_json:
        show_json(letter_json(letter))
    else:
        show_lines(letter_lines(letter))


_ids = click.argument("ids", nargs=-1, metavar="[ID]...")


@dead_letters.command()
@_ids
@click.option("--all", "all_", is_flag=True, help="All timers.")
@as_json
@takes_service
def redrive(ids: tuple[str, ...], all_: bool, service: str, region: str | None, as_json: bool) -> None:
    """Send timers again; requests and hints never are."""
    from faaskeeper_client.administration import dead_letters as letters

    chosen = _chosen(ids, all_)
    try:
        found = _on(service, region, lambda aws, service: letters.redrive(aws, service, chosen))
    except (letters.NotRedriven, letters.NoSuchLetter) as error:
        raise CommandFailed(error) from error
    _show_letters(found, as_json)


@dead_letters.command()
@_ids
@click.option("--all", "all_", is_flag=True, help="All there are.")
@as_json
@takes_service
def drop(ids: tuple[str, ...], all_: bool, service: str, region: str | None, as_json: bool) -> None:
    """Delete."""
    from faaskeeper_client.administration import dead_letters as letters

    chosen = _chosen(ids, all_)
    try:
        found = _on(service, region, lambda aws, service: letters.drop(aws, service, chosen))
    except letters.NoSuchLetter as error:
        raise CommandFailed(error) from error
    _show_letters(found, as_json)


def _chosen(ids: Sequence[str], all_: bool) -> Sequence[str] | None:
    """None for all. Raises UsageError."""
    if bool(ids) == all_:
        raise click.UsageError("name dead letters by their IDs, or --all")
    return ids or None


def _show_letters(found: list[Letter], as_json: bool) -> None:
    from faaskeeper_client.cli.reports import letters_json, show_letters

    if as_json:
        show_json(letters_json(found))
    elif found:
        show_letters(found)
