"""The command line: ``python -m metasemi_plugin report SUITE_OR_RUN_FOLDERS...``."""

import argparse
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.compare import suite_of
from metasemi_plugin.experiments.records import Record
from metasemi_plugin.experiments.report import committed, numbers, reference, tables
from metasemi_plugin.experiments.report.committed import COURSES, RESULTS
from metasemi_plugin.experiments.report.entries import Entry, of_folders, of_suite
from metasemi_plugin.experiments.report.markdown import markdown
from metasemi_plugin.experiments.report.page import page
from metasemi_plugin.experiments.report.pictures import pictures
from metasemi_plugin.host import files

TABLE, PAGE = "table.md", "report.html"


def main(argv: Sequence[str]) -> int:
    """Read records, write the report, and say where it is.

    Raises:
        UserError: nothing to report on, or options that do not fit.
    """
    from metasemi_plugin.cli import parse

    arguments, rest = _parser().parse_known_args(argv)
    overrides = parse(rest)
    report = shlex.join(["python", "-m", "metasemi_plugin", "report", *argv])
    suite = None
    suite = None
    if not all(path.is_dir() for path in arguments.sources):
        suite = suite_of(arguments.sources, arguments.seeds, arguments.name, overrides)
    elif overrides or arguments.seeds or arguments.name:
        raise UserError("report: of run folders there is nothing to choose; name fewer of them")
    name = suite.name if suite else _folder_name(arguments.sources[0])
    usual = Path("benchmark_results") / name
    out = arguments.out or usual
    # Git does not have the page, and what is older than courses.csv has none.
    others = [file for file in (COURSES, PAGE) if (out / file).exists()]
    files.expect_ours(out, RESULTS, TABLE, *others)
    before = committed.read(out)
    if suite:
        entries = of_suite(suite, before or committed.read(usual))
        title, paper, commands = suite.title, suite.paper, [_compare(arguments, overrides)]
    else:
        entries = of_folders(arguments.sources)
        title, paper, commands = name, None, [_train(entry) for entry in entries]
    _expect_all(before, entries, out)
    write(entries, out, title, [*commands, report], paper, arguments.budget)
    done = [entry for entry in entries if entry.complete]
    print(f"{len(done)} of {len(entries)} runs are complete")
    if gone := sum(not entry.record.folder.exists() for entry in done):
        print(f"{gone} of them are from {COURSES}: their run folders are not here")
    print(*(out / file for file in (PAGE, TABLE, RESULTS, COURSES)), sep="\n")
    return 0


def _expect_all(before: Mapping[tuple, Record], entries: Sequence[Entry], out: Path) -> None:
    """Stop where an earlier report has the last that is known of a run that this one leaves out.

    Raises:
        UserError: names such a run.
    """
    lost = before.keys() - {entry.key for entry in entries}
    for record in (before[key] for key in before if key in lost):
        if record.run and not record.folder.exists():
            raise UserError(
                f"{out / RESULTS} and {COURSES} hold {record.folder}, whose run folder is not "
                "here and which this report leaves out: write to another folder with --out"
            )


def _compare(arguments: argparse.Namespace, overrides: dict[str, str]) -> str:
    words = ["python", "-m", "metasemi_plugin", "compare", *map(str, arguments.sources)]
    if arguments.name:
        words += ["--name", arguments.name]
    if arguments.seeds:
        words += ["--seeds", *map(str, arguments.seeds)]
    for key, value in overrides.items():
        words += [f"--{key}", value]
    return shlex.join(words)


def _train(entry: Entry) -> str:
    config = entry.record.folder / "config.yaml"
    return shlex.join(["python", "train.py", "--c", config.as_posix(), "--overwrite"])


def _folder_name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if (folder / "run.json").exists() else folder.name


def write(
    entries: Sequence[Entry],
    out: Path,
    title: str,
    commands: Sequence[str],
    paper: str | None = None,
    budget: float | None = None,
) -> None:
    """results.csv, courses.csv, table.md, report.html and pictures/ into ``out``.

    Args:
        entries: the runs, by column.
        out: the folder; made if need be.
        title: of the page.
        commands: what makes runs and report again.
        paper: table of the paper to compare with.
        budget: training time, in seconds, at which the error is compared.
    """
    runs = numbers.runs(entries, budget)
    cells = numbers.cells(runs)
    published = reference.beside(cells, paper)
    results = tables.result_tables(cells, entries, published)
    drawn = pictures(entries, cells)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin report",
        description="From records of runs, or from what an earlier report has left of them, to "
        "results.csv, courses.csv, table.md, pictures and report.html.",
        epilog="Options of the runs that were given to compare, --key value, go here as well.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "sources", nargs="+", type=Path, metavar="SUITE_OR_RUN_FOLDERS",
        help="what was given to compare, or run folders, or folders that hold them",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder; default: benchmark_results/NAME")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS",
        help="training time at which errors are compared; default: the largest that all reached",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", help="as they were given to compare")
    parser.add_argument("--name", help="as it was given to compare")
    return parser
