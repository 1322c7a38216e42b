"""The processes of one run: how they find each other, agree on what went wrong, and part.

torchrun starts them and says in the environment who is who. All of them hold the whole model and
the whole data; `collectives` is what they say to each other while they train.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from metasemi_plugin.distributed import collectives
from metasemi_plugin.distributed.torchrun import Gone, in_torchrun
from metasemi_plugin.errors import UserError

T = TypeVar("T")

# How long one may keep the others waiting, as rank 0 does while it prepares the data.
PATIENCE = timedelta(minutes=30)
_GONE = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe", re.IGNORECASE)


class Agreed(UserError):
    """What is wrong on one process, as all of them raise it."""


def restarted() -> bool:
    """Whether torchrun has started the processes once more, after one of them had ended."""
    return _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def local_rank() -> int:
    """Which of this machine's processes this one is, from 0."""
    return int(os.environ["LOCAL_RANK"]) if in_torchrun() else collectives.rank()


@contextmanager
def joined() -> Iterator[None]:
    """A block in which the processes that torchrun has started are one run; only rank 0 prints.

    Messages between GPUs go through NCCL, others through gloo.

    Raises:
        UserError: another process has ended.
    """
    with _group(), noticing_an_end(), open(os.devnull, "w") as nowhere:
        quiet = redirect_stdout(nowhere) if collectives.rank() else nullcontext()
        with quiet:
            yield


@contextmanager
def _group() -> Iterator[None]:
    if not in_torchrun() or dist.is_initialized():  # by who called us
        yield
        return
    backend = "gloo"
    if torch.cuda.device_count() > local_rank():
        torch.cuda.set_device(local_rank())
        backend = "cpu:gloo,cuda:nccl"
    store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
    # torchrun's store outlives its processes, and with it the addresses of those that are gone.
    store = dist.PrefixStore(f"attempt {_restarts()}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def noticing_an_end(algorithm=None) -> Iterator[None]:
    """A block in which the end of another process, while that trains, is said in one line.

    Raises:
        UserError: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if collectives.world_size() == 1 or not (
            isinstance(error, dist.DistError) or _GONE.search(str(error))
        ):
            raise
        stands = "" if algorithm is None else f"the run stands at iteration {algorithm.it}; "
        line = (
            f"another process of this run has ended: {stands}the same command with --resume goes "
            "on from the last checkpoint"
        )
        # At once, as torchrun ends this one, too.
        print(f"error: {line}", file=sys.stderr, flush=True)
        raise Gone(line) from error


def together(function: Callable[[], T]) -> T:
    """What the function returns on this process, once it has succeeded on all.

    Raises:
        UserError: the first that it raised, on all of them.
    """
    if collectives.world_size() == 1:
        return function()
    result = problem = None
    try:
        result = function()
    except Agreed:
        raise  # by all of them
    except UserError as error:
        problem = str(error)
    problems: list[str | None] = [None] * collectives.world_size()
    dist.all_gather_object(problems, problem)
    for problem in problems:
        if problem is not None:
            raise Agreed(problem)
    return result  # type: ignore[return-value]


def from_first(function: Callable[[], T]) -> T:
    """What the function returns on rank 0, which alone calls it.

    Raises:
        UserError: what it raised, on all of them.
    """
    if collectives.world_size() == 1:
        return function()
    answer: list = [None, None]
    if collectives.rank() == 0:
        try:
            answer[0] = function()
        except UserError as error:
            answer[1] = str(error)
    dist.broadcast_object_list(answer, 0)
    result, problem = answer
    if problem is not None:
        raise Agreed(problem)
    return result


def one_first(function: Callable[[], T]) -> T:
    """What the function returns, which writes files that it finds the next time.

    One process of each machine calls it before the others do.

    Raises:
        UserError: the first that it raised, on all of them.
    """
    early = local_rank() == 0
    first = together(lambda: function() if early else None)
    later = together(lambda: None if early else function())
    return first if early else later  # type: ignore[return-value]
