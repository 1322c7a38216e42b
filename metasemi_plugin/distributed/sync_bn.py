"""BatchNorm whose batch is that of all ranks together, in training and in the forward-mode sweep.

One operation, below autograd, for CPU and GPU. It normalizes with the statistics of the global
batch; PyTorch's own kernels do the work on a rank's part, one small message makes the whole.

With x^ = (x - mean) / std over n values a channel, what a change t of x does to x^ is

    (t - mean(t) - x^ mean(t x^)) / std ,

a symmetric map, also where the means go over the batches of all ranks. So the same function,
`_through`, takes a gradient backward and a tangent forward. Backward, its message carries what this
rank's input does to the other ranks' losses; gradients of weight and bias stay the rank's own.

Shapes: x (n, C, ...), statistics (C,). The ranks' batches need not be of equal size.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from metasemi_plugin.distributed import collectives
from metasemi_plugin.forward_mode.rules import RULES

aten = torch.ops.aten


def synced(model: nn.Module) -> nn.Module:
    """The model, each BatchNorm of which takes its batch statistics over all ranks from now on.

    The modules change their class, to a subclass of it, and nothing else: parameters, buffers and
    hooks stay the same objects. In eval mode, and with one rank, they compute what they did.
    """
    for module in model.modules():
        own_class: Any = type(module)
        if issubclass(own_class, _BatchNorm) and not issubclass(own_class, SYNCED):
            module.__class__ = _synced_class(own_class)
    return model


class _Synced(nn.Module):
    """A BatchNorm's own forward pass, with another function for F.batch_norm."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or collectives.world_size() == 1:
            return super().forward(x)
        with _OverAllRanks():
            return super().forward(x)


@cache
def _synced_class(batch_norm: type[nn.Module]) -> type[nn.Module]:
    return type(f"Synced{batch_norm.__name__}", (_Synced, batch_norm), {})


SYNCED = (_Synced, nn.SyncBatchNorm)


class _OverAllRanks(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``F.batch_norm`` in training, over the batches of all ranks."""
    y, mean, var, count = torch.ops.metasemi.sync_batch_norm(x, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = var * (count / (count - 1))
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return y


def _sync_batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalized with the global statistics; these, (C,) and biased; the number they are over, ().

    Statistics are in single precision or better, whatever x is in.
    """
    # Running statistics in this type make the kernel compute in it; nobody reads them.
    spare = x.new_zeros((2, x.size(1)), dtype=torch.promote_types(x.dtype, torch.float32))
    mean, var = aten.batch_norm_update_stats(x, spare[0], spare[1], 0.0)
    own = torch.cat([mean, var, mean.new_full((1,), _per_channel(x))])
    means, variances, counts = collectives.all_gather(own[None]).split(
        [len(mean), len(var), 1], dim=1
    )
    # Of the ranks' variances, and of their means (Chan, Golub and LeVeque, 1979).
    count = counts.sum()
    share = counts / count
    mean = (share * means).sum(0)
    var = (share * (variances + (means - mean).square())).sum(0)
    return _scaled_and_shifted(x, mean, var, eps, weight, bias), mean, var, count


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, weight, _, ctx.eps = inputs
    _, mean, var, count = output
    ctx.mark_non_differentiable(mean, var, count)
    ctx.save_for_backward(x, weight, mean, var, count)
    ctx.has_forward_rule = True


@once_differentiable
def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    x, weight, mean, var, count = ctx.saved_tensors
    gradients = _through(grad, x, weight, mean, var, count, ctx.eps)
    *needed, _ = ctx.needs_input_grad
    return *(g if need else None for need, g in zip(needed, gradients, strict=True)), None


NAME = "metasemi::sync_batch_norm"
torch.library.define(
    NAME,
    "(Tensor x, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor, Tensor)",
)
torch.library.impl(NAME, "default", _sync_batch_norm)
torch.library.register_autograd(NAME, _backward, setup_context=_setup_context)


def _rule(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor | None:
    """Forward-mode rule: weight * t_x^ + (t_weight * x^ + t_bias)."""
    x, weight, _, eps = values.values()
    t_x, t_weight, t_bias, _ = t.values()
    _, mean, var, count = out
    t_y = None if t_x is None else _through(t_x, x, weight, mean, var, count, eps)[0]
    if t_weight is None and t_bias is None:
        return t_y
    scaled = _scaled_and_shifted(x, mean, var, eps, *_zeros_for_none(mean, t_weight, t_bias))
    return scaled if t_y is None else t_y.add_(scaled)


RULES[torch.ops.metasemi.sync_batch_norm] = _rule


def _through(
    t: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    var: Tensor,
    count: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """weight * (t through the Jacobian of x^); this rank's sums of t x^ and of t, (C,)."""
    invstd = (var + eps).rsqrt()
    weight = torch.ones_like(mean) if weight is None else weight
    # Takes this rank's means of t and t x^, but global statistics ...
    out, *own = aten.native_batch_norm_backward(
        *(t, x, weight, None, None, mean, invstd, True, eps), output_mask=[True, True, True]
    )
    # ... so what is added, in place of more precision, is small: how far they are from the global.
    whole = torch.stack(own)
    collectives.all_reduce_([whole])
    excess = (torch.stack(own) / _per_channel(x) - whole / count) * (weight * invstd)
    return out.add_(_scaled_and_shifted(x, mean, var, eps, *excess)), *own


def _scaled_and_shifted(
    x: Tensor, mean: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """weight * x^ + bias."""
    return aten.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]


def _zeros_for_none(like: Tensor, *tensors: Tensor | None) -> list[Tensor]:
    return [torch.zeros_like(like) if t is None else t for t in tensors]


def _per_channel(x: Tensor) -> int:
    return x.numel() // x.size(1)
