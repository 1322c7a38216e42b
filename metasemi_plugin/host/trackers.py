"""Weights & Biases and Aim, where they are asked for: the same curves as TensorBoard's."""

import argparse
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from metasemi_plugin.config.option import CALL_OPTIONS
from metasemi_plugin.errors import UserError

# Takes scalars by name, and the iteration that they are of.
Log = Callable[[Mapping[str, float], int], None]


@contextmanager
def tracking(args: argparse.Namespace, names: dict[str, str]) -> Iterator[list[Log]]:
    """A block in which a run is known to what ``use_wandb`` and ``use_aim`` name.

    Args:
        args: the resolved configuration.
        names: under which a run that is resumed is known there; those of a new one are put in.

    Raises:
        UserError: one of them cannot begin.
    """
    wanted = {"wandb": (args.use_wandb, _wandb), "aim": (args.use_aim, _aim)}
    with ExitStack() as begun:
        logs = []
        for name, (use, begin) in wanted.items():
            if use:
                try:
                    logs.append(begun.enter_context(begin(args, names)))
                except Exception as error:  # of a service, a file, a network
                    line = (str(error).splitlines() or [type(error).__name__])[0]
                    raise UserError(f"use_{name}: {line} Or leave use_{name} out") from error
        yield logs


@contextmanager
def _wandb(args: argparse.Namespace, names: dict[str, str]) -> Iterator[Log]:
    import wandb

    run = wandb.init(
        project=Path(args.save_dir).resolve().name,
        name=args.save_name,
        id=names.setdefault("wandb", uuid.uuid4().hex),
        resume="allow",
        config=_settings(args),
        dir=_folder(args, "wandb"),
    )
    try:
        yield lambda scalars, it: run.log(dict(scalars), step=it)
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


@contextmanager
def _aim(args: argparse.Namespace, names: dict[str, str]) -> Iterator[Log]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The ``declarative_base\(\)`` function")
        import aim

    run = aim.Run(
        run_hash=names.get("aim"),
        force_resume=True,  # nobody else is at it: the run folder is locked
        repo=_folder(args, "aim"),
        experiment=args.save_name,
        system_tracking_interval=None,
        capture_terminal_logs=False,
    )
    names["aim"] = run.hash
    run["hparams"] = _settings(args)

    def log(scalars: Mapping[str, float], it: int) -> None:
        for name, value in scalars.items():
            run.track(value, name=name, step=it)

    try:
        yield log
    finally:
        run.close()


def _settings(args: argparse.Namespace) -> dict[str, object]:
    return {key: value for key, value in vars(args).items() if key not in CALL_OPTIONS}


def _folder(args: argparse.Namespace, name: str) -> str:
    """Beside the run folder, where the host has it."""
    folder = Path(args.save_dir) / name / args.save_name
    os.makedirs(folder, exist_ok=True)
    return str(folder)
