"""Optimizers and learning-rate schedules: the host's, and those of the paper's protocols.

Parameter groups are the host's: no weight decay on biases and BatchNorm.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from semilearn.core.utils import get_cosine_schedule_with_warmup, get_optimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from metasemi_plugin.config.restarts import parts
from metasemi_plugin.step_inputs import from_host


def half_cosine(step: int, total: int) -> float:
    """From 1 at step 0 to 0 at step ``total``: (1 + cos(pi t / T)) / 2."""
    return 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))


def constant(step: int, total: int) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES = {"half_cosine": half_cosine, "constant": constant}


def build_optimizer(model: nn.Module, args) -> torch.optim.Optimizer:
    """SGD (with or without Nesterov), Adam (L2 in the gradient) or AdamW (decoupled decay).

    They are torch's fused ones: a few kernels, which look at ``found_inf`` on the device before
    they change anything.
    """
    # The host's SGD stands in for its parameter groups, which it makes nowhere else in public.
    groups = get_optimizer(
        model, "SGD", args.lr, args.momentum, args.weight_decay, args.layer_decay, nesterov=False
    ).param_groups
    kept = ("params", "lr", "weight_decay")
    groups = [{k: group[k] for k in kept} for group in groups]
    if args.optim in ADAMS:
        on_cuda = next(model.parameters()).is_cuda
        return ADAMS[args.optim](groups, lr=args.lr, fused=True, capturable=on_cuda)
    nesterov = args.nesterov and args.momentum > 0
    return torch.optim.SGD(
        groups, lr=args.lr, momentum=args.momentum, nesterov=nesterov, fused=True
    )


ADAMS = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}


def take_step(optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
    """A step, unless a flag on the device, (), says that the gradients are not finite."""
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    _begin_momentum(optimizer)
    rates = [group["lr"] for group in optimizer.param_groups]
    if finite.is_cuda:
        for group in optimizer.param_groups:
            group["lr"] = from_host(partial(dict.__getitem__, group, "lr"), finite.device)
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    del optimizer.found_inf, optimizer.grad_scale  # type: ignore[attr-defined]


def _begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """SGD's, at zero: it would begin in the first step, and leave it undefined in a bad one."""
    if not isinstance(optimizer, torch.optim.SGD):
        return
    params = [p for g in optimizer.param_groups if g["momentum"] > 0 for p in g["params"]]
    for p in params:
        if p.grad is not None and not optimizer.state[p]:
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)


def build_scheduler(optimizer: torch.optim.Optimizer, args) -> LRScheduler:
    """One step an iteration, over each part of the training; see `config.restarts`."""
    factors = [(begin, _factor(args, end - begin)) for begin, end in parts(args)]
    return LambdaLR(optimizer, partial(_of_part, factors=factors))


def _of_part(step: int, factors: list[tuple[int, Callable[[int], float]]]) -> float:
    begin, factor = [pair for pair in factors if pair[0] <= step][-1]
    return factor(step - begin)


def _factor(args, length: int) -> Callable[[int], float]:
    """Of the learning rate, after so many of ``length`` iterations."""
    warmup = args.num_warmup_iter
    if args.scheduler == "cosine":
        # The host keeps the function within a scheduler of an optimizer.
        nobody = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        return get_cosine_schedule_with_warmup(nobody, length, num_warmup_steps=warmup).lr_lambdas[
            0
        ]
    schedule, total = SCHEDULES[args.scheduler], max(1, length - warmup)
    return partial(_warmed_up, schedule=schedule, warmup=warmup, total=total)


def _warmed_up(step: int, schedule, warmup: int, total: int) -> float:
    return step / warmup if step < warmup else schedule(step - warmup, total)
