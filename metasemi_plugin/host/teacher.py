"""The averaged net that is evaluated: parameters and BatchNorm statistics that belong together.

The host keeps an average of the parameters and evaluates it with the running statistics of the net
that is trained: those of other weights and, where MixUp trains, of mixed images. In the reference
implementations (Mean Teacher, ICT) the teacher is a module of its own, whose statistics its own
passes over clean unlabeled images move.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from semilearn.core.utils import EMA
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metasemi_plugin.distributed import collectives
from metasemi_plugin.step_inputs import from_host


class Teacher(EMA):
    """An average of a model's parameters, the host's EMA, with BatchNorm statistics of its own.

    While it is applied, its statistics are in the model's buffers and move with its passes.

    Args:
        model: whose parameters are averaged; the average begins as a copy.
        decay: of the average, 0 <= decay < 1.
        statistics: "teacher", "precise" or "student", see the option ``bn_statistics``.
    """

    def __init__(self, model: nn.Module, decay: float, statistics: str):
        super().__init__(model, decay)
        self.kind = statistics
        self.applied = False
        self.register()

    @property
    def has_own(self) -> bool:
        """Whether it has statistics of its own."""
        return self.kind != "student"

    def register(self) -> None:
        super().register()
        self.statistics = {name: b.clone() for name, b in bn_buffers(self.model).items()}
        self.moved()

    def load(self, ema_model: nn.Module) -> None:
        """Parameters and statistics of another module."""
        super().load(ema_model)
        self.statistics = {name: b.clone() for name, b in bn_buffers(ema_model).items()}
        self.moved()

    def moved(self) -> None:
        """The parameters have changed: statistics that were recomputed belong to others now."""
        self.stale = self.kind == "precise"

    def apply_shadow(self) -> None:
        super().apply_shadow()
        self._swap()

    def restore(self) -> None:
        self._swap()
        super().restore()

    def _swap(self) -> None:
        self.applied = not self.applied
        if self.has_own:
            for name, b in bn_buffers(self.model).items():
                own = self.statistics[name]
                own.data, b.data = b.data, own.data

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A block in which the model is this one."""
        self.apply_shadow()
        try:
            yield
        finally:
            self.restore()

    def state_dict(self) -> dict:
        return {"shadow": self.shadow, "statistics": self.statistics}

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        for own, saved in ((self.shadow, state["shadow"]), (self.statistics, state["statistics"])):
            for name, t in own.items():
                t.copy_(saved[name])
        self.moved()


class BnController:
    """In place of the host's Bn_Controller: what it freezes is restored in place, at its address.

    The teacher's own statistics are not frozen: its passes are made to move them. With the layer's
    momentum; but not less than 10 / (t + 10) in iteration t, so that the statistics of the first
    weights are forgotten in short runs too (the host's WideResNet has 0.001).
    """

    WARM_UP = 10

    def __init__(self, algorithm):
        self.algorithm = algorithm
        self.reset()

    def reset(self) -> None:
        self.frozen: list[tuple[list[Tensor], Tensor]] = []
        self.moving: dict[float, tuple[list[_BatchNorm], list[Tensor]]] = {}

    def freeze_bn(self, model: nn.Module) -> None:
        assert not [*self.frozen, *self.moving], "freeze_bn and unfreeze_bn must appear in pairs"
        teacher = self.algorithm.ema
        if not (teacher.applied and teacher.has_own):
            # Behind autograd's back: a backward pass in train mode does not read them.
            live = [b.data for b in bn_buffers(model).values()]
            self.frozen = [(group, collectives.pack(group)) for group in collectives.by_type(live)]
            return
        groups: dict[float, list[_BatchNorm]] = {}
        for module in model.modules():
            if isinstance(module, _BatchNorm) and module.momentum is not None:
                groups.setdefault(module.momentum, []).append(module)
                module.momentum = 1.0  # the batch's own, for `move`
        self.moving = {m: (g, [t.clone() for t in running(g)]) for m, g in groups.items()}

    @torch.no_grad()
    def unfreeze_bn(self, model: nn.Module) -> None:
        for group, kept in self.frozen:
            collectives.unpack(kept, group)
        for momentum, (modules, before) in self.moving.items():
            self.move(momentum, running(modules), before)
            for module in modules:
                module.momentum = momentum
        self.reset()

    def move(self, momentum: float, of_batch: list[Tensor], before: list[Tensor]) -> None:
        """Statistics that hold those of a batch become the running ones."""
        like = of_batch[0]
        share = from_host(lambda: self.momentum(momentum), like.device, like.dtype)
        lerp_(before, of_batch, share)
        torch._foreach_copy_(of_batch, before)

    def momentum(self, of_layer: float) -> float:
        """What counts in the iteration under way."""
        return max(of_layer, self.WARM_UP / (self.algorithm.it + self.WARM_UP))


def running(modules: list[_BatchNorm]) -> list[Tensor]:
    """Their running means and variances."""
    return [b.data for m in modules for b in (m.running_mean, m.running_var) if b is not None]


def lerp_(start: list[Tensor], end: list[Tensor], share: Tensor) -> None:
    """start + share (end - start), in place; torch._foreach_lerp_ would read the share, ()."""
    difference = torch._foreach_sub(end, start)
    torch._foreach_mul_(difference, share)
    torch._foreach_add_(start, difference)


def bn_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Running mean, variance and number of batches of each BatchNorm layer, by name."""
    return {
        f"{name}.{key}" if name else key: b
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        for key, b in module.named_buffers(recurse=False)
    }


def clean_teacher(algorithm: type, args) -> bool:
    """Whether an algorithm runs the averaged net on clean unlabeled images in each step.

    One of ours says so as ``clean_teacher``: true, or a static method args -> bool.
    """
    from semilearn.algorithms.meanteacher.meanteacher import MeanTeacher

    says = getattr(algorithm, "clean_teacher", issubclass(algorithm, MeanTeacher))
    return says(args) if callable(says) else says


def statistics(algorithm: type, args) -> str:
    """What ``bn_statistics`` means for a run."""
    if args.bn_statistics != "auto":
        return args.bn_statistics
    return "teacher" if clean_teacher(algorithm, args) else "precise"
