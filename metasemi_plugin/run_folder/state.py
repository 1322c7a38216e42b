"""What a run has come to, beside its nets and its optimizer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasemi_plugin.run_folder.record import RunRecord
from metasemi_plugin.run_folder.step_log import StepLog


@dataclass
class RunState:
    """``algorithm.run_state``, of each process.

    Attributes:
        record: of a run in a folder, on rank 0.
        resumed: "record", "random" and "teacher" of the checkpoint it goes on from, or {}.
        history: one entry per evaluation: "it", and the errors on "eval" and "test" in percent.
        confusion: of the latest evaluation, on "validation" and "test": see `host.hooks.confusion`.
        finite: whether loss and gradient of the step under way are, (), on the device.
        logged: what that step logs, `step_log.packed`.
        log: of the steps until now.
        bad_steps, bad_in_a_row: how many were until now, and of the last ones.
        stop_requested, stopping: this process is to stop; all of them are, after this step.
        saved_at: the latest checkpoint and its iteration.
        statistics_seconds: spent on recomputing BatchNorm's statistics.
    """

    record: RunRecord | None = None
    resumed: dict[str, Any] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    confusion: dict[str, np.ndarray] = field(default_factory=dict)
    finite: Tensor = field(default_factory=lambda: torch.tensor(True))
    logged: tuple[list[str], Tensor] = field(default_factory=lambda: ([], torch.ones(1)))
    log: StepLog = field(default_factory=StepLog)
    bad_steps: int = 0
    bad_in_a_row: int = 0
    stop_requested: bool = False
    stopping: bool = False
    saved_at: tuple[Path, int] | None = None
    statistics_seconds: float = 0.0
