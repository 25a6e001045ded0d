"""The ``faaskeeper`` command."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from faaskeeper import __version__
from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.service import IncompatibleVersion
from faaskeeper.znode import paths
from faaskeeper.znode.create_mode import MAX_TTL_MS
from faaskeeper.znode.model import Acl, ZnodeKind
from faaskeeper_client.addresses import Address, ListenError
from faaskeeper_client.cli import commands, serve
from faaskeeper_client.cli.commands import Command, CommandFailed, UsageError
from faaskeeper_client.cli.output import parse_acl
from faaskeeper_client.cli.transfer import InvalidDocument, TransferError
from faaskeeper_client.cli.zookeeper import Failed, ServerUnreachable
from faaskeeper_client.discovery import SERVICE_NAME_VARIABLE, DiscoveryError, default_service

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

AddParser = Callable[..., argparse.ArgumentParser]

_EPILOG = """\
exit status: 0 done, 1 it failed (no such znode, ...), 2 wrong usage, 3 the server or service cannot be reached
"""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    options = command_parser().parse_args(arguments)
    # docker, systemd and make end us with SIGTERM: the same way out as Ctrl-C, also for a shell's background job,
    # which has SIGINT itself ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not try to flush the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UsageError as error:
        return _fail(error, USAGE)
    except (ServerUnreachable, DiscoveryError, AwsError) as error:
        return _fail(error, UNREACHABLE)
    except (Failed, TransferError, InvalidDocument, ListenError, CommandFailed, IncompatibleVersion) as error:
        return _fail(error, FAILED)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error, FAILED)
    return 0


def _fail(error: object, status: int) -> int:
    print(f"faaskeeper: {error}", file=sys.stderr)
    return status


def command_parser() -> argparse.ArgumentParser:
    """Options come with ``run``, which takes them and does the work."""
    parser = argparse.ArgumentParser(
        prog="faaskeeper",
        description="ZooKeeper without servers, on AWS.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_znode_commands(subparsers.add_parser)
    _add_service_commands(subparsers.add_parser)
    return parser


def _add_znode_commands(add_parser: AddParser) -> None:
    endpoint = _endpoint_options()

    def znode_command(
        name: str, command: Command, help: str, *, takes_path: bool = True, json: bool = True
    ) -> argparse.ArgumentParser:
        added = add_parser(name, parents=[endpoint], help=help, description=f"{help}.")
        if takes_path:
            added.add_argument("path", type=_path, metavar="PATH")
        if json:
            added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=serve.with_session(command))
        return added

    ls = znode_command("ls", commands.ls, "list the children of a znode")
    ls.add_argument("-l", "--long", action="store_true", help="with size, version and owner")

    tree = znode_command("tree", commands.tree, "show a znode and all below it")
    tree.add_argument("--depth", type=_count, metavar="N", help="how many levels down")

    znode_command("get", commands.get, "print the data of a znode")
    znode_command("stat", commands.stat, "print the Stat and the ACL of a znode")

    set_ = znode_command("set", commands.set_, "replace the data of a znode")
    set_.add_argument("--version", type=_count, default=-1, metavar="N", help="only if the znode has this version")
    _add_data(set_)

    create = znode_command("create", commands.create, "make a znode and print its path", takes_path=False)
    create.add_argument("path", type=_new_path, metavar="PATH")
    _add_data(create)
    kind = create.add_mutually_exclusive_group()
    kind.add_argument(
        "-e",
        "--ephemeral",
        dest="kind",
        action="store_const",
        const=ZnodeKind.EPHEMERAL,
        help="of this session: see --hold",
    )
    kind.add_argument(
        "-c",
        "--container",
        dest="kind",
        action="store_const",
        const=ZnodeKind.CONTAINER,
        help="goes with its last child",
    )
    kind.add_argument("--ttl", type=_ttl, metavar="MS", help="goes when unchanged for so long and childless")
    create.add_argument("-s", "--sequential", action="store_true", help="append a number that only grows")
    create.add_argument("-p", "--parents", action="store_true", help="make missing znodes above it too")
    create.add_argument("--hold", action="store_true", help="keep the session until Ctrl-C")
    create.add_argument(
        "--acl", type=_acl, action="append", metavar="SCHEME:ID:PERMS", help="such as world:anyone:r; may be repeated"
    )

    rm = znode_command("rm", commands.rm, "delete a znode", json=False)
    rm.add_argument("-r", "--recursive", action="store_true", help="and all below it")
    rm.add_argument("--version", type=_count, default=-1, metavar="N", help="only if the znode has this version")

    watch = znode_command("watch", commands.watch, "print what changes at a znode, until Ctrl-C")
    watch.add_argument("-r", "--recursive", action="store_true", help="and below it")

    export = znode_command("export", commands.export, "write a subtree as JSON, with data and ACLs", json=False)
    export.add_argument("--file", type=Path, metavar="FILE", help="instead of standard output")

    import_ = znode_command(
        "import", commands.import_, "make a subtree from JSON, or from another server", takes_path=False
    )
    import_.add_argument("source", nargs="?", metavar="FILE | PATH", help="default: standard input; with --from: /")
    import_.add_argument(
        "--from", dest="source_server", type=_servers, metavar="HOST:PORT", help="take PATH from there"
    )
    import_.add_argument("--to", type=_path, metavar="PATH", help="put it here instead of where it was")
    import_.add_argument("--overwrite", action="store_true", help="replace data and ACLs of what is there already")


def _add_service_commands(add_parser: AddParser) -> None:
    sessions = add_parser(
        "sessions",
        help="list the sessions of a service and their ephemerals",
        description="List the sessions of a service and their ephemerals.",
    )
    _add_service(sessions)
    sessions.add_argument("--json", action="store_true", help="print JSON")
    sessions.set_defaults(run=serve.sessions)

    status = add_parser(
        "status",
        help="tell whether a service works",
        description="Tell whether a service works: head, queues, gateways, sessions. Exit status 1 if it does not.",
    )
    _add_service(status)
    status.add_argument(
        "--patience", type=float, default=10.0, metavar="S", help="how long waiting requests may stand still (10)"
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=serve.status)

    verify = add_parser(
        "verify",
        help="check that the tables of a service fit together",
        description="Read all tables of a service and check that they fit together. Exit status 1 if they do not.",
    )
    _add_service(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=serve.verify)

    restore = add_parser(
        "restore",
        help="fill a new service from recovered tables",
        description="Fill a newly deployed service from tables and a bucket of another. See docs/regions.md.",
    )
    _add_service(restore)
    for table in ("znodes", "sessions", "ledger"):
        restore.add_argument(f"--{table}", required=True, metavar="TABLE", help=f"recovered from the {table} table")
    restore.add_argument("--blobs", required=True, metavar="BUCKET", help="the bucket the service had")
    restore.add_argument("--repair", action="store_true", help="take what does not fit together too, and mend it")
    restore.add_argument("--json", action="store_true", help="print JSON")
    restore.set_defaults(run=serve.restore)

    _add_dead_letters(add_parser)

    gateway = add_parser(
        "gateway",
        help="serve the ZooKeeper protocol in front of a deployed service",
        description="Serve the ZooKeeper protocol in front of a deployed service, until SIGINT or SIGTERM.",
    )
    _add_service(gateway)
    gateway.set_defaults(run=serve.gateway)

    local = add_parser(
        "local",
        help="run everything on this machine: an embedded AWS, the service, a gateway",
        description="Run everything on this machine: an embedded AWS, the service, a gateway.",
    )
    local.add_argument("--data", type=Path, metavar="DIR", help="keep the tree here from one run to the next")
    local.add_argument("--name", default="local", help="name of the service")
    local.add_argument("--tier", default="development", choices=("development", "standard", "critical"))
    local.set_defaults(run=serve.local)

    for command in (gateway, local):
        command.add_argument(
            "--listen",
            type=Address.parse,
            default=serve.DEFAULT_SERVER,
            metavar="HOST:PORT",
            help=f"where ZooKeeper clients connect to ({serve.DEFAULT_SERVER})",
        )
        command.add_argument("--tls-cert", type=Path, metavar="FILE", help="speak TLS with this certificate (PEM)")
        command.add_argument("--tls-key", type=Path, metavar="FILE", help="and this key")
        command.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="to clients certified by these only")
        _add_http(command)
        command.add_argument("-v", "--verbose", action="store_true", help="log connections and sessions")


def _add_http(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--http",
        type=Address.parse,
        metavar="HOST:PORT",
        help="also serve a console, ZooKeeper's AdminServer, Prometheus metrics and health; needs faaskeeper[http]",
    )
    command.add_argument("--http-write", action="store_true", help="the console may change the tree")
    command.add_argument(
        "--http-console", action="store_true", help="serve the console on an address that is not loopback too"
    )
    command.add_argument(
        "--http-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers may ask, beside addresses and localhost; may be repeated",
    )


def _add_dead_letters(add_parser: AddParser) -> None:
    description = "Inspect what a service gave up on, send timers again, drop what is settled. See docs/runbook.md."
    letters = add_parser("dead-letters", help="inspect, redrive and drop dead letters", description=description)
    actions = letters.add_subparsers(required=True, metavar="ACTION", dest="action")
    for name, help in (
        ("list", "what is there, and leave it there"),
        ("show", "one of them, whole"),
        ("redrive", "send timers again; requests and hints never are"),
        ("drop", "delete"),
    ):
        action: argparse.ArgumentParser = actions.add_parser(name, help=help, description=f"{help.capitalize()}.")
        if name == "show":
            action.add_argument("id", metavar="ID", help="as listed")
        elif name != "list":
            which = action.add_mutually_exclusive_group(required=True)
            which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as listed")
            which.add_argument("--all", action="store_true", help="all there are; with redrive: all timers")
        _add_service(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        action.set_defaults(run=serve.dead_letters)


def _endpoint_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server",
        type=_servers,
        metavar="HOST:PORT[,...]",
        help=f"a gateway, or any ZooKeeper ({serve.DEFAULT_SERVER})",
    )
    where.add_argument(
        "--service",
        metavar="NAME",
        help=f"a deployed service, through a gateway of this command's own; ${SERVICE_NAME_VARIABLE} without --server",
    )
    parser.add_argument("--region", help="AWS region of the service; the environment's if not given")
    parser.add_argument(
        "--auth", action="append", default=[], metavar="USER:PASSWORD", help="for the digest scheme; may be repeated"
    )
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="how long to try to connect (10)")
    return parser


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--service",
        default=default_service(),
        metavar="NAME",
        help=f"name the service was deployed with (${SERVICE_NAME_VARIABLE}, or %(default)s)",
    )
    parser.add_argument("--region", help="AWS region; the environment's if not given")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="?", metavar="DATA", help="text")
    parser.add_argument("--file", type=Path, metavar="FILE", help="data from a file, or - for standard input")


def _path(text: str) -> str:
    if not paths.is_valid(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the path of a znode")
    return text


def _new_path(text: str) -> str:
    _path(text.removesuffix("/") or text)
    return text


def _servers(text: str) -> list[Address]:
    return [Address.parse(part) for part in text.split(",")]


def _acl(text: str) -> Acl:
    try:
        return parse_acl(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(least: int, most: int, what: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return int(text)

    return parse


_count = _number(0, (1 << 31) - 1, "a number from 0 to 2^31-1")
_ttl = _number(1, MAX_TTL_MS, f"a number of milliseconds from 1 to {MAX_TTL_MS}")
