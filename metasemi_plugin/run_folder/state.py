"""What a run has come to, beside its nets and its optimizer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metasemi_plugin.run_folder.record import RunRecord


@dataclass
class RunState:
    """``algorithm.run_state``, of each process.

    Attributes:
        record: of a run in a folder, on rank 0.
        resumed: "record", "random" and "teacher" of the checkpoint it goes on from, or {}.
        history: one entry per evaluation: "it", and the errors on "eval" and "test" in percent.
        bad: the loss or gradient of the step under way was not finite.
        bad_steps, bad_in_a_row: how many were until now, and of the last ones.
        stop_requested, stopping: this process is to stop; all of them are, after this step.
        saved_at: the latest checkpoint and its iteration.
        statistics_seconds: spent on recomputing BatchNorm's statistics.
    """

    record: RunRecord | None = None
    resumed: dict[str, Any] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    bad: bool = False
    bad_steps: int = 0
    bad_in_a_row: int = 0
    stop_requested: bool = False
    stopping: bool = False
    saved_at: tuple[Path, int] | None = None
    statistics_seconds: float = 0.0
