"""Make the runs of a suite that are missing, several at a time, and show how far they are."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from metasemi_plugin.experiments.executors import Executor, Started, stop
from metasemi_plugin.experiments.plan import STARTS, log_of, next_step
from metasemi_plugin.experiments.suite import Run
from metasemi_plugin.run_folder.layout import recorded
from metasemi_plugin.run_folder.status import latest_error


class Failure(NamedTuple):
    """A run that did not become complete."""

    run: Run
    why: str
    log: Path


def execute(
    runs: Sequence[Run],
    executor: Executor,
    jobs: int,
    overwrite: bool = False,
    every: float = 0.5,
) -> list[Failure]:
    """Make all runs that are not complete.

    Args:
        runs: of a suite.
        executor: where.
        jobs: how many at a time.
        overwrite: replace what was made with other settings.
        every: seconds between two looks at them.

    Returns:
        Those that failed. One that fails does not stop the others.

    Raises:
        KeyboardInterrupt: after all runs under way have stopped; calling again goes on.
    """
    waiting = list(runs)
    active: list[tuple[Run, Started]] = []
    failures: list[Failure] = []
    with Progress(runs) as progress:
        try:
            while waiting or active:
                for run in waiting.copy():
                    if len(active) == jobs:
                        break
                    step = next_step(run, overwrite)
                    if step.what == "wait":
                        continue
                    waiting.remove(run)
                    if step.what in STARTS:
                        progress.say(f"{step.what}: {run}")
                        active.append((run, executor.start(run, step.what)))
                        progress.began(run)
                    elif step.what == "refuse":  # what came in the way since this began
                        failures.append(Failure(run, step.why, log_of(run.folder)))
                for run, started in active.copy():
                    if started.ended():
                        active.remove((run, started))
                        if failure := _failure(run, started.log):
                            failures.append(failure)
                        progress.ended(run, failure)
                progress.look()
                if waiting or active:
                    time.sleep(every)
        except KeyboardInterrupt:
            what = "left in the queue" if executor.stays_in_queue else "stopping"
            progress.say(f"{what}: {len(active)} runs ...")
            stop(started for _, started in active)
            raise
    return failures


def _failure(run: Run, log: Path) -> Failure | None:
    record = recorded(run.folder)
    if record.get("status") == "complete":
        return None
    why = record.get("error")
    if why is None:  # before there was a record, or killed
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        why = lines[-1] if lines else "it left no message"
    return Failure(run, why, log)


class Progress:
    """A bar over the iterations of all runs and one of each under way, with its error.

    Where there is no terminal, plain lines.
    """

    def __init__(self, runs: Sequence[Run]):
        self.runs = list(runs)
        self.total = sum(run.args.num_train_iter for run in runs)
        self.iterations = [0] * len(runs)
        self.errors: list[str] = [""] * len(runs)
        self.complete: set[int] = set()
        self.under_way: dict[int, tqdm] = {}
        self.refresh()
        self.before, self.started = sum(self.iterations), time.perf_counter()
        self.looked = self.started
        self.bar = _bar(self.total, self.before, self.count())

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.look(now=True)
        for bar in (*self.under_way.values(), self.bar):
            bar.close()

    def refresh(self) -> None:
        """Read how far the runs are that are not complete."""
        for i, run in enumerate(self.runs):
            if i not in self.complete:
                record = recorded(run.folder)
                self.iterations[i] = min(record.get("iterations", 0), run.args.num_train_iter)
                if error := latest_error(record):
                    self.errors[i] = f"{error[1]} error {error[0]:.2f} %"
                if record.get("status") == "complete":
                    self.complete.add(i)

    def look(self, now: bool = False) -> None:
        """Move the bars, once in a second or `now`."""
        if now or time.perf_counter() - self.looked > 1:
            self.refresh()
            self.looked = time.perf_counter()
            self.bar.set_description(self.count(), refresh=False)
            self.bar.n = sum(self.iterations)
            self.bar.refresh()
            for i, bar in self.under_way.items():
                bar.set_postfix_str(self.errors[i], refresh=False)
                bar.n = self.iterations[i]
                bar.refresh()

    def began(self, run: Run) -> None:
        """A run is under way."""
        i = self.runs.index(run)
        self.under_way[i] = _bar(run.args.num_train_iter, self.iterations[i], str(run))

    def ended(self, run: Run, failure: Failure | None) -> None:
        """Say what a run came to."""
        self.look(now=True)
        i = self.runs.index(run)
        self.under_way.pop(i).close()
        if failure is None:
            took = tqdm.format_interval(recorded(run.folder)["seconds"])
            what = f"complete: {run}: {self.errors[i]} in {took}"
        else:
            what = f"failed: {run}: {failure.why}"
        self.say(f"{what}  [{self.count()}, {self.left()} left]")

    def count(self) -> str:
        """How many runs are complete."""
        return f"{len(self.complete)}/{len(self.runs)} runs"

    def left(self) -> str:
        """Time until all is done, by the iterations made since this began."""
        now = sum(self.iterations)
        if now == self.before:
            return "?"
        seconds = (time.perf_counter() - self.started) / (now - self.before)
        return tqdm.format_interval(seconds * (self.total - now))

    def say(self, line: str) -> None:
        """Above the bar, if there is one."""
        tqdm.write(line)
        sys.stdout.flush()


def _bar(total: int, initial: int, what: str) -> tqdm:
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit="it",
        smoothing=0,
        leave=False,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
