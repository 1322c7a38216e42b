"""Reading what a run has left in its folder; run_folder/record.py says what that is."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from metasemi_plugin.run_folder.layout import METRICS, recorded
from metasemi_plugin.run_folder.status import status

NO_METRICS = pd.DataFrame(columns=["it", "seconds", "eval"])


class Record(NamedTuple):
    """A run as its folder tells of it."""

    folder: Path
    run: dict  # run.json, {} where there is none that can be read
    metrics: pd.DataFrame  # metrics.jsonl, a row an evaluation
    status: str  # see `status`


def read(folder: str | Path) -> Record:
    """The record in a run folder, whatever state it is in."""
    folder = Path(folder)
    run = recorded(folder)
    try:
        return Record(folder, run, _metrics(folder / METRICS), status(folder, run))
    except ValueError:
        return Record(folder, run, NO_METRICS, "damaged")


def _metrics(path: Path) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        lines = []
    # A line without its end is being written, or was when the run was killed.
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return pd.DataFrame(rows) if rows else NO_METRICS
