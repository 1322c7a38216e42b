"""What there is still to do for a run, judged by what is in its folder."""

import argparse
import json
from collections.abc import Iterable, Set
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.config.options import NEUTRAL
from metasemi_plugin.config.resolve import options
from metasemi_plugin.errors import UserError
from metasemi_plugin.experiments.suite import Run
from metasemi_plugin.run_folder import layout
from metasemi_plugin.run_folder.lock import holder
from metasemi_plugin.run_folder.status import status

# Where and how a run is made. It may be resumed elsewhere; but a complete one on other data or
# another device is another run, unless it was made on another machine.
ELSEWHERE = {*NEUTRAL, *CALL_OPTIONS}
PLACES = ELSEWHERE - {"data_dir", "device", "gpu"}
# Steps that start a process, with the option of a run that each is.
STARTS: dict[str, dict[str, bool]] = {
    "train": {},
    "resume": {"resume": True},
    "start over": {"overwrite": True},
}


class Step(NamedTuple):
    """`what` is one of STARTS, or "done", "wait" (another process is at it), "refuse"."""

    what: str
    why: str = ""


def next_step(run: Run, overwrite: bool = False) -> Step:
    """What to do for a run to become complete.

    Args:
        run: one of a suite.
        overwrite: start over where something else is in the way.
    """
    folder, record = run.folder, layout.recorded(run.folder)
    if pid := holder(folder):
        return Step("wait", f"process {pid} is at it")
    if not layout.contents(folder):
        return Step("train")
    state = status(folder, record)
    other = differing(record.get("config", {}), run.args) if record else []
    if record and not other:
        if state == "complete":
            return Step("done")
        if layout.has_checkpoint(folder):
            return Step("resume", f"{state} after iteration {record['iterations']}")
    if obstacle := layout.obstacle(folder, run.args):
        return Step(
            "refuse", f"{folder} {obstacle}: move it away, or make new runs with --name NAME"
        )
    if state == "damaged":
        why = f"{folder / layout.RUN} is damaged"
    elif other:
        why = f"{folder} was made with other settings: {', '.join(other)}"
    else:
        state = "cut off" if state == "missing" else state
        return Step("start over", f"{state} before its first checkpoint")
    if overwrite:
        return Step("start over", why)
    return Step("refuse", f"{why}: --overwrite replaces it, --name NAME makes new runs")


def differing(recorded: dict, args: argparse.Namespace, places: Set[str] = PLACES) -> list[str]:
    """The settings, with both values, by which a recorded run is not the one of ``args``.

    Those of ``places`` do not count.
    """
    known = options(args.algorithm)
    # An option that is younger than the record has had its default then.
    recorded = {key: option.default for key, option in known.items()} | recorded
    wanted = json.loads(json.dumps({key: getattr(args, key) for key in vars(args) if key in known}))
    keys = sorted(key for key in recorded.keys() | wanted.keys() if key not in places)
    return [
        f"{key} ({recorded.get(key)}, now {wanted.get(key)})"
        for key in keys
        if recorded.get(key) != wanted.get(key)
    ]


def chosen(recorded: dict, algorithm: str) -> dict[str, object]:
    """What of a record's settings is not at its default and holds on any machine."""
    known = options(algorithm)
    return {
        key: value
        for key, value in recorded.items()
        if key not in ELSEWHERE and not (key in known and known[key].default == value)
    }


def refuse(steps: Iterable[Step]) -> None:
    """Stop if something is in the way of a run.

    Raises:
        UserError: names all that is.
    """
    problems = [step.why for step in steps if step.what == "refuse"]
    if problems:
        raise UserError("\n".join(problems))


def log_of(folder: Path) -> Path:
    """Where the messages of a run go, beside its folder."""
    return folder.with_name(folder.name + ".log")
