"""All pictures of a report."""

from collections.abc import Iterator, Sequence

import matplotlib
import pandas as pd

from metasemi_plugin.experiments.report import course, outcome
from metasemi_plugin.experiments.report.drawing import STYLE, Picture, columns_of
from metasemi_plugin.experiments.report.entries import Entry


def pictures(entries: Sequence[Entry], cells: pd.DataFrame) -> list[Picture]:
    """Those whose data there are, in the order of the page.

    Args:
        entries: the runs, by column.
        cells: see `numbers.cells`.
    """
    with matplotlib.rc_context(STYLE):
        return list(_draw(entries, cells))


def _draw(entries: Sequence[Entry], cells: pd.DataFrame) -> Iterator[Picture]:
    columns = columns_of(entries)
    for column, rows in columns.items():
        here = cells[cells["column"] == column]
        yield from course.by_iteration(column, rows)
        yield from course.by_time(column, rows)
        yield from outcome.at_time(column, here)
        yield from outcome.cost(column, rows, here)
    yield from outcome.by_parameter(entries, cells)
    for column, rows in columns.items():
        yield from course.kept(column, rows)
        yield from course.assumption1(column, rows)
