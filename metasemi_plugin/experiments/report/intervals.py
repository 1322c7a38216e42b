"""Pictures with 95 % confidence intervals: differences to one row, and error against labels."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from metasemi_plugin.experiments.report import numbers
from metasemi_plugin.experiments.report.drawing import (
    Picture,
    Row,
    error_axis,
    figure_of,
    kind_of_error,
    legend_beside,
    panel_of_rows,
    picture_of,
)


def differences(column: str, runs: pd.DataFrame, against: str) -> Iterator[Picture]:
    """What each row's error differs by from that of one, where two seeds or more are shared.

    Args:
        column: its name.
        runs: its lines of `numbers.runs`.
        against: the row that is subtracted.
    """
    found = numbers.paired(runs, against).dropna(subset=["low"]).sort_values("mean")[::-1]
    if found.empty:
        return
    error = kind_of_error(runs["error_on"].dropna())
    figure, panel = panel_of_rows(found.index)
    panel.axvline(0, color="0.55", linewidth=0.8)
    ends = [found["mean"] - found["low"], found["high"] - found["mean"]]
    panel.errorbar(found["mean"], range(len(found)), xerr=ends, fmt="o", color="black", capsize=3)
    panel.set_xlabel(f"last {error} less that of {against}, points")
    said = [
        f"{line.Index} {line.mean:+.2f} ({line.low:+.2f} to {line.high:+.2f})"
        for line in found[::-1].itertuples()
    ]
    yield picture_of(
        figure,
        f"difference {column}",
        f"Difference to {against}, {column}",
        f"Seed by seed: mean of the differences in the last {error}, with its 95 % interval "
        "(Student's t). To the left of 0 a row is better.",
        f"Last {error} less that of {against} on {column}, in points: {', '.join(said)}.",
    )


def by_labels(cells: pd.DataFrame) -> Iterator[Picture]:
    """Error against the number of labels, of a data set and net that has several."""
    done = cells.dropna(subset=["error_last"])
    done = done.assign(name=[numbers.name_of(cell) for cell in done.to_dict("records")])
    for (dataset, net), here in done.groupby(["dataset", "net"], sort=False):
        lines = dict(iter(here.sort_values("num_labels").groupby("name")))
        rows = [Row(name, number, []) for number, name in enumerate(here["name"].unique())]
        rows = [row for row in rows if lines[row.name]["num_labels"].nunique() > 1]
        if rows:
            yield _against_labels(f"{dataset}, {net}", rows, lines, kind_of_error(here["error_on"]))


def _against_labels(
    where: str, rows: Sequence[Row], lines: dict[str, pd.DataFrame], error: str
) -> Picture:
    figure = figure_of(7.2, 4.0)
    panel = figure.subplots()
    said = []
    for row in rows:
        line = lines[row.name]
        half = [
            numbers.half_interval(std, n)
            for std, n in zip(line["error_last_std"], line["n"], strict=True)
        ]
        panel.errorbar(line["num_labels"], line["error_last"], yerr=half, **row.marker,
                       elinewidth=0.7, capsize=2, label=row.name, **row.style)  # fmt: skip
        points = zip(line["num_labels"], line["error_last"], strict=True)
        said.append(f"{row.name}: " + ", ".join(f"{e:.2f} % with {n:.0f}" for n, e in points))
    panel.set_xscale("log")
    counts = sorted({n for row in rows for n in lines[row.name]["num_labels"]})
    panel.xaxis.set_major_locator(FixedLocator(counts))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    error_axis([panel], pd.concat([lines[row.name]["error_last"] for row in rows]))
    panel.set_xlabel("labels")
    panel.set_ylabel(f"last {error}, %")
    legend_beside(panel, handlelength=3.2)
    return picture_of(
        figure,
        f"error by labels {where}",
        f"{error.capitalize()} against labels, {where}",
        f"Mean over the seeds of the last {error}; bars are its 95 % interval (Student's t). "
        "Both scales are logarithmic.",
        f"Last {error} against the number of labels, {where}. {'; '.join(said)}.",
    )
