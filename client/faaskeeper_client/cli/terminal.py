"""Tables, styles and bars on a terminal, by rich, which is in an extra: only ``output`` imports this, when needed.

rich leaves colours out by NO_COLOR.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from faaskeeper_client.administration.progress import Progress


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    shown = Table(*head, box=None, pad_edge=False, header_style="bold")
    for column in shown.columns:
        column.overflow = "fold"
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    _console().print(shown)


def show_parts(lines: Iterable[Sequence[tuple[str, str]]]) -> None:
    console = _console()
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


@contextmanager
def bars() -> Generator[Progress]:
    """One for each ``what`` that is told of, gone at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Bars(*columns, console=_console(stderr=True), transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int | None = None) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield tell


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, emoji=False, markup=False)
