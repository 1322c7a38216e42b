"""Where runs are made: here, as processes of this machine; cluster.py has another place."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from metasemi_plugin import machine
from metasemi_plugin.experiments.plan import STARTS, log_of
from metasemi_plugin.experiments.suite import Run


class Started(Protocol):
    """A run that is being made somewhere."""

    log: Path

    def ended(self) -> bool:
        """Whether it is over, one way or another."""

    def stop(self) -> None:
        """Ask it to stop; returns at once."""

    def wait(self, seconds: float) -> None:
        """Until it has stopped, and by force after so many seconds."""


class Executor(Protocol):
    """Where runs are made."""

    stays_in_queue: bool  # whether runs go on when this process ends

    def start(self, run: Run, step: str) -> Started:
        """Make a run; `step` is one of plan.STARTS."""


class Processes:
    """Each run is a process of this machine: ``python -m metasemi_plugin train ...``.

    The processors are divided among `jobs` of them, unless OMP_NUM_THREADS says otherwise.
    """

    stays_in_queue = False

    def __init__(self, jobs: int):
        self.environment = dict(os.environ)
        if jobs > 1:
            threads = str(max(1, machine.cpu_cores() // jobs))
            self.environment.setdefault("OMP_NUM_THREADS", threads)

    def start(self, run: Run, step: str) -> "_Process":
        words = ["-m", "metasemi_plugin", "train", *run.words, *(f"--{w}" for w in STARTS[step])]
        return _Process([sys.executable, *words], log_of(run.folder), self.environment)


class _Process:
    def __init__(self, command: list[str], log: Path, environment: dict[str, str]):
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                # Ctrl-C reaches this process alone, which hands it on.
                start_new_session=True,
                preexec_fn=_as_a_child if os.name == "posix" else None,
            )

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        for end in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                end()
        self.process.wait()


def _as_a_child() -> None:
    # Started in the background, this process ignores Ctrl-C; its children must not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        set_death_signal = 1
        # However this process ends, its runs end with it.
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGINT)


def stop(started: Iterable[Started], seconds: float = 30.0) -> None:
    """Stop runs, all at once."""
    started = list(started)
    for one in started:
        one.stop()
    for one in started:
        one.wait(seconds)
