"""From a configuration to a trained model in a run folder."""

import argparse
import copy
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from metasemi_plugin import random_numbers
from metasemi_plugin.config.yaml_files import write_yaml
from metasemi_plugin.data.notes import Notes
from metasemi_plugin.distributed.process_group import (
    from_first,
    noticing_an_end,
    restarted,
    together,
)
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.stopping import stopping_on_signals
from metasemi_plugin.run_folder import checkpoint, files, layout
from metasemi_plugin.run_folder.claim import claim, free
from metasemi_plugin.run_folder.extension import restarts_of
from metasemi_plugin.run_folder.lock import locked
from metasemi_plugin.run_folder.results import summarize


def run(args: argparse.Namespace) -> dict:
    """Train and evaluate the run that ``args`` describes; returns its summary.

    The run folder ``save_dir/save_name`` gets config.yaml, log.txt, tensorboard/, latest_model.pth,
    previous_model.pth, model_best.pth, and the record: run.json, metrics.jsonl and split.npz. Of
    several processes rank 0 alone reads and writes it. Processes that torchrun has started once
    more go on from the latest checkpoint, or start over, whatever resume and overwrite say.

    Raises:
        UserError: the folder exists and neither resume nor overwrite says what to do with it, it
            cannot be written, another process is at it, no checkpoint can be used, the
            configuration does not fit the data or the backbone, the training diverges or has too
            many bad steps, or another process of the run has ended.
        Interrupted: SIGINT or SIGTERM came, and the run has been saved.
    """
    from metasemi_plugin.host.bad_steps import require_few
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device
    from metasemi_plugin.host.saving import say

    folder = Path(args.save_dir) / args.save_name
    if restarted():
        args.resume = from_first(lambda: layout.has_checkpoint(folder))
        args.overwrite = not args.resume
    from_first(lambda: free(folder, args))
    args.lr_restarts = from_first(lambda: restarts_of(folder, args))
    random_numbers.seed_all(args.seed)
    logger = logging.Logger("metasemi_plugin.run")
    own = copy.copy(args)  # what the data decide is no setting
    with no_host_warnings(), ExitStack() as held:
        # Built before anything is written or deleted: bad input must not cost a run.
        algorithm = together(lambda: on_device(own.algorithm)(own, net_builder(own), None, logger))
        from_first(lambda: held.enter_context(locked(folder)))
        # Again, as another run may have been here in the meantime.
        resumed = from_first(lambda: claim(folder, args))
        fallback = checkpoint.load(algorithm, folder) if resumed else None
        from_first(lambda: _begin(folder, args, algorithm, resumed, held))
        with _noted(algorithm.run_state.record, logger, folder):
            if fallback:
                say(algorithm, fallback)
            announce(algorithm)
            with stopping_on_signals(algorithm.run_state), noticing_an_end(algorithm):
                algorithm.train()
            require_few(algorithm)
        return from_first(lambda: _finish(folder, algorithm))


def _begin(
    folder: Path, args: argparse.Namespace, algorithm, resumed: bool, held: ExitStack
) -> None:
    """Begin the record in a folder that is this run's, and locked."""
    from metasemi_plugin.host.curves import Curves, quiet_writers
    from metasemi_plugin.host.trackers import tracking
    from metasemi_plugin.run_folder.record import RunRecord

    names = layout.recorded(folder).get("trackers", {}) if resumed else {}
    logs = held.enter_context(tracking(args, names))
    held.enter_context(quiet_writers())
    with files.writable(folder):
        if not resumed:
            layout.clear(folder)
        if not resumed or args.num_train_iter > layout.recorded(folder).get("num_train_iter", 0):
            write_yaml(args, folder / layout.CONFIG)
        record = algorithm.run_state.record = RunRecord(folder, args, algorithm)
        record.run["trackers"] = names
        algorithm.tb_log = Curves(folder, args.use_tensorboard, logs)
        record.begin()


def _finish(folder: Path, algorithm) -> dict:
    with files.writable(folder):
        return summarize(algorithm.run_state.record.write("complete", algorithm.it), folder)


@contextmanager
def _noted(record, logger: logging.Logger, folder: Path) -> Iterator[None]:
    """A block of which the log tells, and the record how it ended; of rank 0 alone."""
    if record is None:
        yield
        return
    with _log_file(logger, folder / layout.LOG), _end_noted(record):
        yield


@contextmanager
def _end_noted(record) -> Iterator[None]:
    """The record of a run that ends before its time says why, if it can be written."""
    try:
        yield
    except BaseException as error:
        lines = str(error).splitlines() or [""]
        what = lines[0] if isinstance(error, UserError) else f"{type(error).__name__}: {lines[0]}"
        ordered = isinstance(error, KeyboardInterrupt | SystemExit)
        status = "interrupted" if ordered else "failed"
        with suppress(OSError):
            record.write(status, record.run["iterations"], None if ordered else what)
        raise


def announce(algorithm) -> None:
    """What is about to be trained, on the screen and in the log."""
    from metasemi_plugin.host.saving import say

    args, parts = algorithm.args, algorithm.dataset_dict
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts.items() if part is not None)
    weights = sum(p.numel() for p in algorithm.model.parameters())
    line = (
        f"{args.algorithm} on {args.dataset} ({sizes} images), "
        f"{args.net} ({weights:,} parameters), {algorithm.device}, "
        f"seed {args.seed}, iterations {algorithm.it} to {args.num_train_iter}"
    )
    lines = [line, *getattr(parts["train_lb"], "notes", Notes()).lines()]
    if algorithm.begun_with:
        lines.append(algorithm.begun_with)
    if args.batch_size > (labeled := len(parts["train_lb"])):
        lines.append(
            f"batch_size {args.batch_size} is more than the {labeled} labeled images: some are "
            "in a batch twice, differently augmented"
        )
    for line in lines:
        say(algorithm, line)


@contextmanager
def _log_file(logger: logging.Logger, path: Path):
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """Where the disk is full, lines are lost; what else could not be saved is reported."""

    def handleError(self, record):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


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
