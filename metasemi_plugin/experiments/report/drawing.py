"""How the pictures of a report look: styles of rows, figures, and files of them."""

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from metasemi_plugin.experiments.report.entries import Entry
from metasemi_plugin.experiments.suite import slug

# Okabe and Ito's colors for all kinds of sight, without yellow, which white paper swallows.
COLORS = ["#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
LINES = ["-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]
STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.alpha": 0.5,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "svg.hashsalt": "metasemi_plugin",
    "text.parse_math": False,
}


class Picture(NamedTuple):
    """A figure and what to say of it: its file's name, a title, a line below, and in words."""

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    svg: bytes


class Row(NamedTuple):
    """The runs of one row of a column; ``number`` gives its style in every picture."""

    name: str
    number: int
    runs: list[Entry]

    def curves(self) -> list[pd.DataFrame]:
        """Metrics of the complete runs."""
        return [run.record.metrics for run in self.runs if run.complete]

    @property
    def style(self) -> dict:
        """Of its lines."""
        n = self.number
        return {"color": COLORS[n % len(COLORS)], "linestyle": LINES[n % len(LINES)]}

    @property
    def marker(self) -> dict:
        """Of its points: all the filled ones first, then the hollow ones."""
        n = self.number
        hollow = {"markerfacecolor": "white"} if n // len(MARKERS) % 2 else {}
        return {"marker": MARKERS[n % len(MARKERS)], **hollow}


def kind_of_error(on: Iterable[str | None]) -> str:
    """ "test error", "validation error", or either, of what errors are of (`Entry.error_on`)."""
    return f"{' or '.join(sorted(filter(None, set(on))) or ['test'])} error"


def columns_of(entries: Iterable[Entry]) -> dict[str, list[Row]]:
    """The rows of each column, in order of appearance."""
    columns: dict[str, list[Row]] = {}
    for column, group in itertools.groupby(entries, lambda entry: entry.column):
        runs: dict[str, list[Entry]] = {}
        for entry in group:
            runs.setdefault(entry.name, []).append(entry)
        columns[column] = [Row(name, number, r) for number, (name, r) in enumerate(runs.items())]
    return columns


def figure_of(width: float, height: float) -> Figure:
    """Inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel_of_rows(names: Iterable[str]) -> tuple[Figure, Axes]:
    """A figure of one panel with a line for each name, from below."""
    names = list(names)
    figure = figure_of(7.2, 0.9 + 0.27 * len(names))
    panel = figure.subplots()
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(-0.7, len(names) - 0.3)
    panel.grid(axis="y", visible=False)
    return figure, panel


def legend_beside(panel: Axes, **options) -> None:
    """To the right of the panel."""
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **options)


def from_zero(panel) -> None:
    """Begin the y axis of what is drawn at 0, with room for the uppermost marker.

    matplotlib's own margin is of the range of the values, and cuts markers where that is small.
    """
    panel.set_ylim(0, 1.05 * panel.dataLim.y1)


def error_axis(panels: Sequence[Axes], means: pd.Series) -> None:
    """Logarithmic, from the least to the largest mean, with ticks such as 5, 10 and 20."""
    for panel in panels:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(ScalarFormatter())
    if (means > 0).any():
        panels[0].set_ylim(0.8 * means[means > 0].min(), 1.2 * means.max())


def picture_of(figure: Figure, name: str, title: str, caption: str, alt: str) -> Picture:
    files = {}
    for form in ("png", "svg"):
        file = io.BytesIO()
        # Without the date, so that the same records give the same bytes.
        clear = {"transparent": True, "metadata": {"Date": None}} if form == "svg" else {"dpi": 144}
        figure.savefig(file, format=form, **clear)
        files[form] = file.getvalue()
        figure.set_layout_engine("none")  # once is enough: laid out it stays
    return Picture(slug(name), title, caption, alt, **files)
