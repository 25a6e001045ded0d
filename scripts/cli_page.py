"""Writes docs/cli.md, the page of the command line, from the commands themselves: ``python -m scripts.cli_page``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from faaskeeper_client.cli import SECTIONS, faaskeeper
from faaskeeper_client.cli.endpoint import takes_endpoint

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
_INTRODUCTION = """\
# Command line

`faaskeeper` works on any ZooKeeper, on a gateway of this service, and on a deployed service itself. This page is made
from the commands by `make cli-page`; `faaskeeper COMMAND --help` says the same.

```shell
pip install 'faaskeeper[cli]'
```

The extra `cli` is for people: tables, progress and colours on a terminal (rich, 14 MB). Without it, and wherever the
output is no terminal, text is plain. `NO_COLOR` leaves colours out.

| exit status | |
|---|---|
| 0 | done |
| 1 | it failed: no such znode, not allowed, a service that is not healthy, an export that is not whole |
| 2 | wrong usage |
| 3 | the server or the service cannot be found or reached |
| 130 | interrupted |

**Completion** of commands, options and, where the server answers within a second, znodes:

| shell | in its start file |
|---|---|
| bash | `eval "$(faaskeeper completion bash)"` |
| zsh | `eval "$(faaskeeper completion zsh)"` |
| fish | `faaskeeper completion fish \\| source` |

## Where a command goes

To `--server`, else to the service that `--service` or `$FAASKEEPER_SERVICE_NAME` names, else to 127.0.0.1:2181. With
a service it brings a gateway of its own, which takes one to two seconds to start and needs the grant of a client
(`grant_client`).
"""
_ENDPOINT = click.command()(takes_endpoint(lambda: None)).params


def text() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_table(_ENDPOINT, click.Context(faaskeeper)), *_sections()])


def _sections() -> Iterator[str]:
    root = click.Context(faaskeeper, info_name="faaskeeper")
    for title, commands in SECTIONS.items():
        yield f"## {title}\n"
        for command in commands:
            context = click.Context(command, info_name=command.name, parent=root)
            yield from _command(command, context)
            if isinstance(command, click.Group):
                for each in command.commands.values():
                    yield from _command(each, click.Context(each, info_name=each.name, parent=context))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"### {context.command_path}\n"
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"`{context.command_path} {pieces}`\n"
    yield (command.help or "").strip() + "\n"
    if command.epilog:
        yield command.epilog + "\n"
    shared = {record for parameter in _ENDPOINT if (record := parameter.get_help_record(context))}
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    own = [option for option in options if option.get_help_record(context) not in shared]
    yield from _table(own, context)
    if len(own) < len(options):
        yield "And [where it goes](#where-a-command-goes).\n"


def _table(parameters: Sequence[click.Parameter], context: click.Context) -> Iterator[str]:
    records = [record for parameter in parameters if (record := parameter.get_help_record(context))]
    if records:
        yield "| option | |\n|---|---|"
        yield from (f"| `{_escaped(option)}` | {_escaped(help)} |" for option, help in records)
        yield ""


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(text())
