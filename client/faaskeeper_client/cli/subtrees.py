"""``export`` and ``import``: subtrees as documents, from one server to another."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from faaskeeper_client.addresses import Address
from faaskeeper_client.cli.endpoint import Endpoint, takes_endpoint
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.output import progress, replacing, show_json
from faaskeeper_client.cli.parameters import FILE, SERVERS, ZNODE_PATH, as_json, parse_path
from faaskeeper_client.cli.transfer import (
    Node,
    TransferError,
    Unreadable,
    moved,
    read_document,
    read_subtree,
    write_document,
    write_subtree,
)
from faaskeeper_client.cli.tree import SYSTEM


@click.command()
@click.argument("path", type=ZNODE_PATH)
@click.option("--file", type=FILE, help="Instead of standard output; replaced when all is written.")
@takes_endpoint
def export(endpoint: Endpoint, path: str, file: Path | None) -> None:
    """Write a subtree as JSON, with data and ACLs.

    What the credentials may not read is left out with all below it, and named; then the exit status is 1.
    """
    unread: list[Unreadable] = []

    def readable(found: Iterable[Node | Unreadable]) -> Iterator[Node]:
        for each in found:
            if isinstance(each, Node):
                yield each
            else:
                unread.append(each)
                print(f"faaskeeper: {each}", file=sys.stderr)

    with (
        endpoint.session() as zookeeper,
        replacing(file) if file else nullcontext(sys.stdout) as output,
        progress() as tell,
    ):
        count = write_document(path, readable(read_subtree(zookeeper, path, tell)), output)
    print(f"{count} znodes exported", file=sys.stderr)
    if unread:
        raise CommandFailed(f"not exported, with all below: {', '.join(each.path for each in unread)}")


@click.command("import")
@click.argument("source", required=False, metavar="[FILE | PATH]")
@click.option(
    "--from", "from_", type=SERVERS, metavar="HOST:PORT", help="Take PATH (default /) from there, and no FILE."
)
@click.option("--to", "target", type=ZNODE_PATH, metavar="PATH", help="Put it here instead of where it was.")
@click.option("--overwrite", is_flag=True, help="Replace data and ACLs of what is there already.")
@as_json
@takes_endpoint
def import_(
    endpoint: Endpoint,
    source: str | None,
    from_: list[Address] | None,
    target: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make a subtree from an export or another server. FILE defaults to standard input."""
    with endpoint.session() as zookeeper, progress() as tell:
        if from_:
            try:
                root = parse_path(source or "/")
            except ValueError as error:
                raise click.UsageError(f"import: {error}") from None
            with replace(endpoint, service=None, servers=from_, tls=None).session() as other:
                nodes = list(_all_readable(read_subtree(other, root, tell)))
        else:
            name = source or "-"
            root, nodes = read_document(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        target = target or root
        if target != root:
            nodes = moved(nodes, root, target)
        if SYSTEM in {node.path for node in nodes}:
            raise TransferError(f"{SYSTEM} is the server's own")
        count = write_subtree(zookeeper, target, nodes, overwrite=overwrite, tell=tell)
    if as_json:
        show_json({"root": target, "znodes": count})
    else:
        print(f"{count} znodes imported", file=sys.stderr)


def _all_readable(found: Iterable[Node | Unreadable]) -> Iterator[Node]:
    """Raises TransferError."""
    for each in found:
        if isinstance(each, Unreadable):
            raise TransferError(str(each))
        yield each
