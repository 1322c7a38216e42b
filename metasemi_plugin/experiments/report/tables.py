"""The tables of a report, as cells with a text to read and a value to sort by."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from metasemi_plugin.experiments.plan import log_of
from metasemi_plugin.experiments.report import numbers
from metasemi_plugin.experiments.report.entries import Entry, differences
from metasemi_plugin.experiments.report.reference import SOURCES

RULE = (
    "Errors in percent, on test images if not said otherwise: mean ± sample standard deviation "
    "over the seeds of the runs that are complete. Differences are means over the seeds that both "
    "have, with a 95 % interval (Student's t, n - 1); p is Holm's, over the rows. Bold is what "
    "differs (p below 0.05)."
)


class Cell(NamedTuple):
    """What is read, and what is sorted by (the text, where there is no value)."""

    text: str
    value: float | None = None
    bold: bool = False


class Table(NamedTuple):
    """Rows under a head; below stand the runs that are not complete, and notes."""

    title: str
    head: list[str]
    rows: list[list[Cell]]
    unfinished: list[str] = []
    notes: list[str] = []

    @property
    def numeric(self) -> set[int]:
        """Places of the columns that hold numbers."""
        return {n for row in self.rows for n, cell in enumerate(row) if cell.value is not None}


def result_tables(
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    entries: Sequence[Entry],
    published: pd.DataFrame,
    against: str,
) -> list[Table]:
    """An overview if there are several columns, then by column rows, differences and times.

    Args:
        runs: see `numbers.runs`.
        cells: see `numbers.cells`.
        entries: the runs they were made of.
        published: indexed like ``cells``; see `reference.beside`.
        against: the row that the others are compared with.
    """
    columns = list(dict.fromkeys(cells["column"]))
    tables = [overview(cells, columns)] if len(columns) > 1 else []
    for column in columns:
        here = cells[cells["column"] == column]
        lines = unfinished([entry for entry in entries if entry.column == column])
        tables.append(column_table(column, here, published.loc[here.index], lines))
    for column in columns:
        found = numbers.paired(runs[runs["column"] == column], against)
        if found["low"].notna().any():
            tables.append(paired_table(column, found, against))
    for column in columns:
        here = cells[cells["column"] == column]
        if here["error_at_time"].notna().any():
            own = [e for e in entries if e.column == column]
            tables.append(time_table(column, here, own))
    return tables


def overview(cells: pd.DataFrame, columns: Sequence[str]) -> Table:
    """Rows by columns: the last error."""
    names = list(dict.fromkeys(map(numbers.name_of, _records(cells))))
    found = {
        (numbers.name_of(cell), cell["column"]): _error(cell, "error_last")
        for cell in _records(cells)
    }
    rows = [[Cell(name), *(found.get((name, c), Cell("")) for c in columns)] for name in names]
    return Table("Last error", ["method", *columns], rows, notes=_validated(cells, "column"))


def column_table(
    column: str, cells: pd.DataFrame, published: pd.DataFrame, unfinished: list[str]
) -> Table:
    """All there is to know of a column, a line a row."""
    chosen = sorted(cells["chosen_on"].dropna().unique())
    names = {**numbers.ERRORS, "best": f"best on {' or '.join(chosen) or 'validation'}"}
    beside = [source for source in SOURCES if published[source].notna().any()]
    head = ["method", "runs", *names.values()]
    notes = _validated(cells)
    for source in beside:
        head += [SOURCES[source], f"difference to {SOURCES[source]}"]
    head += ["s an iteration", "peak memory, MiB"]
    rows = []
    for index, cell in zip(cells.index, _records(cells), strict=True):
        row = [Cell(numbers.name_of(cell)), _count(cell)]
        row += [_error(cell, f"error_{name}") for name in names]
        for source in beside:
            row += _published(cell, published.loc[index], source)
        row += [_seconds(cell["seconds_per_iteration"]), _number(cell["peak_memory_mb"], ".0f")]
        rows.append(row)
    return Table(column, head, rows, unfinished, [*notes, *_footnotes(published, beside)])


def _validated(cells: pd.DataFrame, by: str = "row") -> list[str]:
    """A line on the cells that have no test images."""
    names = cells.loc[cells["error_on"] == "validation", by].unique()
    line = f"Errors on validation images, as there are no test images: {', '.join(names)}."
    return [line] if len(names) else []


def paired_table(column: str, found: pd.DataFrame, against: str) -> Table:
    """By how much the last error of each row is above that of one of them."""
    rows = [
        [
            Cell(name),
            Cell(f"{line['n']:.0f}", line["n"]),
            Cell(f"{line['mean']:+.2f}", line["mean"], bold=line["p"] < 0.05),
            Cell("" if math.isnan(line["p"]) else f"{line['low']:+.2f} to {line['high']:+.2f}"),
            _number(line["p"], ".3f"),
        ]
        for name, line in zip(found.index, _records(found), strict=True)
    ]
    head = ["method", "seeds", f"minus {against}", "95 % interval", "p"]
    return Table(f"{column}, differences to {against}", head, rows)


def time_table(column: str, cells: pd.DataFrame, entries: Sequence[Entry]) -> Table:
    """The error at a fixed training time beside the error at the end (Table 5 of the paper)."""
    time = cells["time"].iloc[0]
    rows = []
    for cell in _records(cells):
        own = [e for e in entries if e.name == numbers.name_of(cell) and e.complete]
        ends = [e.record.metrics["seconds"].iloc[-1] for e in own if len(e.record.metrics)]
        rows.append(
            [
                Cell(numbers.name_of(cell)),
                _count(cell),
                _error(cell, "error_at_time"),
                _error(cell, "error_last"),
                Cell(f"{min(ends):.0f}" if ends else "", min(ends, default=None)),
            ]
        )
    head = ["method", "runs", f"after {time:.0f} s", "last", "s in all, shortest"]
    early = [row[0].text for row in rows if row[-1].value is not None and row[-1].value < time]
    notes = _validated(cells)
    if early:
        notes.append(f"Ended before, so that its last error counts: {', '.join(early)}.")
    return Table(f"{column}, the same training time", head, rows, notes=notes)


def unfinished(entries: Iterable[Entry]) -> list[str]:
    """A line a run that is not complete: which, why, how far it came, and its log."""
    lines = []
    for entry in entries:
        if entry.complete:
            continue
        run = entry.record.run
        line = f"{entry.name}, seed {entry.seed}: {entry.record.status}"
        if run.get("error"):
            line += f" ({run['error']})"
        if run:
            line += f", {run.get('iterations', 0)} of {run.get('num_train_iter')} iterations"
            log = log_of(entry.record.folder)
            line += f", log: {log if log.exists() else entry.record.folder / 'log.txt'}"
        lines.append(line)
    return lines


def difference_tables(entries: Sequence[Entry]) -> list[Table]:
    """By column, the settings in which its rows differ, side by side."""
    tables = []
    for column, group in itertools.groupby(entries, lambda entry: entry.column):
        found = differences(list(group))
        if found:
            rows = [
                [Cell(key), *(Cell(", ".join(map(_setting, vs))) for vs in values.values())]
                for key, values in found.items()
            ]
            tables.append(Table(column, ["option", *next(iter(found.values()))], rows))
    return tables


def run_table(runs: pd.DataFrame) -> Table:
    """Every run."""
    told = [*numbers.ERRORS.values(), "s", "s an iteration", "folder"]
    head = ["method", "column", "seed", "status", "iterations", *told]
    rows = [
        [
            Cell(numbers.name_of(run)),
            Cell(run["column"]),
            Cell(str(run["seed"]), run["seed"]),
            Cell(run["status"]),
            Cell(f"{run['iterations']}", run["iterations"]),
            *(_number(run[f"error_{name}"], ".2f") for name in numbers.ERRORS),
            _number(run["seconds"], ".0f"),
            _seconds(run["seconds_per_iteration"]),
            Cell(run["folder"]),
        ]
        for run in _records(runs)
    ]
    return Table("Every run", head, rows)


def machine_table(entries: Sequence[Entry]) -> Table:
    """Commit, hardware and versions, a line each combination that runs were made with."""
    lines: Counter[tuple[str, ...]] = Counter()
    for entry in entries:
        if run := entry.record.run:
            git, hardware = run["git"], run["hardware"]
            commit = (git["commit"] or "unknown")[:12]
            dirty = " with changes not committed" if git["dirty"] else ""
            machine = (
                f"{hardware['name']}, {hardware['device']}, {hardware['threads']} of "
                f"{hardware['cores']} cores, {hardware['memory_gb']:.0f} GB"
            )
            versions = ", ".join(f"{k} {v}" for k, v in run["versions"].items())
            lines[commit + dirty, machine, versions] += 1
    rows = [[*map(Cell, line), Cell(str(n), n)] for line, n in lines.items()]
    return Table("Made with", ["commit", "hardware", "versions", "runs"], rows)


def _published(cell: dict, published: pd.Series, source: str) -> list[Cell]:
    number = published[source]
    if number is None or pd.isna(number.error):
        return [Cell(""), Cell("")]
    own = cell[f"error_{number.measure}"]
    gap = own - number.error
    return [
        Cell(_plus_minus(number.error, number.std), number.error),
        Cell("" if math.isnan(gap) else f"{gap:+.2f}", None if math.isnan(gap) else gap),
    ]


def _footnotes(published: pd.DataFrame, beside: Sequence[str]) -> list[str]:
    """What the published numbers are, and which of ours they are compared with."""
    lines = {
        f"{SOURCES[source]}: {number.source}; {number.net}. Difference: our "
        f"{numbers.ERRORS[number.measure]} minus theirs."
        + (f" {number.note}" if number.note else "")
        for source in beside
        for number in published[source].dropna()
    }
    return sorted(lines)


def _records(frame: pd.DataFrame) -> list[dict]:
    return frame.to_dict("records")


def _count(cell: dict) -> Cell:
    n, of = cell["n"], cell["runs"]
    return Cell(str(n) if n == of else f"{n} of {of}", n)


def _error(cell: dict, name: str) -> Cell:
    if math.isnan(cell[name]):
        return Cell("")
    return Cell(_plus_minus(cell[name], cell[f"{name}_std"]), cell[name])


def _plus_minus(mean: float, std: float | None) -> str:
    return f"{mean:.2f}" if std is None or math.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def _number(value: float, form: str) -> Cell:
    return Cell("") if math.isnan(value) else Cell(f"{value:{form}}", value)


def _seconds(value: float) -> Cell:
    return _number(value, ".3f")


def _setting(value: object) -> str:
    names: dict[object, str] = {None: "null", True: "true", False: "false"}
    return names.get(value, str(value)) if isinstance(value, bool | None) else str(value)
