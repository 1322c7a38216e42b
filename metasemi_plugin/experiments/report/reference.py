"""Published numbers for the cells of a table."""

from typing import NamedTuple

import pandas as pd

from metasemi_plugin.experiments import published
from metasemi_plugin.experiments.report.numbers import name_of

# The columns of `beside`, and what they are called.
SOURCES = {"paper": "paper", "usb": "USB"}


class Reference(NamedTuple):
    """A published error in percent, and which of our errors (see numbers.ERRORS) is like it."""

    error: float
    std: float | None
    note: str
    source: str
    net: str
    measure: str


def beside(cells: pd.DataFrame, table: str | None) -> pd.DataFrame:
    """For each cell its published test errors: columns ``paper`` and ``usb``, None where none is.

    The paper's numbers with a WRN are medians of the last 20 checkpoints, as in MixMatch; its
    others are set beside our best on validation, or our last if the best is chosen on test. USB's
    are its best on test.

    Args:
        cells: see `numbers.cells`.
        table: the paper's table, or None for no comparison at all.
    """
    found = [dict.fromkeys(SOURCES) if table is None else _both(cell, table)
             for _, cell in cells.iterrows()]  # fmt: skip
    return pd.DataFrame(found, index=cells.index, columns=list(SOURCES), dtype=object)


def _both(cell: pd.Series, table: str) -> dict[str, Reference | None]:
    if cell.error_on == "validation":
        return dict.fromkeys(SOURCES)
    name = name_of(cell)
    like_paper = "best" if cell.chosen_on == "validation" else "last"
    if cell.net.startswith("wrn"):
        like_paper = "median_last_20"
    paper = published.paper(table, cell.dataset, cell.net, cell.num_labels, name)
    usb = published.usb(cell.dataset, cell.num_labels, name)
    return {
        "paper": paper and Reference(*paper, like_paper),
        "usb": usb and Reference(*usb, "best"),
    }
