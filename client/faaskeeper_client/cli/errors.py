"""How a command ends that cannot do what it is asked."""

from __future__ import annotations

import click

UsageError = click.UsageError
"""The arguments make no sense; exit status 2. The message says which, and the rule."""


class CommandFailed(Exception):
    """The command cannot do it; exit status 1. The message says why."""


class MissingExtra(CommandFailed):
    """A package is not installed that only this needs."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs {package}: pip install 'faaskeeper[{extra}]'")
