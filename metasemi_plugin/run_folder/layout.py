"""What a run writes into its folder; nothing else is ever deleted."""

import argparse
import json
from pathlib import Path

LOCK, CONFIG, LOG, CURVES = ".lock", "config.yaml", "log.txt", "tensorboard"
RUN, METRICS, SPLIT = "run.json", "metrics.jsonl", "split.npz"
LATEST, PREVIOUS, BEST = "latest_model.pth", "previous_model.pth", "model_best.pth"
UNUSABLE = f"{LATEST}.unusable"
MODEL = "model"
WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "model.json", "README.md"
NEW_WEIGHTS = f"{WEIGHTS}.new"
_OF_MODEL = {WEIGHTS, DESCRIPTION, CARD, NEW_WEIGHTS}
# What the command evaluate leaves.
EVALUATION = "evaluation"
_OF_EVALUATION = {"evaluation.json", "confusion.csv", "confusion.png", "per_class.csv",
                  "calibration.csv", "reliability.png", "error_by_confidence.csv",
                  "error_by_confidence.png"}  # fmt: skip
_FILES = {LOCK, CONFIG, LOG, RUN, METRICS, SPLIT, LATEST, PREVIOUS, BEST, UNUSABLE}
# What there is of a run that was cut off before its record was written.
_BEFORE_RECORD = {CONFIG, SPLIT, METRICS, CURVES, f"{RUN}.part"}


def recorded(folder: Path) -> dict:
    """run.json; {} where it is missing or damaged."""
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return run if isinstance(run, dict) else {}


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder has anything to go on from, usable or not."""
    return any((folder / name).exists() for name in (LATEST, PREVIOUS))


def contents(folder: Path) -> set[str]:
    """Names of what is in a folder, but for a lock; none where there is no folder."""
    return {path.name for path in folder.iterdir()} - {LOCK} if folder.is_dir() else set()


def obstacle(folder: Path, args: argparse.Namespace) -> str | None:
    """Why the folder must not be replaced, a clause after its name; None where it may be."""
    whole = folder.resolve()
    data = Path(args.data_dir).resolve()
    for name, place in (("data_dir", data), ("working directory", Path.cwd())):
        if place.is_relative_to(whole):
            return f"is or holds the {name} {place}"
    if whole.is_relative_to(data):
        return f"lies within the data_dir {data}"
    names = contents(folder)
    foreign = sorted(name for name in names if not _written(folder / name))
    if foreign:
        return f"holds what no run writes ({', '.join(foreign[:3])}{', ...' * (len(foreign) > 3)})"
    unknown = {name for name in names if not {name, name.removesuffix(".part")} & _BEFORE_RECORD}
    cut_off = not unknown and (folder / LOCK).exists()
    if names and not {CONFIG, RUN} <= names and not cut_off:
        return f"is no run folder, as {CONFIG} and {RUN} are not both there"
    return None


def start_over(folder: Path, args: argparse.Namespace) -> str:
    """What to do about a run that cannot go on."""
    free = obstacle(folder, args) is None
    return "start over with --overwrite" if free else "take another --save_name"


def clear(folder: Path) -> None:
    """Delete what a run has written, but for the lock, which is held.

    What makes it a run folder goes last, so that a run that is killed meanwhile can be replaced.
    """
    last = [RUN, CONFIG]
    others = [path for path in folder.iterdir() if path.name not in last]
    for path in (*others, *(folder / name for name in last if (folder / name).exists())):
        if path.name == LOCK or not _written(path):
            continue
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        else:
            path.unlink()


def _written(path: Path) -> bool:
    """Whether a run writes such a file or folder."""
    if path.is_symlink():
        return False
    if path.name == CURVES:
        return path.is_dir() and all(_is_curve(file) for file in path.iterdir())
    if of_folder := {MODEL: _OF_MODEL, EVALUATION: _OF_EVALUATION}.get(path.name):
        return path.is_dir() and all(_is_one(file, of_folder) for file in path.iterdir())
    return path.name.removesuffix(".part") in _FILES and path.is_file()


def _is_curve(file: Path) -> bool:
    return file.name.startswith("events.out.tfevents.") and file.is_file()


def _is_one(file: Path, names: set[str]) -> bool:
    return file.name.removesuffix(".part") in names and file.is_file()
