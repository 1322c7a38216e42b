"""Ways to the meta-gradient of Eq. 8 and the losses to train on: what a training step needs.

Each is called as method(model, batches) and returns v, (B + U,), for an inner learning rate of 1,
and the per-sample losses on U~, (B + U,), with their graph. ``plain`` has no v: it is what all are
compared with, a forward and a backward pass on X~ and on U~, whose backward is still to be done.

In train mode each batch is normalized by statistics of its own, in all of them. The libraries'
ways, unlike the others, move the running statistics in copies or twice; that costs nothing and
changes no v. And they begin with U~, so that random layers draw other numbers in them.
"""

import importlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call

from metasemi_plugin import random_numbers
from metasemi_plugin.bench.setting import Batches, Setting
from metasemi_plugin.distributed import collectives
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.meta_gradient import (
    keep_mask,
    labeled_gradient,
    meta_gradient_and_losses,
    weighted_loss,
)

FINITE_STEP = 0.01  # length in weight space; that of DARTS (Liu et al., ICLR 2019, sec. 2.3)

Method = Callable[[nn.Module, Batches], tuple[Tensor | None, Tensor]]


def plain(model: nn.Module, batches: Batches) -> tuple[None, Tensor]:
    """No meta-gradient: the gradient of the loss on X~, and the losses on U~."""
    loss = sample_losses(model(batches.x_lb), batches.y_lb).sum()
    with torch.autocast(batches.x_lb.device.type, enabled=False):
        torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return None, sample_losses(model(batches.x_ulb), batches.y_ulb)


def unrolled(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Algorithm 1 to the letter, a virtual step with its graph, by torch alone."""
    return meta_gradient_and_losses(model, *batches, method="unrolled")


def higher(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """The same with the library higher."""
    library = importlib.import_module("higher")
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    with library.innerloop_ctx(model, sgd, copy_initial_weights=False) as (functional, inner):
        losses = sample_losses(functional(batches.x_ulb), batches.y_ulb)
        weights = torch.zeros_like(losses, requires_grad=True)
        inner.step((weights * losses).sum())
        meta_loss = sample_losses(functional(batches.x_lb), batches.y_lb).sum()
        return torch.autograd.grad(meta_loss, weights, retain_graph=True)[0], losses


def torchopt(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """The same with the library torchopt."""
    library = importlib.import_module("torchopt")
    names, theta = zip(*model.named_parameters(), strict=True)
    losses = sample_losses(model(batches.x_ulb), batches.y_ulb)
    weights = torch.zeros_like(losses, requires_grad=True)
    inner = library.FuncOptimizer(library.sgd(lr=1.0))
    theta_1 = inner.step((weights * losses).sum(), theta)
    stepped = dict(zip(names, theta_1, strict=True))
    meta_loss = sample_losses(_functional(model, stepped, batches.x_lb), batches.y_lb).sum()
    return torch.autograd.grad(meta_loss, weights, retain_graph=True)[0], losses


def forward_ad_rules(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Eq. 10 by PyTorch's own forward mode: a sweep with dual tensors, then the training pass."""
    g = labeled_gradient(model, batches.x_lb, batches.y_lb)
    before = random_numbers.state()
    # Without no_grad the sweep would leave a graph of itself, as large as the training pass's.
    with torch.no_grad(), forward_ad.dual_level():
        theta = dict(model.named_parameters())
        duals = {name: forward_ad.make_dual(theta[name], t) for name, t in g.items()}
        swept = sample_losses(_functional(model, duals, batches.x_ulb), batches.y_ulb)
        slope = forward_ad.unpack_dual(swept).tangent
    random_numbers.set_state(before)
    return -slope, sample_losses(model(batches.x_ulb), batches.y_ulb)


def forward(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Eq. 10 as Meta-Semi here computes it: one pass trains and differentiates."""
    return meta_gradient_and_losses(model, *batches, method="forward")


def finite_difference(model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """Eq. 10 approximately: how the losses differ after one short step along g."""
    g = labeled_gradient(model, batches.x_lb, batches.y_lb)
    before = random_numbers.state()
    losses = sample_losses(model(batches.x_ulb), batches.y_ulb)
    with torch.no_grad():
        length = torch.stack([t.norm() for t in g.values()]).norm()
        theta = dict(model.named_parameters())
        moved = {name: theta[name] + FINITE_STEP / length * t for name, t in g.items()}
        random_numbers.set_state(before)
        there = sample_losses(_functional(model, moved, batches.x_ulb), batches.y_ulb)
        return (losses - there) * (length / FINITE_STEP), losses


METHODS: dict[str, Method] = {
    "plain": plain,
    "unrolled": unrolled,
    "higher": higher,
    "torchopt": torchopt,
    "forward_ad": forward_ad_rules,
    "forward": forward,
    "finite_difference": finite_difference,
}


def step(method: Method, model: nn.Module, batches: Batches) -> tuple[Tensor | None, Tensor]:
    """Up to the loss of a training step of Meta-Semi, Eqs. 1 and 9; its backward is still due.

    Returns:
        v, (B + U,), or None for ``plain``, which keeps every sample; and the loss.
    """
    v, losses = method(model, batches)
    weights = torch.ones_like(losses) if v is None else keep_mask(v)
    return v, weighted_loss(losses, weights)


def training_step(setting: Setting, name: str, model: nn.Module, batches: Batches) -> Tensor | None:
    """A whole step but for the optimizer, by one of METHODS in the setting's precision: v."""
    with setting.precision():
        v, loss = step(METHODS[name], model, batches)
    loss.backward()
    collectives.all_reduce_mean_(p.grad for p in model.parameters() if p.grad is not None)
    model.zero_grad()
    return v


def _functional(model: nn.Module, params: dict[str, Tensor], x: Tensor):
    """The model's output with other parameters, its buffers left alone."""
    spare = {name: b.detach().clone() for name, b in model.named_buffers()}
    return functional_call(model, {**params, **spare}, (x,))
