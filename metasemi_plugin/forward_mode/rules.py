"""The calculus: how the tangent of an operation's output follows from those of its inputs.

A rule is called as rule(op, values, t, out), after the operation: the arguments by name, in the
operation's order with its defaults; their tangents by name, None standing for zero; the output. It
returns the tangent of the (first) output, which shares no memory with another tangent.

Whatever has no rule here gets PyTorch's own. A rule here is faster, since it uses what the
operation has computed already, or fills a gap: PyTorch has none for fused attention and weight
normalization, and cannot have the same random numbers twice.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

Rule = Callable[[Any, dict[str, Any], dict[str, Any], Any], Tensor | None]


def no_rule(what: Any) -> NotImplementedError:
    return NotImplementedError(
        f"no forward-mode rule for {what}; set `meta_gradient: unrolled` instead"
    )


def _affine(x: str, w: str, b: str, no_bias: Any) -> Rule:
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


def _bilinear(x: str, y: str) -> Rule:
    """Rule of x*y: t_x*y + x*t_y."""

    def rule(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
        terms = [op(**{**values, name: t[name]}) for name in (x, y) if t[name] is not None]
        return _sum(terms)

    return rule


def _linear(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
    """Rule of whatever is linear in all its tensors at once: the operation itself."""
    return op(**{name: _zero_for_none(value, t[name]) for name, value in values.items()})


def _add(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
    t_x = torch.zeros_like(out) if t["self"] is None else t["self"]
    return op(t_x, 0 if t["other"] is None else t["other"], alpha=values.get("alpha", 1))


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


def _layer_norm(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    x, shape, weight, _, _ = values.values()
    t_x, _, t_weight, t_bias, _ = t.values()
    t_normed = None
    if t_x is not None:
        t_normed = aten.native_layer_norm_backward(
            *(t_x, x, shape, out[1], out[2], None, None), output_mask=[True, False, False]
        )[0]
    normed = op(**{**values, "weight": None, "bias": None})[0]
    return _scaled_and_shifted(normed, t_normed, weight, t_weight, t_bias)


def _group_norm(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    x, weight, _, *sizes, _ = values.values()
    t_x, t_weight, t_bias, *_ = t.values()
    weight, t_weight, t_bias = (
        None if v is None else v.view(-1, *[1] * (x.dim() - 2)) for v in (weight, t_weight, t_bias)
    )
    t_normed = None
    if t_x is not None:
        t_normed = aten.native_group_norm_backward(
            *(t_x.contiguous(), x.contiguous(), out[1], out[2], None, *sizes),
            output_mask=[True, False, False],
        )[0]
    normed = op(**{**values, "weight": None, "bias": None})[0]
    return _scaled_and_shifted(normed, t_normed, weight, t_weight, t_bias)


def _scaled_and_shifted(
    x: Tensor,
    t_x: Tensor | None,
    weight: Tensor | None,
    t_weight: Tensor | None,
    t_bias: Tensor | None,
) -> Tensor:
    """Tangent of weight * x + bias, where the weights differ within what is normalized together."""
    t_y = torch.zeros_like(x) if t_x is None else t_x if weight is None else t_x * weight
    if t_weight is not None:
        t_y = t_y.addcmul_(x, t_weight)
    return t_y if t_bias is None else t_y.add_(t_bias)


def _weight_norm(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    """Rule of w = g * v / |v|."""
    v, g, dim = values.values()
    length, over = out[1], [d for d in range(v.dim()) if d != dim]
    t_w = torch.zeros_like(v)
    if t["g"] is not None:
        t_w.addcmul_(v, t["g"] / length)
    if t["v"] is not None:
        t_length = (v * t["v"]).sum(over, keepdim=True) / length
        t_w += (t["v"] - v * (t_length / length)) * (g / length)
    return t_w


def _constant(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> None:
    """Rule of what takes only the shape of its argument."""


def _leaky_relu(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
    x, slope = values["self"], values["negative_slope"]
    return aten.leaky_relu_backward(t["self"], x, slope, x is out)


def _relu(op: Any, values: dict[str, Any], t: dict[str, Any], out: Tensor) -> Tensor:
    return aten.threshold_backward(t["self"], out, 0)


def _max_pool(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    where = out[1]
    return t["self"].flatten(-2).gather(-1, where.flatten(-2)).view_as(where)


def _dropout(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    p, training = values["p"], values["train"]
    scale = 1.0 if training is False else 0.0 if p == 1 else 1 / (1 - p)
    return aten.native_dropout_backward(t["input"], out[1], scale)


def _attention(op: Any, values: dict[str, Any], t: dict[str, Any], out: Any) -> Tensor:
    """Rule of softmax(scale * q k^T + mask) v, for all the fused kernels."""
    if values["dropout_p"] > 0:
        raise no_rule(f"{op} with dropout")
    q, k, v = (values[name] for name in ("query", "key", "value"))
    t_q, t_k, t_v = (_zero_for_none(values[name], t[name]) for name in ("query", "key", "value"))
    mask = "attn_mask" if "attn_mask" in values else "attn_bias"
    scale = q.size(-1) ** -0.5 if values["scale"] is None else values["scale"]
    scores = scale * (q @ k.mT)
    t_scores = scale * (t_q @ k.mT + q @ t_k.mT)
    if values.get(mask) is not None:
        scores += values[mask]
    if t.get(mask) is not None:
        t_scores += t[mask]
    if values["is_causal"]:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores.masked_fill_(future, -torch.inf)
    p = scores.softmax(-1)
    t_p = p * (t_scores - (p * t_scores).sum(-1, keepdim=True))
    return t_p @ v + p @ t_v


def _sum(terms: list[Tensor]) -> Tensor:
    """Of one or two terms, in place."""
    return terms[0] if len(terms) == 1 else terms[0].add_(terms[1])


def _zero_for_none(value: Any, tangent: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.zeros_like(value) if tangent is None else tangent
    if isinstance(value, (list, tuple)) and tangent is not None:
        return [_zero_for_none(v, t) for v, t in zip(value, tangent, strict=True)]
    return value


RULES: dict[Any, Rule] = {
    aten.convolution: _affine("input", "weight", "bias", lambda out: None),
    aten.addmm: _affine("mat1", "mat2", "self", lambda out: out.new_zeros(())),
    aten.mm: _bilinear("self", "mat2"),
    aten.bmm: _bilinear("self", "mat2"),
    aten.mul: _bilinear("self", "other"),
    aten.add: _add,
    aten.add_: _add,
    aten._adaptive_avg_pool2d: _linear,
    aten._to_copy: _linear,
    aten._unsafe_view: _linear,
    aten.avg_pool2d: _linear,
    aten.cat: _linear,
    aten.clone: _linear,
    aten.mean: _linear,
    aten.sum: _linear,
    aten.native_batch_norm: _batch_norm,
    aten.cudnn_batch_norm: _batch_norm,
    aten.miopen_batch_norm: _batch_norm,
    aten.empty_like: _constant,
    aten.full_like: _constant,
    aten.new_empty: _constant,
    aten.new_full: _constant,
    aten.new_ones: _constant,
    aten.new_zeros: _constant,
    aten.ones_like: _constant,
    aten.rand_like: _constant,
    aten.randn_like: _constant,
    aten.zeros_like: _constant,
    aten.leaky_relu: _leaky_relu,
    aten.leaky_relu_: _leaky_relu,
    aten.relu: _relu,
    aten.relu_: _relu,
    aten.max_pool2d_with_indices: _max_pool,
    aten.native_dropout: _dropout,
    aten.native_group_norm: _group_norm,
    aten.native_layer_norm: _layer_norm,
    aten._weight_norm_interface: _weight_norm,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_cudnn_attention: _attention,
}
