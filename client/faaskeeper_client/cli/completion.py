"""Completion by the shell: of commands and options, and of znodes by asking the server."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class, shell_complete

COMPLETE_VARIABLE = "_FAASKEEPER_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def complete(command: click.Command) -> int:
    """What the script of a shell asks for by environment variables; the exit status."""
    return shell_complete(command, {}, "faaskeeper", COMPLETE_VARIABLE, os.environ[COMPLETE_VARIABLE])


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes a shell complete this command. In bash and zsh: eval "$(faaskeeper completion bash)"; in fish:
    faaskeeper completion fish | source."""
    found = get_completion_class(shell)
    assert found is not None
    print(found(click.Command("faaskeeper"), {}, "faaskeeper", COMPLETE_VARIABLE).source())
