"""Reading what a run has left in its folder; host/record.py says what that is."""

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from metasemi_plugin.host.lock import holder


class Record(NamedTuple):
    """A run as its folder tells of it.

    `status` is "complete", "running", "cut off" (killed, and nobody is at it), "interrupted",
    "failed", or "missing".
    """

    folder: Path
    run: dict  # run.json, {} where there is none
    metrics: pd.DataFrame  # metrics.jsonl, a row an evaluation
    status: str


def read(folder: str | Path) -> Record:
    """The record in a run folder, whatever state it is in."""
    folder = Path(folder)
    run = read_run(folder)
    return Record(folder, run, _metrics(folder / "metrics.jsonl"), status(folder, run))


def read_run(folder: Path) -> dict:
    """run.json, {} where there is none."""
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def status(folder: Path, run: dict) -> str:
    """See `Record`."""
    said = run.get("status", "missing")
    if said == "running" and holder(folder) is None:
        # It may have ended since it was read.
        return "cut off" if read_run(folder) == run else status(folder, read_run(folder))
    return said


def _metrics(path: Path) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        lines = []
    # A line without its end is being written, or was when the run was killed.
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["it", "seconds", "eval"])
