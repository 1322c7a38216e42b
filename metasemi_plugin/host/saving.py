"""The hook that saves: metrics, checkpoints and the record, when they are due."""

import shlex
import time

import torch
from semilearn.core.hooks import Hook

from metasemi_plugin.distributed import process_group
from metasemi_plugin.errors import Interrupted, UserError
from metasemi_plugin.host import bad_steps
from metasemi_plugin.host.datasets import normalization
from metasemi_plugin.model import folder
from metasemi_plugin.model.description import Description
from metasemi_plugin.run_folder import checkpoint, files, layout


class RecordHook(Hook):
    """In place of the host's CheckpointHook, and the record beside it, after every other hook.

    A line is written before the checkpoint: one too many is dropped by a resume, which could not
    make up for one too few. The best is written before the latest for the same reason.

    Of several processes rank 0 has the record, and writes.
    """

    def before_run(self, algorithm):
        self.saved_last = time.monotonic()
        self.failed = False

    def after_train_step(self, algorithm):
        state, done = algorithm.run_state, algorithm.it + 1
        record = state.record
        if record is None:
            state.log.lines.clear()
        else:
            evaluated = bool(state.history) and state.history[-1]["it"] == done
            due = self.due(algorithm, evaluated)
            if due:
                bad_steps.read_log(algorithm)
            record.log(evaluated)
            best = evaluated and algorithm.best_it == algorithm.it
            if evaluated or due:
                self.write(algorithm, best, due)
            record.last = time.perf_counter()
        if state.stopping and not algorithm.at_the_end():
            raise Interrupted(process_group.from_first(lambda: self.stopped(algorithm)))

    def due(self, algorithm, evaluated: bool) -> bool:
        """Whether to save the latest checkpoint now."""
        iterations, minutes = algorithm.args.num_save_iter, algorithm.args.save_minutes
        if algorithm.run_state.stopping or algorithm.at_the_end():
            return True
        if iterations is None and minutes is None:
            return evaluated
        waited = (time.monotonic() - self.saved_last) / 60
        return (minutes is not None and waited >= minutes) or (
            iterations is not None and self.every_n_iters(algorithm, iterations)
        )

    def write(self, algorithm, best: bool, due: bool) -> None:
        """Metrics, checkpoints and record, as far as the disk lets them; the training goes on.

        Raises:
            UserError: the weights are not finite, or the disk has failed at the last iteration.
        """
        state = algorithm.run_state
        record = state.record
        try:
            record.write_lines()
            if best or due:
                content = checkpoint.to_bytes(finite(algorithm, algorithm.get_save_dict()))
                if best:
                    files.replace(record.folder / layout.BEST, content)
                if best or (algorithm.at_the_end() and algorithm.chosen_on == "test"):
                    write_model(algorithm)
                if due:
                    checkpoint.write_latest(record.folder, content)
                    state.saved_at = record.folder / layout.LATEST, algorithm.it + 1
                    self.saved_last = time.monotonic()
            record.write("running", algorithm.it + 1)
        except OSError as error:
            what = f"cannot save to {record.folder} ({error.strerror or error})"
            if algorithm.at_the_end():
                saved = state.saved_at is not None
                then = "go on from there with --resume" if saved else "start over with --overwrite"
                raise UserError(
                    f"{what} at the end of the training. {bad_steps.last_good(algorithm)} Make "
                    f"room or mend the permissions, then {then}"
                ) from error
            if not self.failed:
                say(algorithm, f"{what}: the training goes on, and tries again at each interval")
            self.failed = True
        else:
            if self.failed:
                say(algorithm, f"saved to {record.folder} again, iteration {algorithm.it + 1}")
            self.failed = False

    def stopped(self, algorithm) -> str:
        """How to go on with a run that was asked to stop, and has been saved.

        Raises:
            UserError: it could not be saved at all.
        """
        state = algorithm.run_state
        if state.saved_at is None:
            raise UserError("stopped, but nothing could be saved: the run starts over next time")
        _, iteration = state.saved_at
        config = state.record.folder / layout.CONFIG
        return (
            f"stopped and saved at iteration {iteration}; resume with: "
            f"python -m metasemi_plugin train --c {shlex.quote(str(config))} --resume"
        )


def write_model(algorithm) -> None:
    """The evaluated net as the run's model.

    Where there are validation images it is the best on them. Where there are none, the best on
    test images would flatter itself: it only stands in until the end, and is the last one then.
    """
    args, state = algorithm.args, algorithm.run_state
    last = algorithm.chosen_on == "test" and algorithm.at_the_end()
    best = f"the best until then on {algorithm.chosen_on} images"
    mean, std = normalization(algorithm.dataset_dict["train_lb"])
    errors = {"eval": algorithm.chosen_on, "test": "test"}
    scores = state.history[-1]
    run = {key: getattr(args, key) for key in _OF_RUN} | {
        "iteration": scores["it"],
        "errors": {name: scores[part] for part, name in errors.items() if part in scores},
        "confusion": {name: table.tolist() for name, table in state.confusion.items()},
        "course": [[then["it"], then["eval"]] for then in state.history],
    }
    description = Description(
        net=args.net,
        net_args=args.net_args,
        channels_last=algorithm.image_format is torch.channels_last,
        classes=algorithm.class_names,
        img_size=args.img_size,
        channels=len(mean),
        mean=mean,
        std=std,
        resize=args.resize,
        ranges=state.record.run["data"]["ranges"],
        run=run,
        chosen="the last" if last else best,
        versions=state.record.run["versions"],
    )
    folder.write(state.record.folder, algorithm.ema_model.state_dict(), description)


_OF_RUN = ("algorithm", "dataset", "num_labels", "seed", "num_train_iter")


def finite(algorithm, saved: dict) -> dict:
    """``saved``, if its nets and optimizer are finite: nothing else may get into a checkpoint.

    Raises:
        UserError: they are not.
    """
    kept = [saved["model"], saved["ema_model"], *saved["optimizer"]["state"].values()]
    tensors = (t for part in kept for t in part.values() if isinstance(t, torch.Tensor))
    if not all(bool(t.isfinite().all()) for t in tensors):
        raise bad_steps.diverged(algorithm, algorithm.it, "in the weights themselves")
    return saved


def say(algorithm, line: str) -> None:
    """On the screen and in the log."""
    algorithm.print_fn(line)
    print(line, flush=True)
