# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

"""MixUp and the meta-gradient of Meta-Semi: from X~ = (x_lb, y_lb), B samples, to the mask on
U~ = (x_ulb, y_ulb), N samples. Targets are probabilities, L is the cross-entropy of one sample.

Eq. 8 asks how the loss on X~ changes with the weight of each sample of U~ in one step of gradient
descent: v_j = -<g, dL(u~_j)/dtheta> with g = d/dtheta sum_i L(x~_i) (Eq. 10). Two ways to it:

- `unrolled`, Algorithm 1 to the letter: a virtual step, whose graph is kept, and the derivative
  through that graph. 25 lines, and on WRN-28-2 the time of almost four plain steps.
- `forward`: over all j, v is one Jacobian-vector product along g, which forward-mode
  differentiation gives in the very pass over U~ that trains: 1.6 plain steps.

The second is most of this file, because torch.func.jvp does not do: it refuses BatchNorm, which
updates its buffers in place; and it needs a pass of its own, in which dropout draws other numbers
than in the one that is trained on. `Tangents` works below autograd instead, where every net comes
down to the same few operations, and uses what that pass has computed.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten


def mixup(x, y, beta):
    """Eqs. 11-13: x (N, ...) and y (N, C), mixed with their shuffled selves."""
    lam = torch.distributions.Beta(beta, beta).sample().item()
    partner = torch.randperm(len(x)).to(x.device)
    return torch.lerp(x[partner], x, lam), torch.lerp(y[partner], y, lam)


def keep_mask(meta_gradient: Tensor) -> Tensor:
    """Eq. 9: 1 where training on the sample does not raise the labeled loss, else 0. Shape (N,).

    Exactly 0 keeps the sample, as Eq. 9 says; Algorithm 1, line 11, would drop it.
    """
    return (meta_gradient <= 0).to(meta_gradient.dtype)


def weighted_loss(losses, weights):
    """Eq. 1: the mean of the losses (N,) under the weights (N,); zero if all weights are zero."""
    return (weights * losses).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def sample_losses(output, targets):
    """Cross-entropy of each sample with soft targets (N, C), in single precision or better."""
    return -(targets * F.log_softmax(_at_least_single(output["logits"]), dim=1)).sum(1)


def forward(model, x_lb, y_lb, x_ulb, y_ulb):
    """Eq. 8 by one sweep: the meta-gradient (N,), and the losses to train on (N,)."""
    params = dict(model.named_parameters())
    loss = sample_losses(_with_spare_buffers(model, x_lb), y_lb).sum()
    with torch.autocast(x_lb.device.type, enabled=False):  # as in any backward pass
        grads = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    g = {name: t for name, t in zip(params, grads, strict=True) if t is not None}
    # A unit direction keeps the sweep inside the range of half precision.
    length = torch.stack([_at_least_single(t).norm() for t in g.values()]).norm()
    length = length.clamp(min=torch.finfo(length.dtype).tiny)
    losses, slope = sweep(model, x_ulb, y_ulb, {name: t / length for name, t in g.items()})
    return -length * slope, losses


def unrolled(model, x_lb, y_lb, x_ulb, y_ulb):
    """Eq. 8 through a virtual step of Eq. 6, at w = 0; returns what `forward` does."""
    # Random layers draw for X~ first, for U~ second, whichever is needed first: as in `forward`.
    before_x_lb = _random_state()
    with torch.no_grad():
        _with_spare_buffers(model, x_lb)
    params = dict(model.named_parameters())
    losses = sample_losses(model(x_ulb), y_ulb)
    weights = torch.zeros_like(losses, requires_grad=True)
    grads = torch.autograd.grad(
        (weights * losses).sum(), list(params.values()), create_graph=True, allow_unused=True
    )
    theta_1 = {
        name: p if g is None else p - g for (name, p), g in zip(params.items(), grads, strict=True)
    }
    after_x_ulb = _random_state()
    _set_random_state(before_x_lb)
    meta_loss = sample_losses(_with_spare_buffers(model, x_lb, theta_1), y_lb).sum()
    _set_random_state(after_x_ulb)
    return torch.autograd.grad(meta_loss, weights, retain_graph=True)[0], losses


METHODS = {"forward": forward, "unrolled": unrolled}


def _with_spare_buffers(model, x, params=None):
    """The model's output on x, all writes to buffers going to copies that are thrown away."""
    spare = {name: b.detach().clone() for name, b in model.named_buffers()}
    return functional_call(model, {**(params or {}), **spare}, (x,))


def _random_state():
    return torch.get_rng_state(), torch.cuda.get_rng_state_all()


def _set_random_state(state):
    torch.set_rng_state(state[0])
    torch.cuda.set_rng_state_all(state[1])


def _at_least_single(t: Tensor) -> Tensor:
    return t.to(torch.promote_types(t.dtype, torch.float32))


def sweep(model, x, targets, direction):
    """Losses to train on (N,), and their derivatives along a direction in weight space (N,).

    One forward pass serves both. It leaves what an ordinary one would: an autograd graph, running
    statistics moved once, random numbers drawn once.

    Args:
        model: any module that returns a dict with "logits", (N, C)
        x: inputs, (N, ...)
        targets: probabilities, (N, C)
        direction: tensor by parameter name, shaped like the parameter; missing is zero
    """
    params = dict(model.named_parameters())
    tangents = Tangents()
    for name, t in direction.items():
        tangents.set(params[name], t)
    # The graph keeps aliases of what it saves, so that a tangent can go when the net has dropped
    # its tensor, and not only after backward.
    with saved_tensors_hooks(Tensor.detach, lambda saved: saved), tangents:
        output = model(x)
    losses = sample_losses(output, targets)
    _refuse_custom_functions(losses)
    with torch.no_grad():
        t_logits = _at_least_single(tangents.of(output["logits"]))
        probs = _at_least_single(output["logits"]).softmax(1)
        t_mean = (probs * t_logits).sum(1, keepdim=True)
        return losses, (targets * (t_mean - t_logits)).sum(1)


def _refuse_custom_functions(losses):
    """What runs inside a custom autograd.Function is hidden from the sweep."""
    seen, todo = set(), [losses.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        # The latter is the class in Python of every node that torch's own operations do not make.
        if isinstance(node, BackwardCFunction) or type(node).__name__ == "CppFunction":
            raise no_rule(f"the custom autograd.Function {node.name()}")
        seen.add(node)
        todo.extend(next_node for next_node, _ in node.next_functions)


class Tangents(TorchDispatchMode):
    """Computes a tangent, its derivative along the direction, for each tensor computed inside.

    A tensor that needs no gradient is constant and has none: autograd's own verdict, so the
    derivative is that of the very function that backward() differentiates. The tangent of a view
    is the same view of its base's tangent; so views need no rule, and what is written through a
    view in place reaches all the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tangents = WeakIdKeyDictionary()

    def of(self, tensor: Tensor) -> Tensor | None:
        """The tangent, shaped like the tensor; None stands for zero."""
        if not tensor.requires_grad:
            return None
        base = tensor._base
        if base is None:
            return self._tangents.get(tensor)
        if tensor.dtype != base.dtype or tensor.is_complex():
            raise no_rule("views of complex numbers")
        t_base = self._tangents.get(base)
        return None if t_base is None else _same_view(t_base, tensor, base)

    def set(self, tensor: Tensor, tangent: Tensor) -> None:
        """Record the tangent, which is not to be used elsewhere."""
        base = tensor._base
        if base is None:
            self._tangents[tensor] = _laid_out_like(tangent, tensor)
            return
        if base not in self._tangents:
            self._tangents[base] = _laid_out_like(torch.zeros_like(base), base)
        _same_view(self._tangents[base], tensor, base).copy_(tangent)

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if op.is_view or not torch.is_grad_enabled():
            return op(*args, **kwargs)
        names, defaults = _signature(op)
        values = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        tangents = {name: self._of_argument(value) for name, value in values.items()}
        if all(t is None for t in tangents.values()):
            return op(*args, **kwargs)

        rule = RULES.get(op.overloadpacket)
        if rule is None:
            # Before the operation, which may overwrite its argument.
            t_out = self._pytorch_rule(op, values, tangents)
            out = op(*args, **kwargs)
        else:
            out = op(*args, **kwargs)
            t_out = rule(op, values, tangents, out)
        for tensor, tangent in zip(_as_tuple(out), _as_tuple(t_out), strict=False):
            if tangent is not None:
                self.set(tensor, tangent)
        return out

    def _of_argument(self, value: Any) -> Any:
        """The tangent of an argument; of a list of tensors, the list of their tangents."""
        if isinstance(value, Tensor):
            return self.of(value)
        if isinstance(value, (list, tuple)):
            tangents = [self._of_argument(v) for v in value]
            return None if all(t is None for t in tangents) else tangents
        return None

    def _pytorch_rule(self, op: Any, values: dict[str, Any], tangents: dict[str, Any]) -> Any:
        """The output's tangent by PyTorch's own rule, which repeats the operation."""
        written = [
            a.name
            for a in op._schema.arguments
            if a.alias_info is not None and a.alias_info.is_write
        ]
        if written not in ([], ["self"]) or torch.Tag.nondeterministic_seeded in op.tags:
            raise no_rule(op)
        device = next(v for v in _flat(values.values()) if isinstance(v, Tensor)).device.type
        # The handler runs below autograd, which holds the rules: go back to the top.
        with (
            enable_reentrant_dispatch(),
            self,
            torch.no_grad(),
            torch.autocast(device, enabled=False),
            forward_ad.dual_level(),
        ):
            try:
                duals = {
                    name: _dual(value, tangents[name], name in written)
                    for name, value in values.items()
                }
                out = _as_tuple(op(**duals))
            # The latter where autograd itself does not see the operation.
            except (NotImplementedError, RuntimeError) as error:
                raise no_rule(op) from error
            t_out = [_tangent_of_dual(o) for o in out]
        if written and t_out[0] is None:
            return torch.zeros_like(out[0])
        return t_out


@cache
def _signature(op: Any) -> tuple[list[str], dict[str, Any]]:
    """Names of the arguments, and the defaults, which the dispatcher leaves out of a call."""
    arguments = op._schema.arguments
    return [a.name for a in arguments], {a.name: a.default_value for a in arguments}


def _laid_out_like(tangent: Tensor, tensor: Tensor) -> Tensor:
    """The tangent with the tensor's shape, strides and dtype; a copy only if it differs."""
    if (tangent.shape, tangent.stride(), tangent.dtype) == (
        tensor.shape,
        tensor.stride(),
        tensor.dtype,
    ):
        return tangent
    empty = torch.empty_strided(
        tensor.size(), tensor.stride(), dtype=tensor.dtype, device=tensor.device
    )
    return empty.copy_(tangent)


def _same_view(t_base: Tensor, tensor: Tensor, base: Tensor) -> Tensor:
    offset = tensor.storage_offset() - base.storage_offset() + t_base.storage_offset()
    return t_base.as_strided(tensor.size(), tensor.stride(), offset)


def _dual(value: Any, tangent: Any, written: bool) -> Any:
    """The argument with its tangent for PyTorch's rule; copies of what the operation overwrites."""
    if isinstance(value, Tensor):
        value = value.detach().clone() if written else value.detach()
        if tangent is None:
            return value
        return forward_ad.make_dual(value, tangent.clone() if written else tangent)
    if isinstance(value, (list, tuple)) and tangent is not None:
        return [_dual(v, t, written) for v, t in zip(value, tangent, strict=True)]
    return value


def _tangent_of_dual(out: Any) -> Tensor | None:
    tangent = forward_ad.unpack_dual(out).tangent if isinstance(out, Tensor) else None
    return None if tangent is None or tangent._is_zerotensor() else tangent


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for v in values:
        if isinstance(v, (list, tuple)):
            yield from _flat(v)
        else:
            yield v


def _as_tuple(out: Any) -> tuple:
    return tuple(out) if isinstance(out, (list, tuple)) else (out,)


# How the tangent of an operation's output follows from those of its inputs. A rule is called after
# the operation: with its arguments by name, their tangents (None stands for zero), and the output.
# Whatever has no rule here gets PyTorch's own, which repeats the operation. These are here because
# they cost most (convolutions, activations), draw random numbers or move running statistics.


def no_rule(what: Any) -> NotImplementedError:
    return NotImplementedError(
        f"no forward-mode rule for {what}; set `meta_gradient: unrolled` instead"
    )


def _affine(x: str, w: str, b: str, no_bias: Any):
    """Rule of b + x*w: t_x*w + (t_b + x*t_w), for convolutions and matrix products alike."""

    def rule(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
        terms = []
        if t[x] is not None:
            terms.append(op(**{**values, x: t[x], b: no_bias(out)}))
        if t[w] is not None or t[b] is not None:
            t_w = torch.zeros_like(values[w]) if t[w] is None else t[w]
            t_b = no_bias(out) if t[b] is None else t[b]
            terms.append(op(**{**values, w: t_w, b: t_b}))
        return _sum(terms)

    return rule


def _batch_norm(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    """Rule of y = weight * x^ + bias, x^ = (x - mean) * invstd.

    The Jacobian of the normalization with respect to its input is symmetric, so the fused backward
    kernel, applied to t_x, gives weight * t_x^.
    """
    x, weight, _, running_mean, running_var, training, _, eps = values.values()
    t_x, t_weight, t_bias, *_ = t.values()
    if training:
        # The kernels return the inverse standard deviation, eps included.
        mean, var, eps = out[1], out[2].pow(-2), 0.0
    else:
        mean, var = running_mean, running_var
    terms = []
    if t_x is not None:
        terms.append(
            aten.native_batch_norm_backward(
                *(t_x, x, weight, running_mean, running_var, out[1], out[2], training, eps),
                output_mask=[True, False, False],
            )[0]
        )
    if t_weight is not None or t_bias is not None:
        t_weight, t_bias = (torch.zeros_like(mean) if u is None else u for u in (t_weight, t_bias))
        terms.append(aten.native_batch_norm(x, t_weight, t_bias, mean, var, False, 0.0, eps)[0])
    return _sum(terms)


def _leaky_relu(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
    x, slope = values["self"], values["negative_slope"]
    return aten.leaky_relu_backward(t["self"], x, slope, x is out)


def _relu(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
    return aten.threshold_backward(t["self"], out, 0)


def _dropout(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    p, training = values["p"], values["train"]
    scale = 1.0 if training is False else 0.0 if p == 1 else 1 / (1 - p)
    return aten.native_dropout_backward(t["input"], out[1], scale)


def _sum(terms: list[Tensor]) -> Tensor:
    """Of one or two terms, in place."""
    return terms[0] if len(terms) == 1 else terms[0].add_(terms[1])


RULES = {
    aten.convolution: _affine("input", "weight", "bias", lambda out: None),
    aten.addmm: _affine("mat1", "mat2", "self", lambda out: out.new_zeros(())),
    aten.native_batch_norm: _batch_norm,
    aten.cudnn_batch_norm: _batch_norm,
    aten.miopen_batch_norm: _batch_norm,
    aten.leaky_relu: _leaky_relu,
    aten.leaky_relu_: _leaky_relu,
    aten.relu: _relu,
    aten.relu_: _relu,
    aten.native_dropout: _dropout,
}
