"""Whether a run may have its folder."""

import argparse
from pathlib import Path

from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import layout
from metasemi_plugin.run_folder.lock import holder, in_use


def free(folder: Path, args: argparse.Namespace) -> None:
    """Whether a run may begin here, as far as can be told before it is locked."""
    if (pid := holder(folder)) is not None:
        raise in_use(folder, pid)
    claim(folder, args)


def claim(folder: Path, args: argparse.Namespace) -> bool:
    """Whether the run goes on from a checkpoint; else it starts afresh."""
    if args.resume and args.overwrite:
        raise UserError("--resume and --overwrite contradict each other; give one of them")
    there = bool(layout.contents(folder))
    if args.resume:
        if not layout.has_checkpoint(folder):
            instead = layout.start_over(folder, args) if there else "leave --resume out"
            raise UserError(
                f"--resume: there is no checkpoint {folder / layout.LATEST} to go on from: "
                f"{instead}"
            )
        return True
    obstacle = layout.obstacle(folder, args)
    if not there or (args.overwrite and obstacle is None):
        return False
    ways = ["--resume continues it"] if layout.has_checkpoint(folder) else []
    ways += [
        "--overwrite replaces it"
        if obstacle is None
        else f"--overwrite does not replace it, because it {obstacle}",
        "--save_name NAME takes another",
    ]
    raise UserError(f"the run folder {folder} exists; {', '.join(ways)}")
