"""The record of a run: ``run.json``, what it is and came to, and ``metrics.jsonl``, its course.

metrics.jsonl has a line an evaluation: "it", "seconds" of training until then over all sittings,
the errors on "eval" and "test" in percent, and what the algorithm logs: "train/..." is the mean
over the iterations since the evaluation before, anything else its latest value.
"""

import argparse
import io
import json
import math
import os
import statistics
import time
from collections import defaultdict, deque
from datetime import datetime, timezone
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.data.fingerprint import split_record
from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import files, layout
from metasemi_plugin.run_folder.environment import checkout, hardware, peak_memory_mb, versions
from metasemi_plugin.run_folder.layout import METRICS, RUN, SPLIT
from metasemi_plugin.run_folder.results import results

SCHEMA = 1


class RunRecord:
    """What is kept of a run in its folder: at the start, at each evaluation, and at the end.

    Of earlier sittings it keeps what led to the checkpoint that the algorithm goes on from.

    Args:
        folder: the run folder.
        args: the resolved configuration.
        algorithm: built, and loaded if the run is resumed.

    Raises:
        UserError: the run was begun on other data.
    """

    def __init__(self, folder: Path, args: argparse.Namespace, algorithm):
        self.folder, self.algorithm = folder, algorithm
        # The state below as the checkpoint has it, or {}.
        self.saved = algorithm.run_state.resumed.get("record", {})
        before = layout.recorded(folder) if self.saved else {}
        split = split_record(algorithm.dataset_dict)
        if self.saved and self.saved["split"] != split.hash:
            raise UserError(
                f"the data of the run {folder} have changed since it was begun: bring them back, "
                f"or {layout.start_over(folder, args)}"
            )
        if split.positions:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **split.positions)  # type: ignore[arg-type]
            files.replace(folder / SPLIT, buffer.getvalue())
        self.run = {
            "schema": SCHEMA,
            "status": "running",
            "error": None,
            **{k: getattr(args, k) for k in ("algorithm", "dataset", "num_labels", "net", "seed")},
            "config": {k: v for k, v in sorted(vars(args).items()) if k not in CALL_OPTIONS},
            "split": {"hash": split.hash, "file": SPLIT if split.positions else None},
            "data": split.notes._asdict(),
            "classes": algorithm.class_names,
            "git": checkout(),
            "versions": versions(),
            "hardware": hardware(algorithm.device),
            "started": before.get("started", _now()),
            "ended": None,
            "sittings": before.get("sittings", 0) + 1,
            "num_train_iter": args.num_train_iter,
        }
        # What is logged since the last evaluation, and the lines of metrics.jsonl still to write.
        self.logged: dict[str, list[float]] = defaultdict(list)
        for key, values in self.saved.get("logged", {}).items():
            self.logged[key] = values.tolist()
        self.unwritten: list[str] = []
        self.durations: deque[float] = deque(maxlen=1000)
        self.began = self.last = time.perf_counter()

    def begin(self) -> None:
        """Start the clock; what was noted after the checkpoint is dropped, as it is done again."""
        path = self.folder / METRICS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = "".join(f"{line}\n" for line in lines if _it(line) <= self.algorithm.it).encode()
        files.replace(path, kept)
        self.written = len(kept)
        self.write("running", self.algorithm.it)
        self.began = self.last = time.perf_counter()

    def saved_state(self) -> dict:
        """What a checkpoint keeps."""
        logged = {k: torch.tensor(v, dtype=torch.float64) for k, v in self.logged.items()}
        return self.state() | {"split": self.run["split"]["hash"], "logged": logged}

    def state(self) -> dict[str, float | None]:
        """What the course of the run has cost until now."""
        measured = statistics.median(self.durations) if self.durations else None
        return {
            "seconds": self.saved.get("seconds", 0.0) + time.perf_counter() - self.began,
            "statistics_seconds": self.saved.get("statistics_seconds", 0.0)
            + self.algorithm.run_state.statistics_seconds,
            "seconds_per_iteration": measured or self.saved.get("seconds_per_iteration"),
            "peak_memory_mb": max(
                peak_memory_mb(self.algorithm.device), self.saved.get("peak_memory_mb", 0.0)
            ),
        }

    def log(self, evaluated: bool) -> None:
        """After each iteration: keep what has been read of the log, until it is evaluated.

        What is not finite counts for nothing: a bad step's, or a share of no samples.
        """
        now = time.perf_counter()
        if not evaluated:
            self.durations.append(now - self.last)
        state = self.algorithm.run_state
        for line in state.log.lines:
            for key, value in line.items():
                if isinstance(value, Real) and math.isfinite(value):
                    self.logged[key].append(float(value))
        state.log.lines.clear()
        if evaluated:
            scores = state.history[-1]
            values = {
                key: statistics.fmean(seen) if key.startswith("train/") else seen[-1]
                for key, seen in self.logged.items()
            }
            line = {"it": scores["it"], "seconds": round(self.state()["seconds"] or 0, 3)}
            line |= {k: v if math.isfinite(v) else None for k, v in (scores | values).items()}
            self.unwritten.append(json.dumps(line) + "\n")
            self.logged.clear()

    def write_lines(self) -> None:
        """Add to metrics.jsonl what has come since the last time.

        Raises:
            OSError: the lines are kept for the next time, which overwrites what was left of them.
        """
        if not self.unwritten:
            return
        lines = "".join(self.unwritten).encode()
        with open(self.folder / METRICS, "r+b") as file:
            file.truncate(self.written)
            file.seek(self.written)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        self.written += len(lines)
        self.unwritten.clear()

    def write(self, status: str, iterations: int, error: str | None = None) -> dict:
        """Replace run.json; returns what is in it."""
        self.run |= {
            "status": status,
            "error": error,
            "ended": None if status == "running" else _now(),
            "iterations": iterations,
            **{key: None if v is None else round(v, 6) for key, v in self.state().items()},
            "bad_steps": self.algorithm.run_state.bad_steps,
            **results(self.algorithm.run_state.history, self.algorithm.chosen_on),
        }
        files.replace(self.folder / RUN, f"{json.dumps(self.run, indent=2)}\n".encode())
        return self.run


def _it(line: str) -> float:
    """The iteration of a line, which may have been cut off as it was written."""
    try:
        return json.loads(line)["it"]
    except ValueError:
        return math.inf


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
