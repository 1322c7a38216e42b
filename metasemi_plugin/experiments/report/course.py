"""Pictures of the course of training: errors, what is kept, Assumption 1."""

import textwrap
from collections.abc import Callable, Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metasemi_plugin.experiments.report import numbers
from metasemi_plugin.experiments.report.drawing import (
    COLORS,
    Picture,
    Row,
    error_axis,
    figure_of,
    from_zero,
    kind_of_error,
    legend_beside,
    picture_of,
)

# More rows than that are drawn a panel each.
CROWD = 6
BANDS = (
    "Mean over the seeds; the band is one sample standard deviation to either side. Thin lines "
    "that end in a cross are runs that are not complete. Errors on a logarithmic scale."
)


def by_iteration(column: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Error against iteration."""
    error = _error_of(rows).capitalize()
    for figure, text in _curves(rows, lambda curve: (curve.index, "iteration")):
        yield picture_of(
            figure,
            f"error by iteration {column}",
            f"{error} against iteration, {column}",
            BANDS,
            f"{error} against iteration on {column}. At the end: {text}.",
        )


def by_time(column: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Error against wall time."""
    error = _error_of(rows).capitalize()
    ends = [c["seconds"].max() for row in rows for c in row.curves() if len(c)]
    divisor, unit = _unit(max(ends, default=0))

    def against(curve: pd.DataFrame):
        return curve["seconds"] / divisor, f"training time, {unit}"

    for figure, text in _curves(rows, against):
        yield picture_of(
            figure,
            f"error by time {column}",
            f"{error} against training time, {column}",
            f"{BANDS} Time is the mean over the seeds at the same iteration.",
            f"{error} against training time on {column}. At the end: {text}.",
        )


def _error_of(rows: Sequence[Row]) -> str:
    return kind_of_error(run.error_on for row in rows for run in row.runs)


def _curves(rows: Sequence[Row], against: Callable) -> Iterator[tuple[Figure, str]]:
    """One panel, or for a crowd a panel each with the others behind it in gray."""
    rows = [row for row in rows if any(len(run.record.metrics) for run in row.runs)]
    curves = {row.name: _error_curve(row.curves()) for row in rows}
    if not any(len(curve) for curve in curves.values()):
        return
    if len(rows) <= CROWD:
        figure = figure_of(7.2, 3.8)
        panel = figure.subplots()
        for row in rows:
            _curve(panel, row, curves[row.name], against)
        _name_ends(panel, rows, curves, against)
        panels = [panel]
    else:
        across = 3
        down = -(-len(rows) // across)
        figure = figure_of(7.2, 1.75 * down + 0.4)
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for panel in panels[len(rows) :]:
            panel.remove()
        panels = panels[: len(rows)]
        for panel, row in zip(panels, rows, strict=True):
            for curve in curves.values():
                if len(curve):
                    panel.plot(against(curve)[0], curve["mean"], color="0.82", linewidth=0.7)
            _curve(panel, row._replace(number=0), curves[row.name], against)
            panel.set_title(textwrap.fill(row.name, 26))
        for panel in panels[-across:]:
            panel.tick_params(labelbottom=True)
    error_axis(panels, pd.concat([curve["mean"] for curve in curves.values()]))
    label = next(against(curve)[1] for curve in curves.values() if len(curve))
    figure.supxlabel(label, fontsize="medium")
    figure.supylabel(f"{_error_of(rows)}, %", fontsize="medium")
    ends = [
        f"{name} {curve['mean'].iloc[-1]:.2f} %" for name, curve in curves.items() if len(curve)
    ]
    yield figure, ", ".join(ends)


def _error_curve(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    tested = [c.assign(error=numbers.scored(c)) for c in curves if len(c)]
    return numbers.mean_curve(tested, "error")


def _curve(panel: Axes, row: Row, curve: pd.DataFrame, against: Callable) -> None:
    """Mean and band of a row, and its unfinished runs."""
    if len(curve):
        x = against(curve)[0]
        every = max(1, len(curve) // 6)
        panel.plot(x, curve["mean"], **row.marker, markevery=(every // 2, every), **row.style)
        if curve["std"].any():
            low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
            panel.fill_between(x, low, high, color=row.style["color"], alpha=0.15, linewidth=0)
    for run in row.runs:
        if not run.complete and len(run.record.metrics):
            own = _error_curve([run.record.metrics])
            x = against(own)[0]
            panel.plot(x, own["mean"], linewidth=0.6, **row.style)
            panel.plot(x[-1:] if isinstance(x, pd.Index) else x.iloc[-1:], own["mean"].iloc[-1:],
                       marker="x", color=row.style["color"])  # fmt: skip


def _name_ends(panel: Axes, rows: Sequence[Row], curves: dict, against: Callable) -> None:
    """A legend to the right, in the order in which the curves end there."""
    drawn = [row for row in rows if len(curves[row.name])]
    drawn.sort(key=lambda row: -curves[row.name]["mean"].iloc[-1])
    handles = [panel.plot([], [], **row.marker, label=row.name, **row.style)[0] for row in drawn]
    legend_beside(panel, handles=handles, handlelength=3.2)


# Scalar -> what it is called, line style.
KEPT = {
    "train/kept": ("all", "-"),
    "train/kept_labeled": ("mostly labeled", "--"),
    "train/kept_unlabeled": ("mostly unlabeled", ":"),
}
ACCURACY = {
    "train/pseudo_label_acc_kept": ("kept", "-"),
    "train/pseudo_label_acc_dropped": ("dropped", "--"),
}
RATIO = "train/assumption1_ratio"
# What is drawn here besides the errors.
SCALARS = (*KEPT, *ACCURACY, RATIO)


def kept(column: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Kept share, and accuracy of the pseudo labels of kept and dropped samples."""
    rows = [row for row in rows if any("train/kept" in c for c in row.curves())]
    if not rows:
        return
    figure = figure_of(7.2, 0.5 + 1.9 * len(rows))
    grid = figure.subplots(len(rows), 2, sharex=True, sharey=True, squeeze=False)
    said = []
    for row, (left, right) in zip(rows, grid, strict=True):
        for panel, lines, title in (
            (left, KEPT, "share of samples kept"),
            (right, ACCURACY, "accuracy of pseudo labels"),
        ):
            _shares(panel, row, lines)
            panel.set_title(f"{row.name}: {title}")
        share = numbers.mean_curve(row.curves(), "train/kept")["mean"]
        said.append(f"{row.name} keeps {share.iloc[-1]:.0%} at the end")
    grid[0, 0].set_ylim(0, 1.02)
    figure.supxlabel("iteration", fontsize="medium")
    for panel in grid[0]:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="lower right", handlelength=3)
    yield picture_of(
        figure,
        f"kept {column}",
        f"What is kept, {column}",
        "Of the mixed unlabeled batches since the evaluation before, mean over the seeds. A mixed "
        "sample counts for the image that makes up the larger part of it. The true labels of "
        "unlabeled images are used for this picture only.",
        f"Share of samples kept and accuracy of pseudo labels on {column}: {', '.join(said)}.",
    )


def _shares(panel: Axes, row: Row, lines: dict[str, tuple[str, str]]) -> None:
    for (key, (label, style)), color in zip(lines.items(), COLORS, strict=False):
        curve = numbers.mean_curve(row.curves(), key)["mean"]
        if len(curve):
            panel.plot(curve.index, curve, color=color, linestyle=style, label=label)


def assumption1(column: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """The ratio of Assumption 1 (Figure 2)."""
    found = [(row, numbers.mean_curve(row.curves(), RATIO)) for row in rows]
    found = [(row, curve) for row, curve in found if len(curve)]
    if not found:
        return
    figure = figure_of(7.2, 3.4)
    panel = figure.subplots()
    for row, curve in found:
        panel.plot(curve.index, curve["mean"], **row.marker, label=row.name, **row.style)
        low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
        panel.fill_between(curve.index, low, high, color=row.style["color"], alpha=0.15, lw=0)
    from_zero(panel)
    panel.set_xlabel("iteration")
    panel.set_ylabel("ratio of Assumption 1")
    legend_beside(panel, handlelength=3.2)
    ends = ", ".join(f"{row.name} {curve['mean'].iloc[-1]:.3g}" for row, curve in found)
    yield picture_of(
        figure,
        f"assumption 1 {column}",
        f"Ratio of Assumption 1, {column}",
        "Mean squared gradient of the training loss over the squared gradient of the expected loss "
        "on mixed labeled data: bounded, if the assumption holds. The band is one sample standard "
        "deviation over the seeds.",
        f"Ratio of Assumption 1 against iteration on {column}. At the end: {ends}.",
    )


def _unit(seconds: float) -> tuple[int, str]:
    units = ((3600, "h"), (60, "min"), (1, "s"))
    return next(
        (divisor, unit) for divisor, unit in units if seconds >= 3 * divisor or divisor == 1
    )
