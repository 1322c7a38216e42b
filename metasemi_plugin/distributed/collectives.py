"""The processes that train one run together, and what they have to tell each other.

Each *rank* has its equal part of every batch and the same parameters. What is a sum, a mean or a
pairing over the whole batch is made whole by one of these functions. With one process, or outside
of a run, they change nothing.

Each rank goes backward through a loss of its own, and the mean of their gradients is the gradient:
so a loss that is a mean over the batch needs nothing, as the parts are equal.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

_alone = ContextVar("_alone", default=False)


def world_size() -> int:
    """How many processes train together."""
    together = dist.is_available() and dist.is_initialized() and not _alone.get()
    return dist.get_world_size() if together else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """A block that each rank goes through for itself, as if it were the only one."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


def own(length: int) -> slice:
    """Which samples of a batch are this rank's; a batch that cannot be split equally has a rest."""
    return share(length, rank(), world_size())


def share(length: int, rank: int, of: int) -> slice:
    """`own` of another rank, or of another number of them."""
    first, last = (length * (rank + i) // of for i in (0, 1))
    return slice(first, last)


def all_reduce_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its sum over the ranks, in place; one message for each type of number.

    The tensors have no graph, and the same shapes on each rank. A NaN on one rank is one on all.
    """
    if world_size() == 1:
        return
    tensors = list(tensors)
    for group in by_type(tensors):
        flat = pack(group)
        dist.all_reduce(flat)
        unpack(flat, group)


def all_reduce_mean_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks, in place; see `all_reduce_`."""
    if world_size() == 1:
        return
    tensors = list(tensors)
    all_reduce_(tensors)
    torch._foreach_div_(tensors, world_size())


def broadcast_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by what it is on rank 0, in place; see `all_reduce_`."""
    if world_size() == 1:
        return
    for group in by_type(list(tensors)):
        flat = pack(group)
        dist.broadcast(flat, 0)
        unpack(flat, group)


def all_gather(t: Tensor, *lengths: int) -> Tensor:
    """(n, ...) of each rank as (count * n, ...), in the order of one process with all samples.

    This rank's own part keeps its graph, the others' have none. So for a loss on what is gathered,
    which each rank computes whole, the mean over the ranks of their gradients is the gradient: what
    comes back to the own part is multiplied by `world_size`.

    Args:
        t: the own samples.
        lengths: of the batches that the own samples are put together of, if of several: first come
            all ranks' samples of the first one.
    """
    if world_size() == 1:
        return t
    like = torch.empty_like(t, memory_format=torch.contiguous_format)
    parts = [torch.empty_like(like) for _ in range(world_size())]
    dist.all_gather(parts, t.detach().contiguous())
    if t.requires_grad:
        parts[rank()] = t.detach() + world_size() * (t - t.detach())
    batches = zip(*(part.split(lengths or len(t)) for part in parts), strict=True)
    return torch.cat([part for batch in batches for part in batch])


def places(*lengths: int, device: torch.device | None = None) -> Tensor:
    """Where the own samples stand in what is `all_gather`; see there."""
    starts = [world_size() * sum(lengths[:i]) + rank() * n for i, n in enumerate(lengths)]
    parts = zip(starts, lengths, strict=True)
    return torch.cat([torch.arange(first, first + n, device=device) for first, n in parts])


def other_dropout() -> None:
    """Have random layers on the GPUs draw differently on each rank.

    All ranks begin with the random numbers of rank 0, which a checkpoint holds, and stay in step.
    On CPUs random layers draw from the same generator as MixUp, and so alike.
    """
    if world_size() > 1 and torch.cuda.is_initialized():
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        offset = generator.get_offset()
        generator.manual_seed(generator.initial_seed() + rank())
        generator.set_offset(offset)


def by_type(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Those of each type of number, of which one kernel makes a copy: see `pack`."""
    dtypes = dict.fromkeys(t.dtype for t in tensors)
    return [[t for t in tensors if t.dtype == dtype] for dtype in dtypes]


def pack(tensors: list[Tensor]) -> Tensor:
    """A copy of tensors of one type, one after the other."""
    return torch.cat([t.reshape(-1) for t in tensors])


def unpack(flat: Tensor, tensors: list[Tensor]) -> None:
    """What `pack` made, or the like, into the tensors, in place."""
    parts = flat.split([t.numel() for t in tensors])
    torch._foreach_copy_(tensors, [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])
