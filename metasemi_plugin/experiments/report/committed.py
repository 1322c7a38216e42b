"""results.csv and courses.csv, which git keeps: what a report says of runs, and reads again."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.records import NO_METRICS, Record
from metasemi_plugin.experiments.report.course import SCALARS
from metasemi_plugin.experiments.report.entries import Entry
from metasemi_plugin.experiments.report.numbers import ERRORS, MEASURED

RESULTS, COURSES = "results.csv", "courses.csv"
_ALWAYS = ["folder", *NO_METRICS]
# Columns of results.csv that a record has under the same name, and those that are no text.
_OF_RECORD = ("iterations", "num_train_iter", "chosen_on", "seconds", "seconds_per_iteration",
              "peak_memory_mb", "started", "ended")  # fmt: skip
_JSON = {*MEASURED, "seed", "iterations", "num_train_iter", "settings", "hardware", "versions"}
_BOOLS = {"True": True, "False": False}


def courses(entries: Sequence[Entry]) -> pd.DataFrame:
    """One line an evaluation of each run, with errors and what the pictures show: courses.csv."""
    lines = [
        {"folder": entry.record.folder.as_posix(), **line}
        for entry in entries
        for line in entry.record.metrics.to_dict("records")
    ]
    made = pd.DataFrame(lines, columns=[*_ALWAYS, "test", *SCALARS])
    return made[[name for name in made if name in _ALWAYS or made[name].notna().any()]]


def read(folder: Path) -> dict[tuple, Record]:
    """The runs that an earlier report has left in its folder, by `Entry.key`.

    Raises:
        UserError: the files are not as a report leaves them.
    """
    if not ((folder / RESULTS).exists() and (folder / COURSES).exists()):
        return {}
    try:
        curves = defaultdict(list)
        for line in _lines(folder / COURSES):
            curves[line.pop("folder")].append({k: _value(text) for k, text in line.items()})
        found = {}
        for line in _lines(folder / RESULTS):
            seed = json.loads(line["seed"])
            key = line["column"], line["row"], line["varied"], seed
            found[key] = _record(line, curves[line["folder"]])
    except (KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"{folder}: {RESULTS} and {COURSES} are not as report has written them ({error}): "
            "bring them back from git, or move them away"
        ) from error
    return found


def _lines(path: Path) -> Iterator[dict[str, str]]:
    # Not by pandas, which makes numbers of texts that look like some.
    with open(path, encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, strict=True):
            if None in line or None in line.values():
                raise ValueError(f"{path.name}: a line has more or fewer columns than the first")
            yield line


def _value(text: str):
    return json.loads(text) if text else None


def _record(line: dict[str, str], course: list[dict]) -> Record:
    """The inverse of `numbers.runs`, as far as a report asks."""
    told = {k: _value(text) if k in _JSON else text or None for k, text in line.items()}
    errors = {name: told[f"error_{name}"] for name in ERRORS}
    run = {
        **{key: told[key] for key in _OF_RECORD},
        "error": told["why"],
        "config": told["settings"] or {},
        "eval": errors | {"best_iteration": told["best_iteration"]},
        "git": {"commit": told["commit"], "dirty": _BOOLS.get(line["dirty"])},
        "hardware": told["hardware"],
        "versions": told["versions"],
    }
    metrics = pd.DataFrame(course).dropna(axis="columns", how="all") if course else NO_METRICS
    return Record(Path(line["folder"]), run if told["hardware"] else {}, metrics, line["status"])
