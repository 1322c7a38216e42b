"""There Are Many Consistent Explanations of Unlabeled Data: Why You Should Average."""

import math
from typing import NamedTuple

import torch
from semilearn.algorithms.meanteacher.meanteacher import MeanTeacher
from semilearn.core.hooks import Hook
from torch.optim.lr_scheduler import LambdaLR

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.config.restarts import first_part
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.teacher import Teacher


class FastSWA(MeanTeacher):
    """fast-SWA (Athiwaratkun et al., ICLR 2019, arXiv:1806.05594), section 4, on Mean Teacher.

    The learning rate falls as a cosine that would reach 0 at l1, but from l0 < l1 on it repeats the
    course of the last c iterations, again and again; the student's weights are averaged several
    times a cycle, from l0 - c on. The average takes no part in the training; it is what is
    evaluated, as soon as there is one, with BatchNorm statistics of its own.

    Shapes: B = batch_size, U = B * uratio, C = num_classes; the losses are Mean Teacher's.

    Differences: epochs are counted in iterations, as shares of the training; the defaults are
    180, 210, 30 and every 3rd of 300 epochs. BatchNorm's statistics are recomputed on
    ``bn_batches`` batches, not on all images (as ``bn_statistics: precise``, whatever it is).
    The loss on logits' distance of the authors' implementation is left out (section 2 has none).
    ``scheduler`` and ``num_warmup_iter`` have no effect: the schedule is the method's.

    Args:
        args: the host's arguments and those of `get_argument`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.

    Raises:
        UserError: the lengths of the schedule contradict each other.
    """

    ulb_views = {"x_ulb_w": "weak", "x_ulb_s": "weak"}

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        self.cycles = Cycles.of(args)
        super().__init__(args, net_builder, tb_log, logger)
        self.scheduler = LambdaLR(self.optimizer, self.cycles.lr_factor)
        self.num_averaged = 0
        self.average: Teacher | None = None

    def set_hooks(self):
        super().set_hooks()
        # After the host's step of the optimizer (HIGHEST), before its evaluation (HIGH).
        self.register_hook(AverageHook(), priority="VERY_HIGH")

    @torch.no_grad()
    def update_average(self) -> None:
        """w_avg <- w_avg + (w - w_avg) / n for each of the student's parameters."""
        if self.average is None:
            self.average = Teacher(self.model, 0.0, "precise")
        self.num_averaged += 1
        for name, p in self.model.named_parameters():
            self.average.shadow[name].lerp_(p, 1 / self.num_averaged)
        self.average.moved()

    def get_save_dict(self):
        saved = super().get_save_dict()
        saved["num_averaged"] = self.num_averaged
        saved["average"] = self.average and self.average.state_dict()
        return saved

    def load_model(self, load_path):
        checkpoint = super().load_model(load_path)
        self.num_averaged, self.average = checkpoint["num_averaged"], None
        if checkpoint["average"] is not None:
            self.average = Teacher(self.model, 0.0, "precise")
            self.average.load_state_dict(checkpoint["average"])
        return checkpoint

    @staticmethod
    def get_argument():
        return arguments(config.FAST_SWA)


class Cycles(NamedTuple):
    """The schedule in iterations: first phase `start`, its cosine's end `horizon`, one cycle
    `length`, averaged `every` so many."""

    start: int
    horizon: int
    length: int
    every: int

    @classmethod
    def of(cls, args) -> "Cycles":
        """The schedule that the options ask for.

        Raises:
            UserError: there is none.
        """
        if not 0 < args.swa_cycle <= args.swa_start <= args.swa_horizon:
            raise UserError(
                f"swa_cycle, swa_start, swa_horizon: must be above 0 and in this order, not "
                f"{args.swa_cycle:g}, {args.swa_start:g}, {args.swa_horizon:g}"
            )
        if args.swa_start - args.swa_cycle >= 1:
            raise UserError("swa_start: averaging would begin after the end of the training")
        if args.swa_per_cycle < 1:
            raise UserError(f"swa_per_cycle: must be at least 1, not {args.swa_per_cycle}")
        start, horizon, length = (
            max(1, round(share * first_part(args)))
            for share in (args.swa_start, args.swa_horizon, args.swa_cycle)
        )
        return cls(start, horizon, length, every=max(1, length // args.swa_per_cycle))

    def lr_factor(self, step: int) -> float:
        """Factor of the learning rate after `step` iterations: (1 + cos(pi l / l1)) / 2."""
        first = self.start - self.length
        position = step if step < self.start else first + (step - self.start) % self.length
        return 0.5 * (1 + math.cos(math.pi * position / self.horizon))

    def averages_after(self, step: int) -> bool:
        """Whether the weights after `step` iterations go into the average."""
        since = step - (self.start - self.length)
        return since >= 0 and since % self.length % self.every == 0


class AverageHook(Hook):
    """Averages the student's weights where the schedule says so."""

    def after_train_step(self, algorithm):
        if algorithm.cycles.averages_after(algorithm.it + 1):
            algorithm.update_average()
