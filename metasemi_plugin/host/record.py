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
import platform
import shlex
import statistics
import subprocess
import time
from collections import defaultdict, deque
from datetime import datetime, timezone
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from semilearn.core.hooks import Hook

import metasemi_plugin
from metasemi_plugin import machine, ranks
from metasemi_plugin.errors import Interrupted, UserError
from metasemi_plugin.host import bad_steps, checkpoint, files, processes, run_folder
from metasemi_plugin.host.config import CALL_OPTIONS
from metasemi_plugin.host.datasets import split_record
from metasemi_plugin.host.run_folder import METRICS, RUN, SPLIT

SCHEMA = 1
PACKAGES = ("torch", "torchvision", "semilearn", "timm")


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
        self.saved = algorithm.saved_record  # the state below as the checkpoint has it, or {}
        before = run_folder.recorded(folder) if self.saved else {}
        split = split_record(algorithm.dataset_dict)
        if self.saved and self.saved["split"] != split.hash:
            raise UserError(
                f"the data of the run {folder} have changed since it was begun: bring them back, "
                f"or {run_folder.start_over(folder, args)}"
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
            + self.algorithm.statistics_seconds,
            "seconds_per_iteration": measured or self.saved.get("seconds_per_iteration"),
            "peak_memory_mb": max(
                peak_memory_mb(self.algorithm.device), self.saved.get("peak_memory_mb", 0.0)
            ),
        }

    def log(self, evaluated: bool) -> None:
        """After each iteration: keep what the algorithm logs, until it is evaluated.

        What is not finite in a bad step counts for nothing.
        """
        now = time.perf_counter()
        if not evaluated:
            self.durations.append(now - self.last)
        for key, value in self.algorithm.log_dict.items():
            if isinstance(value, Real) and (math.isfinite(value) or not self.algorithm.bad):
                self.logged[key].append(float(value))
        if evaluated:
            scores = self.algorithm.history[-1]
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
            "bad_steps": self.algorithm.bad_steps,
            **results(self.algorithm.history, self.algorithm.chosen_on),
        }
        files.replace(self.folder / RUN, f"{json.dumps(self.run, indent=2)}\n".encode())
        return self.run


class RecordHook(Hook):
    """In place of the host's CheckpointHook, and the record beside it, after every other hook.

    A line is written before the checkpoint: one too many is dropped by a resume, which could not
    make up for one too few. The best is written before the latest for the same reason.

    Of several processes rank 0 has the record, and writes.
    """

    def before_run(self, algorithm):
        self.saved_last = time.monotonic()
        self.failed = False

    def after_train_step(self, algorithm):
        record, done = algorithm.record, algorithm.it + 1
        if record is not None:
            evaluated = bool(algorithm.history) and algorithm.history[-1]["it"] == done
            record.log(evaluated)
            best = evaluated and algorithm.best_it == algorithm.it
            due = self.due(algorithm, evaluated)
            if evaluated or due:
                self.write(algorithm, best, due)
            record.last = time.perf_counter()
        if algorithm.stopping and done < algorithm.num_train_iter:
            raise Interrupted(processes.from_first(lambda: self.stopped(algorithm)))

    def due(self, algorithm, evaluated: bool) -> bool:
        """Whether to save the latest checkpoint now."""
        iterations, minutes = algorithm.args.num_save_iter, algorithm.args.save_minutes
        if algorithm.stopping or self.is_last_iter(algorithm):
            return True
        if iterations is None and minutes is None:
            return evaluated
        waited = (time.monotonic() - self.saved_last) / 60
        return (minutes is not None and waited >= minutes) or (
            iterations is not None and self.every_n_iters(algorithm, iterations)
        )

    def write(self, algorithm, best: bool, due: bool) -> None:
        """Metrics, checkpoints and record, as far as the disk lets them; the training goes on.

        Raises:
            UserError: the weights are not finite, or the disk has failed at the last iteration.
        """
        record = algorithm.record
        try:
            record.write_lines()
            if best or due:
                content = checkpoint.to_bytes(finite(algorithm, algorithm.get_save_dict()))
                if best:
                    files.replace(record.folder / run_folder.BEST, content)
                if due:
                    checkpoint.write_latest(record.folder, content)
                    algorithm.saved_at = record.folder / run_folder.LATEST, algorithm.it + 1
                    self.saved_last = time.monotonic()
            record.write("running", algorithm.it + 1)
        except OSError as error:
            what = f"cannot save to {record.folder} ({error.strerror or error})"
            if self.is_last_iter(algorithm):
                saved = algorithm.saved_at is not None
                then = "go on from there with --resume" if saved else "start over with --overwrite"
                raise UserError(
                    f"{what} at the end of the training. {bad_steps.last_good(algorithm)} Make "
                    f"room or mend the permissions, then {then}"
                ) from error
            if not self.failed:
                say(algorithm, f"{what}: the training goes on, and tries again at each interval")
            self.failed = True
        else:
            if self.failed:
                say(algorithm, f"saved to {record.folder} again, iteration {algorithm.it + 1}")
            self.failed = False

    def stopped(self, algorithm) -> str:
        """How to go on with a run that was asked to stop, and has been saved.

        Raises:
            UserError: it could not be saved at all.
        """
        if algorithm.saved_at is None:
            raise UserError("stopped, but nothing could be saved: the run starts over next time")
        _, iteration = algorithm.saved_at
        config = algorithm.record.folder / run_folder.CONFIG
        return (
            f"stopped and saved at iteration {iteration}; resume with: "
            f"python -m metasemi_plugin train --c {shlex.quote(str(config))} --resume"
        )


def finite(algorithm, saved: dict) -> dict:
    """``saved``, if its nets and optimizer are finite: nothing else may get into a checkpoint.

    Raises:
        UserError: they are not.
    """
    kept = [saved["model"], saved["ema_model"], *saved["optimizer"]["state"].values()]
    tensors = (t for part in kept for t in part.values() if isinstance(t, torch.Tensor))
    if not all(bool(t.isfinite().all()) for t in tensors):
        raise bad_steps.diverged(algorithm, "in the weights themselves")
    return saved


def say(algorithm, line: str) -> None:
    """On the screen and in the log."""
    algorithm.print_fn(line)
    print(line, flush=True)


def results(history: list[dict], chosen_on: str) -> dict[str, object]:
    """The errors that a run came to, in percent, on eval and on test, chosen on eval.

    Where there are no validation images, eval is the test set; test is None where there is none.
    """
    if not history:
        return {"chosen_on": None, "eval": None, "test": None}
    best = min(history, key=lambda scores: scores["eval"])
    test = "test" if "test" in best else "eval" if chosen_on == "test" else None

    def of(part: str) -> dict[str, object]:
        return {
            "last": history[-1][part],
            "best": best[part],
            "best_iteration": best["it"],
            "median_last_20": statistics.median(scores[part] for scores in history[-20:]),
        }

    return {
        "chosen_on": chosen_on,
        "eval": of("eval"),
        "test": of(test) if test else None,
    }


def checkout() -> dict[str, object]:
    """Commit of the package's sources, and whether they differ from it; None where not known."""

    def git(*words: str) -> str:
        here = Path(__file__).parent.parent
        found = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        found.check_returncode()
        return found.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not another project's checkout
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "-s", "--", "."))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def versions() -> dict[str, str]:
    """Of Python, this package and what it computes with."""
    return {
        "python": platform.python_version(),
        **{package: machine.package_version(package) for package in PACKAGES},
        "metasemi_plugin": metasemi_plugin.__version__,
    }


def hardware(device: torch.device) -> dict[str, object]:
    """What the run computes on."""
    name, memory = machine.cpu_name(), machine.memory_gb()
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        name, memory = gpu.name, gpu.total_memory / 2**30
    return {
        "device": str(device),
        "name": name,
        "cores": machine.cpu_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory, 1),
        "processes": ranks.count(),
    }


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory so far in MiB: allocated on CUDA, else resident, of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return machine.peak_memory_mb()


def _it(line: str) -> float:
    """The iteration of a line, which may have been cut off as it was written."""
    try:
        return json.loads(line)["it"]
    except ValueError:
        return math.inf


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
