"""Which runs a report shows, and under which names: those of a suite, or those of run folders."""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.plan import ELSEWHERE, PLACES, chosen, differing
from metasemi_plugin.experiments.records import Record, read
from metasemi_plugin.experiments.suite import Suite


class Entry(NamedTuple):
    """One run of a report: where it stands in the tables, and its record."""

    column: str
    row: str
    varied: dict[str, object]  # {} or, e.g., {"mixup_beta": 0.5}
    seed: int
    record: Record
    config: dict[str, object]  # resolved
    settings: dict[str, object] = {}  # of a suite's run: see `plan.chosen`

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Which run of its suite it is: column, row, what is varied, seed."""
        return self.column, self.row, varied_text(self.varied), self.seed

    @property
    def name(self) -> str:
        """The row and what is varied in it."""
        return ", ".join(filter(None, [self.row, varied_text(self.varied)]))

    @property
    def error_on(self) -> str | None:
        """Images that its errors are of: "test", or "validation" where there are no test images."""
        return "test" if "test" in self.record.metrics else self.record.run.get("chosen_on")

    @property
    def complete(self) -> bool:
        """Whether the run counts in the means."""
        return self.record.status == "complete"


def of_suite(suite: Suite, committed: Mapping[tuple, Record]) -> list[Entry]:
    """All runs of a suite, those that were never started among them.

    A record of other settings than the suite's is no record of this run: its status says so.

    Args:
        suite: whose runs.
        committed: by `Entry.key`, records in place of run folders that are not there.

    Raises:
        UserError: none of the runs was started.
    """
    entries = []
    for run in suite.runs:
        record, places = read(run.folder), PLACES
        entry = Entry(run.column, run.row, run.varied, run.seed, record, _settings(run.args))
        if record.status == "missing" and entry.key in committed:
            record, places = committed[entry.key], ELSEWHERE
        if record.run:
            made_with = record.run["config"]
            entry = entry._replace(settings=chosen(made_with, run.args.algorithm))
            if keys := differing(made_with, run.args, places):
                record = record._replace(status=f"made with other settings: {', '.join(keys)}")
        entries.append(entry._replace(record=record))
    if all(entry.record.status == "missing" for entry in entries):
        raise UserError(
            f"{suite.name}: none of its {len(entries)} runs was started, and no courses.csv of an "
            "earlier report has them; compare it"
        )
    return entries


def varied_text(varied: Mapping[str, object]) -> str:
    """Such as ``mixup_beta=0.5``; empty where nothing is varied."""
    return ", ".join(f"{key}={value}" for key, value in varied.items())


def of_folders(folders: Iterable[Path]) -> list[Entry]:
    """Runs of folders; a folder that is no run folder stands for the run folders in it.

    A column is a data set and its number of labels, a row an algorithm; where two runs of a row
    differ in more than the seed, the row's name says in what.

    Raises:
        UserError: a folder holds no run, or two runs are equal but for their folder.
    """
    records = [read(folder) for given in folders for folder in _run_folders(given)]
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        run = record.run
        groups[f"{run['dataset']} {run['num_labels']}", run["algorithm"]].append(record)
    entries = []
    for (column, row), group in groups.items():
        keys = _differing([record.run["config"] for record in group])
        for record in group:
            run = record.run
            varied = {key: run["config"].get(key) for key in keys}
            entries.append(Entry(column, row, varied, run["seed"], record, run["config"]))
    entries.sort(key=lambda entry: (entry.column, entry.name, entry.seed))
    taken = Counter((entry.column, entry.name, entry.seed) for entry in entries)
    for (column, row, seed), count in taken.items():
        if count > 1:
            raise UserError(
                f"{count} runs of {row} on {column} with seed {seed} are equal: give one of them"
            )
    return entries


def differences(entries: Sequence[Entry]) -> dict[str, dict[str, list]]:
    """Keys in which the settings of rows differ -> row -> its values, in order of appearance.

    A row that has no such option has no value.
    """
    found: dict[str, dict[str, list]] = {}
    names = list(dict.fromkeys(entry.row for entry in entries))
    for key in _differing([entry.config for entry in entries]):
        found[key] = {name: [] for name in names}
        for entry in entries:
            values = found[key][entry.row]
            if key in entry.config and entry.config[key] not in values:
                values.append(entry.config[key])
    return found


def _differing(configs: Sequence[dict]) -> list[str]:
    """Keys, sorted, that not all have or that have not the same value in all."""
    keys = set().union(*configs) - PLACES - {"seed"}
    missing = object()
    return sorted(k for k in keys if any(c.get(k, missing) != configs[0].get(k, missing)
                                         for c in configs))  # fmt: skip


def _settings(args: argparse.Namespace) -> dict[str, object]:
    """As a record holds them: by way of JSON."""
    return json.loads(json.dumps({k: v for k, v in vars(args).items() if k not in CALL_OPTIONS}))


def _run_folders(folder: Path) -> list[Path]:
    if (folder / "run.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/run.json"))
    if not found:
        raise UserError(f"{folder} holds no run: there is no run.json in it or in its folders")
    return found
