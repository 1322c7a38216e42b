"""The processes that train one run together, and what they have to tell each other.

Each *rank* has its equal part of every batch and the same parameters. What is a sum, a mean or a
pairing over the whole batch is made whole by one of these functions. With one process, or outside
of a run, they change nothing.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def sum_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the ranks, in place; one message for each type of number.

    The tensors have no graph, and the same shapes on each rank. A NaN on one rank is one on all.
    """
    if count() == 1:
        return
    tensors = list(tensors)
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        group = [t for t in tensors if t.dtype == dtype]
        flat = torch.cat([t.reshape(-1) for t in group])
        dist.all_reduce(flat)
        parts = flat.split([t.numel() for t in group])
        torch._foreach_copy_(group, [p.view_as(t) for p, t in zip(parts, group, strict=True)])


def mean_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks, in place; see `sum_`."""
    if count() == 1:
        return
    tensors = list(tensors)
    sum_(tensors)
    torch._foreach_div_(tensors, count())


def gathered(t: Tensor) -> Tensor:
    """(n, ...) of each rank as (count * n, ...), in the order of the ranks.

    This rank's own part keeps its graph, the others' have none. So for a loss on what is gathered,
    which each rank computes whole, the sum over the ranks of their gradients is the gradient.
    """
    if count() == 1:
        return t
    parts = [torch.empty_like(t, memory_format=torch.contiguous_format) for _ in range(count())]
    dist.all_gather(parts, t.detach().contiguous())
    parts[number()] = t
    return torch.cat(parts)
