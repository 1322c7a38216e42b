"""A report as files."""

import re
from collections.abc import Sequence
from pathlib import Path

from metasemi_plugin.experiments.report import committed, numbers, reference, tables
from metasemi_plugin.experiments.report.committed import COURSES, RESULTS
from metasemi_plugin.experiments.report.entries import Entry
from metasemi_plugin.experiments.report.markdown import markdown
from metasemi_plugin.experiments.report.page import page
from metasemi_plugin.experiments.report.pictures import pictures
from metasemi_plugin.run_folder import files

TABLE, PAGE = "table.md", "report.html"
AGAINST = "Meta-Semi"


def write(
    entries: Sequence[Entry],
    out: Path,
    title: str,
    commands: Sequence[str],
    paper: str | None = None,
    budget: float | None = None,
    against: str = AGAINST,
) -> None:
    """results.csv, courses.csv, table.md, report.html and pictures/ into ``out``.

    Args:
        entries: the runs, by column.
        out: the folder; made if need be.
        title: of the page.
        commands: what makes runs and report again.
        paper: table of the paper to compare with.
        budget: training time, in seconds, at which the error is compared.
        against: the row that the others of its column are compared with, seed by seed.
    """
    runs = numbers.runs(entries, budget)
    cells = numbers.cells(runs)
    published = reference.beside(cells, paper)
    results = tables.result_tables(runs, cells, entries, published, against)
    drawn = pictures(entries, runs, cells, against)
    done = sum(entry.complete for entry in entries)
    summary = f"{done} of {len(entries)} runs are complete. {_chosen(cells)}"
    again = [_checkout(entries), *commands]
    rest = [
        f"Pictures: `{PAGE}`, which the last line below writes.",
        "## Make it again\n\n" + "\n".join(f"    {line}" for line in again if line),
    ]
    html = page(
        title,
        summary,
        tables.RULE,
        results,
        drawn,
        tables.difference_tables(entries),
        [tables.machine_table(entries), tables.run_table(runs)],
        [line for line in again if line],
    )

    folder = out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _pictures_of(out / PAGE):
        for old in (folder / f"{name}.png", folder / f"{name}.svg"):
            old.unlink(missing_ok=True)
    for picture in drawn:
        files.replace(folder / f"{picture.name}.png", picture.png)
        files.replace(folder / f"{picture.name}.svg", picture.svg)
    for name, lines in ((RESULTS, runs), (COURSES, committed.courses(entries))):
        files.replace(out / name, lines.to_csv(index=False, lineterminator="\n").encode())
    files.replace(out / TABLE, markdown(title, summary, tables.RULE, results, rest).encode())
    files.replace(out / PAGE, html.encode())


def _pictures_of(page: Path) -> list[str]:
    """Names of the pictures that an earlier report shows."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return re.findall(r'^<figure id="([^"/]+)">$', text, re.MULTILINE)


def _chosen(cells) -> str:
    chosen = sorted(cells["chosen_on"].dropna().unique())
    if len(chosen) == 1 and chosen == sorted(cells["error_on"].dropna().unique()):
        return f"The best evaluation is chosen on {chosen[0]}, which flatters it."
    if chosen == ["validation"]:
        return "The best evaluation is chosen on validation images; test is only reported."
    return (
        "The best evaluation is chosen on validation images where a column says so, else on test."
    )


def _checkout(entries: Sequence[Entry]) -> str | None:
    """The commit, where all runs were made with one."""
    commits = {e.record.run["git"]["commit"] for e in entries if e.record.run}
    (commit,) = commits if len(commits) == 1 else (None,)
    return f"git checkout {commit}" if commit else None
