"""All pictures of a report."""

from collections.abc import Iterator, Sequence

import matplotlib
import pandas as pd

from metasemi_plugin.experiments.report import course, intervals, outcome
from metasemi_plugin.experiments.report.drawing import STYLE, Picture, columns_of
from metasemi_plugin.experiments.report.entries import Entry


def pictures(
    entries: Sequence[Entry], runs: pd.DataFrame, cells: pd.DataFrame, against: str
) -> list[Picture]:
    """Those whose data there are, in the order of the page.

    Args:
        entries: the runs, by column.
        runs: see `numbers.runs`.
        cells: see `numbers.cells`.
        against: the row that the others of its column are compared with, seed by seed.
    """
    with matplotlib.rc_context(STYLE):
        return list(_draw(entries, runs, cells, against))


def _draw(
    entries: Sequence[Entry], runs: pd.DataFrame, cells: pd.DataFrame, against: str
) -> Iterator[Picture]:
    columns = columns_of(entries)
    for column, rows in columns.items():
        here = cells[cells["column"] == column]
        yield from course.by_iteration(column, rows)
        yield from course.by_time(column, rows)
        yield from intervals.differences(column, runs[runs["column"] == column], against)
        yield from outcome.at_time(column, here)
        yield from outcome.cost(column, rows, here)
    yield from intervals.by_labels(cells)
    yield from outcome.by_parameter(entries, cells)
    for column, rows in columns.items():
        yield from course.kept(column, rows)
        yield from course.assumption1(column, rows)
