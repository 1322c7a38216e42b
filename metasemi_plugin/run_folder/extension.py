"""Training on: a run that is complete goes on with --resume and a larger num_train_iter."""

import argparse
from pathlib import Path

from metasemi_plugin.errors import UserError
from metasemi_plugin.run_folder import layout


def restarts_of(folder: Path, args: argparse.Namespace) -> str:
    """``lr_restarts`` of a run that goes on, or begins: as given, or as the folder has it by now.

    Raises:
        UserError: the run cannot be trained on.
    """
    if args.extend and not args.resume:
        raise UserError("--extend goes with --resume, which names the run to train on")
    record = layout.recorded(folder) if args.resume else {}
    config = record.get("config", {})
    known = config.get("lr_restarts", "")
    ended = config.get("num_train_iter", args.num_train_iter)
    if args.num_train_iter <= ended:
        return args.lr_restarts or known
    if record["status"] != "complete":
        raise UserError(
            f"--resume: {folder} has not come to its end, iteration {ended}: resume it with "
            f"--c {folder / layout.CONFIG} first, then train on"
        )
    if not args.extend and (config["scheduler"] != "constant" or config["num_warmup_iter"]):
        raise UserError(
            f"--resume: the learning rate of {folder} had a schedule, which has ended with "
            f"iteration {ended}: add --extend to train on to {args.num_train_iter} with a new one"
        )
    if args.num_train_iter - ended <= args.num_warmup_iter:
        raise UserError(
            f"--extend: num_warmup_iter {args.num_warmup_iter} leaves nothing of the iterations "
            f"{ended} to {args.num_train_iter}"
        )
    return _joined(known, ended)


def unextended(begun: dict, now: dict) -> dict:
    """Settings ``now``, but for what training on a run has changed that was begun with others."""
    before = {key: begun.get(key, "") for key in ("lr_restarts", "num_train_iter")}
    return now | before if now.get("lr_restarts") == _joined(*before.values()) else now


def _joined(restarts: str, one_more: int) -> str:
    return ",".join(filter(None, (restarts, str(one_more))))
