"""Tangents beside tensors: which tensor has which, and what an operation does to them."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from metasemi_plugin.forward_mode.rules import RULES, no_rule


class Tangents(TorchDispatchMode):
    """Computes a tangent for each tensor computed while the mode is active.

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

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # Autograd turns gradients off around an operation of ours, which it does not know.
        constant = not torch.is_grad_enabled() and op.namespace != "metasemi"
        if op.is_view or constant:
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
