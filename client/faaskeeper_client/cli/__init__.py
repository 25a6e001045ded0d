"""The ``faaskeeper`` command."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import click

from faaskeeper import __version__, page
from faaskeeper.blocks.errors import AwsError
from faaskeeper.protocol.service import IncompatibleVersion
from faaskeeper_client.addresses import ListenError
from faaskeeper_client.cli import holding, services, serving, subtrees, znodes
from faaskeeper_client.cli.completion import COMPLETE_VARIABLE, complete, completion
from faaskeeper_client.cli.errors import CommandFailed
from faaskeeper_client.cli.transfer import InvalidDocument, TransferError
from faaskeeper_client.cli.zookeeper import Failed, ServerUnreachable, TooLarge
from faaskeeper_client.discovery import DiscoveryError

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

SECTIONS: dict[str, Sequence[click.Command]] = {
    "Znodes": (
        znodes.ls,
        znodes.tree,
        znodes.get,
        znodes.stat,
        znodes.set_,
        znodes.create,
        znodes.rm,
        znodes.set_acl,
        znodes.quota,
        znodes.watch,
        subtrees.export,
        subtrees.import_,
    ),
    "Coordination": (holding.lock, holding.elect),
    "A deployed service": (
        services.status,
        services.sessions,
        services.verify,
        services.restore,
        services.dead_letters,
        serving.gateway,
    ),
    "This machine": (serving.local, completion),
}


class _Sections(click.Group):
    """Lists its commands by sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(each.name or "", each.get_short_help_str(70)) for each in commands])


@click.group(
    cls=_Sections,
    commands=[command for commands in SECTIONS.values() for command in commands],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 done, 1 it failed (no such znode, ...), 2 wrong usage, 3 the server or service cannot be "
    f"reached. More: {page('cli.md')}",
)
@click.version_option(__version__, message="%(version)s")
def faaskeeper() -> None:
    """ZooKeeper without servers, on AWS."""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    if COMPLETE_VARIABLE in os.environ:
        return complete(faaskeeper)
    # docker, systemd and make end us with SIGTERM: the same way out as Ctrl-C, also for a shell's background job,
    # which has SIGINT itself ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with faaskeeper.make_context("faaskeeper", sys.argv[1:] if arguments is None else list(arguments)) as context:
            faaskeeper.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not try to flush the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return USAGE
    except click.ClickException as error:
        name = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "faaskeeper"
        return _fail(f"{error.format_message().rstrip('.')} ({name} --help)", USAGE)
    except (ServerUnreachable, DiscoveryError, AwsError) as error:
        return _fail(error, UNREACHABLE)
    except (Failed, TooLarge, TransferError, InvalidDocument, ListenError, CommandFailed, IncompatibleVersion) as error:
        return _fail(error, FAILED)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else error, FAILED)
    return 0


def _fail(error: object, status: int) -> int:
    print(f"faaskeeper: {error}", file=sys.stderr)
    return status
