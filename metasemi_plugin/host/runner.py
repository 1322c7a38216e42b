"""From a configuration to a trained model in a run folder."""

import argparse
import copy
import json
import logging
import os
import shutil
import statistics
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from metasemi_plugin import random_numbers
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import write_yaml


def run(args: argparse.Namespace) -> dict:
    """Train and evaluate the run that ``args`` describes; returns its summary.

    The run folder ``save_dir/save_name`` gets config.yaml, log.txt, tensorboard/, latest_model.pth,
    model_best.pth and summary.json.

    Raises:
        UserError: the folder exists and neither resume nor overwrite says what to do with it, or
            the configuration does not fit the data or the backbone.
    """
    from semilearn.core.utils import TBLog

    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device

    folder = Path(args.save_dir) / args.save_name
    checkpoint = _claim(folder, args)
    random_numbers.seed_all(args.seed)
    logger = logging.Logger("metasemi_plugin.run")
    with no_host_warnings():
        # Built before anything is written or deleted: bad input must not cost a run.
        algorithm = on_device(args.algorithm)(copy.copy(args), net_builder(args), None, logger)
        if checkpoint is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_yaml(args, folder / "config.yaml")
        else:
            algorithm.load_model(checkpoint)
        algorithm.tb_log = TBLog(str(folder), "tensorboard", args.use_tensorboard)
        with _log_file(logger, folder / "log.txt"):
            announce(algorithm)
            started = time.perf_counter()
            algorithm.train()
    summary = summarise(algorithm, time.perf_counter() - started)
    _write_json(summary, folder / "summary.json")
    return summary


def announce(algorithm) -> None:
    """One line on what is about to be trained, on the screen and in the log."""
    args, parts = algorithm.args, algorithm.dataset_dict
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part is not None)
    weights = sum(p.numel() for p in algorithm.model.parameters())
    line = (
        f"{args.algorithm} on {args.dataset} ({sizes} images), "
        f"{args.net} ({weights:,} parameters), {algorithm.device}, "
        f"seed {args.seed}, iterations {algorithm.it} to {args.num_train_iter}"
    )
    algorithm.print_fn(line)
    print(line, flush=True)


def summarise(algorithm, seconds: float) -> dict:
    """What a run came to: errors in percent, on test if there is one, chosen on eval."""
    history, args = algorithm.history, algorithm.args
    scored_on = "test" if "test" in history[-1] else "eval"
    best = min(history, key=lambda scores: scores["eval"])
    return {
        "algorithm": args.algorithm,
        "dataset": args.dataset,
        "num_labels": args.num_labels,
        "seed": args.seed,
        "iterations": algorithm.it,
        "chosen_on": "validation" if scored_on == "test" else "test",
        "last_error": history[-1][scored_on],
        "best_error": best[scored_on],
        "best_iteration": best["it"],
        "median_last_20_error": statistics.median(scores[scored_on] for scores in history[-20:]),
        "seconds": round(seconds, 1),
        "folder": str(Path(args.save_dir) / args.save_name),
    }


def _claim(folder: Path, args: argparse.Namespace) -> Path | None:
    """The checkpoint to go on from, or None for a fresh start."""
    checkpoint = folder / "latest_model.pth"
    if args.resume and args.overwrite:
        raise UserError("--resume and --overwrite contradict each other; give one of them")
    if args.resume:
        if not checkpoint.exists():
            raise UserError(f"--resume: there is no checkpoint {checkpoint} to go on from")
        return checkpoint
    if folder.exists() and not args.overwrite:
        raise UserError(
            f"the run folder {folder} exists; --resume continues it, --overwrite replaces it, "
            f"--save_name NAME takes another"
        )
    return None


def _write_json(content: dict, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


@contextmanager
def _log_file(logger: logging.Logger, path: Path):
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def no_host_warnings():
    """Without the warnings that semilearn's own code gives on any run; others come through."""
    with warnings.catch_warnings():
        for message in (
            r"`torch.cuda.amp.(GradScaler|autocast)\(args...\)` is deprecated",
            r"torch.cuda.amp.GradScaler is enabled, but CUDA is not available",
        ):
            warnings.filterwarnings("ignore", message)
        yield
