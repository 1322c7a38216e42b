"""The command line: ``python -m metasemi_plugin report SUITE_OR_RUN_FOLDERS...``."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from metasemi_plugin.cli.words import parse
from metasemi_plugin.config.values import unknown
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.compare import suite_of
from metasemi_plugin.experiments.records import Record
from metasemi_plugin.experiments.report import committed
from metasemi_plugin.experiments.report.committed import COURSES, RESULTS
from metasemi_plugin.experiments.report.entries import Entry, of_folders, of_suite
from metasemi_plugin.experiments.report.write import AGAINST, PAGE, TABLE, write
from metasemi_plugin.run_folder import files


def main(argv: Sequence[str]) -> int:
    """Read records, write the report, and say where it is.

    Raises:
        UserError: nothing to report on, or options that do not fit.
    """
    arguments, rest = _parser().parse_known_args(argv)
    overrides = parse(rest)
    report = shlex.join(["python", "-m", "metasemi_plugin", "report", *argv])
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
    against = arguments.against or AGAINST
    names = {entry.name for entry in entries}
    if arguments.against and against not in names:
        raise UserError(f"--against: {unknown(against, sorted(names))}")
    write(entries, out, title, [*commands, report], paper, arguments.budget, against)
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
    parser.add_argument(
        "--against", metavar="ROW",
        help=f"what the other rows are compared with, seed by seed (default: {AGAINST})",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", help="as they were given to compare")
    parser.add_argument("--name", help="as it was given to compare")
    return parser
