"""The meta-gradient of Meta-Semi (Wang et al.), Eqs. 1-10: pure functions of tensors and a module.

Shapes: B labeled and U unlabeled images a batch, C classes. X~ = (x_lb, y_lb) is the mixed
labeled batch, B samples; U~ = (x_ulb, y_ulb) the mixed batch that may be trained on, N = B + U
samples. Targets are probabilities, (B, C) and (N, C). L is the cross-entropy with soft targets of
one sample; theta are the parameters of the model that require a gradient.

Two ways to the same vector v_j = d/dw_j sum_i L(x~_i; theta_1(w)) at w = 0 (Eq. 8):

- ``unrolled``, Algorithm 1 to the letter: a virtual step theta_1 = theta - lr * d/dtheta sum_k w_k
  L(u~_k) at w = 0 with its graph kept, and the derivative with respect to w through that graph;
- ``forward``: Eq. 10 says v_j = -lr <g, dL(u~_j)/dtheta> with g = d/dtheta sum_i L(x~_i). Over all
  j that is one Jacobian-vector product along g, which forward-mode differentiation gives exactly in
  one sweep. It holds under train-mode BatchNorm too, where a sample has no gradient of its own.

Both make the passes over X~ and U~ in the model's mode, in train mode each batch on statistics of
its own. Only the pass over U~, the one that is trained on, moves BatchNorm's running statistics;
and that very pass is judged by the sweep, so dropout and drop-path draw the same numbers for the
mask and for the update.

With several processes B and N are what one of the `ranks` has, g is summed over all of them, and
the sweep, the mask and the losses are each one's own.
"""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from metasemi_plugin import random_numbers
from metasemi_plugin.distributed import collectives
from metasemi_plugin.forward_mode import sample_losses, sweep


def meta_gradient(
    model: nn.Module,
    x_lb: Tensor,
    y_lb: Tensor,
    x_ulb: Tensor,
    y_ulb: Tensor,
    *,
    lr: float = 1.0,
    method: str = "forward",
) -> Tensor:
    """Derivative of the labeled loss with respect to each sample's weight: Eq. 8 at w = 0.

    Parameters, buffers, their flags, the model's mode and the global random numbers are left as
    they were.

    Args:
        model: any module whose output is logits (N, C) or a dict with "logits".
        x_lb, y_lb: X~, images (B, ...) and targets as probabilities (B, C).
        x_ulb, y_ulb: U~, images (N, ...) and targets as probabilities (N, C).
        lr: learning rate of the virtual step; it only scales the result.
        method: "forward" (exact, one forward-mode sweep) or "unrolled" (Algorithm 1, reference).

    Returns:
        (N,), detached. Negative: training on the sample lowers the labeled loss.

    Raises:
        ValueError: an unknown method.
    """
    with buffers_restored(model), random_numbers.untouched():
        return meta_gradient_and_losses(model, x_lb, y_lb, x_ulb, y_ulb, lr=lr, method=method)[0]


def meta_gradient_and_losses(
    model: nn.Module,
    x_lb: Tensor,
    y_lb: Tensor,
    x_ulb: Tensor,
    y_ulb: Tensor,
    *,
    lr: float = 1.0,
    method: str = "forward",
) -> tuple[Tensor, Tensor]:
    """Lines 5-10 of Algorithm 1: :func:`meta_gradient`, and L(u~_j; theta) to train on.

    Returns:
        The meta-gradient, (N,), detached, and the losses, (N,), with their graph. The buffers have
        moved as in one ordinary forward pass over U~.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    return METHODS[method](model, x_lb, y_lb, x_ulb, y_ulb, lr)


def keep_mask(meta_gradient: Tensor) -> Tensor:
    """Eq. 9: 1 where training on the sample does not raise the labeled loss, else 0. Shape (N,).

    Exactly 0 keeps the sample, as Eq. 9 says; Algorithm 1, line 11, would drop it.
    """
    return (meta_gradient <= 0).to(meta_gradient.dtype)


def weighted_loss(losses: Tensor, weights: Tensor) -> Tensor:
    """Eq. 1: the mean of the losses (N,) under the weights (N,); zero if all weights are zero.

    Weights of Eq. 1 are not negative. The ablation with -1 and 1 (Table 6) divides by the sum of
    |w|, the number of samples: the sum of its weights could be zero or negative. Of the losses of
    all `ranks` the mean is Eq. 1 on all samples.
    """
    total = weights.abs().sum()
    collectives.all_reduce_mean_([total])
    return (weights * losses).sum() / total.clamp(min=torch.finfo(weights.dtype).tiny)


def labeled_gradient(model: nn.Module, x_lb: Tensor, y_lb: Tensor) -> dict[str, Tensor]:
    """g of Eq. 10, the gradient of sum_i L(x~_i; theta), by parameter name.

    Parameters that the loss does not reach are left out. Buffers stay as they are. The sum goes
    over the samples of all `ranks`.
    """
    params = _trainable(model)
    loss = sample_losses(_with_spare_buffers(model, x_lb), y_lb).sum()
    with torch.autocast(x_lb.device.type, enabled=False):  # as in any backward pass
        grads = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    reached = {name: g for name, g in zip(params, grads, strict=True) if g is not None}
    collectives.all_reduce_(reached.values())
    return reached


def _forward(
    model: nn.Module, x_lb: Tensor, y_lb: Tensor, x_ulb: Tensor, y_ulb: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    g = labeled_gradient(model, x_lb, y_lb)
    # A unit direction keeps the sweep inside the range of half precision.
    length = torch.stack([_at_least_float(t).norm() for t in g.values()]).norm()
    length = length.clamp(min=torch.finfo(length.dtype).tiny)
    losses, slope = sweep(model, x_ulb, y_ulb, {name: t / length for name, t in g.items()})
    return -lr * (length * slope), losses


def _unrolled(
    model: nn.Module, x_lb: Tensor, y_lb: Tensor, x_ulb: Tensor, y_ulb: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    # Random layers draw for X~ first, for U~ second, whichever is needed first: as in _forward.
    before_x_lb = random_numbers.state()
    with torch.no_grad():
        _with_spare_buffers(model, x_lb)
    params = _trainable(model)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        losses = sample_losses(model(x_ulb), y_ulb)
    weights = torch.zeros_like(losses, requires_grad=True)
    grads = torch.autograd.grad(
        (weights * losses).sum(), list(params.values()), create_graph=True, allow_unused=True
    )
    theta_1 = {
        name: p if g is None else p - lr * g
        for (name, p), g in zip(params.items(), grads, strict=True)
    }
    after_x_ulb = random_numbers.state()
    random_numbers.set_state(before_x_lb)
    meta_loss = sample_losses(_with_spare_buffers(model, x_lb, theta_1), y_lb).sum()
    random_numbers.set_state(after_x_ulb)
    return torch.autograd.grad(meta_loss, weights, retain_graph=True)[0], losses


METHODS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "forward": _forward,
    "unrolled": _unrolled,
}


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _at_least_float(t: Tensor) -> Tensor:
    return t.to(torch.promote_types(t.dtype, torch.float32))


def _with_spare_buffers(model: nn.Module, x: Tensor, params: dict[str, Tensor] | None = None):
    """The model's output on x, all writes to buffers going to copies that are thrown away."""
    spare = {name: b.detach().clone() for name, b in model.named_buffers()}
    return functional_call(model, {**(params or {}), **spare}, (x,))


@contextmanager
def buffers_restored(model: nn.Module):
    """What happens inside leaves the model's buffers as they were."""
    before = {name: b.detach().clone() for name, b in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, b in model.named_buffers():
                b.copy_(before[name])
