"""Runs as jobs of a cluster, through submitit: they give up their place when asked to, are queued
again, and go on from their last checkpoint.
"""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metasemi_plugin.errors import Interrupted, UserError
from metasemi_plugin.experiments.plan import STARTS, next_step
from metasemi_plugin.experiments.suite import Run

KINDS = ("local", "slurm")
# What submitit calls some of Slurm's options, which it then also knows for other executors.
_NAMES = {"time": "timeout_min", "gpus": "gpus_per_node", "cpus": "cpus_per_task", "mem": "mem_gb"}
_DEFAULTS = {"timeout_min": 240, "stderr_to_stdout": True}
# How often a job that runs out of its time is queued again.
_TIMEOUTS = 1000
_UNTIL_SIGNAL = 20.0  # seconds


class Training:
    """A run as a job; submitit pickles it."""

    def __init__(self, run: Run, overwrite: bool):
        self.run, self.overwrite = run, overwrite

    def __call__(self) -> None:
        from metasemi_plugin import register, train

        register()
        step = next_step(self.run, self.overwrite)
        if step.what != "done":
            options = self.run.options | STARTS.get(step.what, {})
            try:
                train(str(self.run.config), **options)
            except Interrupted:
                # Slurm sends SIGTERM first, and a moment later the signal that submitit answers
                # by queueing the job again; without it, the job is to end.
                time.sleep(_UNTIL_SIGNAL)
                raise

    def checkpoint(self):
        """Called by submitit when the job has to make room: the same again, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Training(self.run, overwrite=False))


class Jobs:
    """Each run is a job; Slurm's stay in the queue when this process ends.

    Args:
        kind: "slurm", or "local" for submitit's own processes on this machine.
        options: of Slurm, as sbatch names them: "time" in minutes, "gpus", "cpus", "mem" in GB,
            "partition", "account" and so on.

    Raises:
        UserError: submitit or Slurm is not there, or does not know an option.
    """

    def __init__(self, kind: str, options: Mapping[str, str]):
        try:
            import submitit
        except ImportError:
            raise UserError(
                "--executor needs submitit: pip install 'metasemi-plugin[slurm]'"
            ) from None
        self.submitit, self.kind = submitit, kind
        self.parameters = _DEFAULTS | {_name(k): _number(v) for k, v in options.items()}
        self.stays_in_queue = kind == "slurm"
        self._executor(Path(), "test")

    def start(self, run: Run, step: str) -> "_Job":
        note = run.folder.with_name(run.folder.name + ".job")
        job = self._queued(note) if self.stays_in_queue else None
        if job is None:
            executor = self._executor(run.folder.parent / "jobs", run.args.save_name)
            job = executor.submit(Training(run, overwrite=step == "start over"))
            note.write_text(job.job_id, encoding="ascii")
        return _Job(job, self.stays_in_queue)

    def _executor(self, folder: Path, name: str):
        limits = {f"{kind}_max_num_timeout": _TIMEOUTS for kind in KINDS}
        try:
            executor = self.submitit.AutoExecutor(folder, cluster=self.kind, **limits)
            executor.update_parameters(name=name, **self.parameters)
        except (AssertionError, NameError, RuntimeError, ValueError) as error:
            raise UserError(f"--executor {self.kind}: {str(error).splitlines()[0]}") from error
        return executor

    def _queued(self, note: Path):
        """The job that an earlier call has queued for the run and that is still alive, or None."""
        if not note.exists():
            return None
        job: Any = self.submitit.SlurmJob(note.parent / "jobs", note.read_text(encoding="ascii"))
        state = job.watcher.get_state(job.job_id, mode="force")
        return None if state == "UNKNOWN" or job.done() else job


class _Job:
    def __init__(self, job, stays_in_queue: bool):
        self.job, self.stays_in_queue = job, stays_in_queue
        self.log = job.paths.stdout

    def ended(self) -> bool:
        return self.job.done()

    def stop(self) -> None:
        if not self.stays_in_queue:
            self.job.cancel(check=False)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.stays_in_queue and not self.ended() and time.monotonic() < end:
            time.sleep(0.1)


def _name(option: str) -> str:
    return _NAMES.get(option, f"slurm_{option}")


def _number(value: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value
