"""One forward pass that trains and, beside it, one exact directional derivative of every loss.

Meta-Semi (Eq. 10) asks of each sample j of a batch how its loss changes along one direction d in
weight space, <d, dL_j/dtheta>. Forward-mode differentiation answers for all samples at once: each
tensor carries its *tangent*, the derivative of its value along d (Baydin et al., "Automatic
differentiation in machine learning: a survey", JMLR 18, 2018, section 3.1).

The tangents are worked out below autograd, where a `TorchDispatchMode` sees every elementary
operation that a net comes down to, whatever module or function it hides in. Hence

- the training graph is recorded as it would be without the sweep, and the tangents have no graph;
- what the training pass has computed (batch statistics, pooling indices, dropout masks) is shared;
- the cost is two operations for each bilinear one (x*W: x'*W + x*W') and one for any other.

Three files: the question (here), the bookkeeping (`tangents`), the calculus (`rules`).

Shapes: N samples, C classes. A tangent is named after its tensor: t_x is the tangent of x.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node, saved_tensors_hooks

from metasemi_plugin.forward_mode.rules import no_rule
from metasemi_plugin.forward_mode.tangents import Tangents

__all__ = ["sample_losses", "sweep"]


def sample_losses(output: Tensor | Mapping[str, Tensor], targets: Tensor) -> Tensor:
    """Cross-entropy with soft targets of each sample, in single precision or better.

    Args:
        output: logits, (N, C), or a mapping that holds them as "logits".
        targets: (N, C).

    Returns:
        (N,), in nats.
    """
    return -(targets * F.log_softmax(_at_least_single(_logits(output)), dim=1)).sum(1)


def sweep(
    model: nn.Module, x: Tensor, targets: Tensor, direction: Mapping[str, Tensor | None]
) -> tuple[Tensor, Tensor]:
    """Per-sample losses to train on, and their derivatives along a direction in weight space.

    One forward pass serves both. It leaves what an ordinary one would: an autograd graph, running
    statistics moved once, random numbers drawn once. The derivative is linear in the direction; in
    half precision give it unit length.

    Args:
        model: any module whose output is logits (N, C) or a mapping with "logits"; it computes
            all that depends on its parameters in this very call.
        x: inputs (N, ...).
        targets: (N, C).
        direction: tensor by parameter name, shaped like the parameter; missing or None is zero.

    Returns:
        `sample_losses` of the model, (N,), with their graph; and their derivatives, (N,), without.

    Raises:
        ValueError: the direction names what is no trainable parameter, or has another shape.
        NotImplementedError: the model contains an operation without a forward-mode rule.
    """
    params = {
        name: p for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad
    }
    for name, t in direction.items():
        if name not in params:
            raise ValueError(f"direction: the model has no trainable parameter {name!r}")
        if t is not None and t.shape != params[name].shape:
            raise ValueError(
                f"direction: {name!r} has shape {tuple(t.shape)}, not {tuple(params[name].shape)}"
            )

    # Weights that autocast has cast before the sweep would come without their tangents.
    torch.clear_autocast_cache()
    tangents = Tangents()
    for name, t in direction.items():
        if t is not None:
            tangents.set(params[name], t.detach().to(params[name]))
    # The graph keeps aliases of what it saves, so that a tangent can go when the net has dropped
    # its tensor, and not only after backward.
    with torch.enable_grad(), saved_tensors_hooks(Tensor.detach, lambda saved: saved), tangents:
        output = model(x)
    losses = sample_losses(output, targets)
    _refuse_custom_functions(losses)
    with torch.no_grad():
        t_logits = tangents.of(_logits(output))
        if t_logits is None:
            return losses, torch.zeros_like(losses)
        logits, t_logits = _at_least_single(_logits(output)), _at_least_single(t_logits)
        t_mean = (logits.softmax(1) * t_logits).sum(1, keepdim=True)
        derivative = (targets * (t_mean - t_logits)).sum(1)
    return losses, derivative


def _refuse_custom_functions(losses: Tensor) -> None:
    """What runs inside a custom autograd.Function, of Python, of C++ (as torchvision's deformable
    convolution) or of torch.jit, need not be what it differentiates, and is hidden from the sweep.

    That of an operation of ours, which sets `has_forward_rule` on its node, is.
    """
    seen: set[Node] = set()
    todo = [losses.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        # The latter is the class in Python of every node that torch's own operations do not make.
        custom = isinstance(node, BackwardCFunction) or type(node).__name__ == "CppFunction"
        if custom and not hasattr(node, "has_forward_rule"):
            name = re.sub(r".*::|>|Backward$", "", node.name())
            raise no_rule(f"the custom autograd.Function {name}")
        seen.add(node)
        todo.extend(next_node for next_node, _ in node.next_functions)


def _logits(output: Tensor | Mapping[str, Tensor]) -> Tensor:
    return output if isinstance(output, Tensor) else output["logits"]


def _at_least_single(t: Tensor) -> Tensor:
    return t.to(torch.promote_types(t.dtype, torch.float32))
