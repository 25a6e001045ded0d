"""Charts as SVG, with matplotlib (``pip install 'faaskeeper[plot]'``); the same figures make the same file."""

# matplotlib's stubs leave its **kwargs and arrays open
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

COLORS: Final = ("#0b6e99", "#d9730d", "#0f7b6c", "#6940a5", "#ad1a72", "#64473a")
"""Told apart by those who see few colours, in this order; each series also has a marker or a dash of its own."""
_DASHES: Final = ("-", "--", "-.", ":")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")


class NoPlotting(Exception):
    """matplotlib is not installed; the message says what brings it."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line through the points (``xs``, ``ys``), which get a marker each if they were ``measured`` one by one."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """``ticks`` are the places that are labelled, if matplotlib's are not wanted; ``shown`` writes a number there."""

    label: str
    scale: Literal["linear", "log"] = "linear"
    ticks: Sequence[float] = ()
    shown: Callable[[float], str] = "{:,.6g}".format
    least: float | None = None
    most: float | None = None


def need() -> None:
    """Raises NoPlotting."""
    if importlib.util.find_spec("matplotlib") is None:
        raise NoPlotting("matplotlib is not installed: pip install 'faaskeeper[plot]'")


def chart(file: Path, title: str, x: Axis, y: Axis, series: Sequence[Series]) -> None:
    """Writes ``file``, an SVG 7.2 inches wide. Raises NoPlotting, OSError."""
    need()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "faaskeeper", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for number, each in enumerate(series):
            axes.plot(
                each.xs,
                each.ys,
                label=each.label,
                color=COLORS[number % len(COLORS)],
                linestyle=_DASHES[number % len(_DASHES)],
                marker=_MARKERS[number % len(_MARKERS)] if each.measured else "",
                markersize=5,
            )
        for axis, of in ((axes.xaxis, x), (axes.yaxis, y)):
            axis.set_label_text(of.label)
            # matplotlib knows the scale of an axis by its name
            (axes.set_xscale if of is x else axes.set_yscale)(of.scale)
            if of.ticks:
                axis.set_ticks(list(of.ticks), [of.shown(tick) for tick in of.ticks])
                axis.set_ticks([], minor=True)
        axes.set_xlim(x.least, x.most)
        axes.set_ylim(y.least, y.most)
        axes.set_title(title)
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None})
