"""The table of processes: what a step costs when several share its batch, and what they say.

Each process has its part of X~ and U~, and the same weights. What they tell each other is what they
do in training: the labeled gradient, the number of kept samples, and the gradient that is trained
on. Device "cuda" gives each process a GPU of its own, and NCCL; "cpu" is gloo on this machine.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn

from metasemi_plugin.bench import timing
from metasemi_plugin.bench.methods import training_step
from metasemi_plugin.bench.setting import Batches, Setting, build
from metasemi_plugin.distributed import collectives, fork_server
from metasemi_plugin.errors import UserError
from metasemi_plugin.machine import cpu_cores

METHODS = ("plain", "forward")


def measure(setting: Setting, count: int, rounds: int) -> list[dict]:
    """One row for each of METHODS, with one process and with several in turns.

    Returns:
        Rows with the keys method; processes; threads, of each; alone_ms, the whole batch on one
        process while the others wait; together_ms; speed_up, the median over the rounds of their
        quotient; communication, the share of a step that goes into messages alone, and waiting,
        the share that the mean process waits in them for a slower one; and megabytes, what a
        process sends in a step, before the algorithm of the transport makes more of it.

    Raises:
        UserError: fewer than two processes, or more than there are GPUs.
    """
    device = setting.torch_device()
    if setting.threads is None:
        setting = setting._replace(threads=max(1, cpu_cores() // count))
    if count < 2:
        raise UserError(f"--nproc: a comparison of processes needs at least 2, not {count}")
    if device.type == "cuda" and count > torch.cuda.device_count():
        raise UserError(f"--nproc: {count} processes need as many GPUs as that")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(count, mp_context=fork_server.context()) as pool,
    ):
        jobs = [
            pool.submit(_measure, setting, count, rank, rounds, folder) for rank in range(count)
        ]
        of_ranks = [job.result() for job in jobs]
    return [
        {"method": name, "processes": count, "threads": setting.threads}
        | _summary([times[name] for times in of_ranks])
        for name in METHODS
    ]


def _measure(setting: Setting, count: int, rank: int, rounds: int, folder: str) -> dict:
    """On one rank: for each method and round, what `_round` says."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if setting.torch_device().type == "cuda":
        setting = setting._replace(device=f"cuda:{rank}")
        torch.cuda.set_device(rank)
    setting.set_threads()
    model, whole = build(setting)
    backend = "nccl" if setting.torch_device().type == "cuda" else "gloo"
    dist.init_process_group(backend, f"file://{folder}/store", world_size=count, rank=rank)
    try:
        own = Batches(*(t[collectives.own(len(t))] for t in whole))
        return {
            # The first round warms up.
            name: [_round(setting, name, model, whole, own) for _ in range(rounds + 1)][1:]
            for name in METHODS
        }
    finally:
        dist.destroy_process_group()


def _round(setting: Setting, name: str, model: nn.Module, whole: Batches, own: Batches) -> dict:
    """Seconds of one step on rank 0 alone, of one by all together, and of the messages in that."""
    dist.barrier()
    alone = 0.0
    if collectives.rank() == 0:
        with collectives.alone():
            alone = timing.seconds(lambda: training_step(setting, name, model, whole))
    dist.barrier()
    with _messages() as sent:
        together = timing.seconds(lambda: training_step(setting, name, model, own))
    return {"alone": alone, "together": together, **sent}


@contextmanager
def _messages() -> Iterator[dict]:
    """Counts the seconds and the bytes of all sums over the ranks in a block."""
    sent = {"messages": 0.0, "bytes": 0}
    send = dist.all_reduce

    def timed(tensor, *args, **kwargs):
        timing.synchronize()
        started = time.perf_counter()
        send(tensor, *args, **kwargs)
        timing.synchronize()
        sent["messages"] += time.perf_counter() - started
        sent["bytes"] += tensor.nbytes

    dist.all_reduce = timed
    try:
        yield sent
    finally:
        dist.all_reduce = send


def _summary(of_ranks: list[list[dict]]) -> dict:
    rounds = list(zip(*of_ranks, strict=True))
    alone = [r[0]["alone"] for r in rounds]
    together = [max(one["together"] for one in r) for r in rounds]
    # Who comes last to a message waits for nobody.
    messages = [min(one["messages"] for one in r) for r in rounds]
    waiting = [statistics.fmean(one["messages"] for one in r) - m
               for r, m in zip(rounds, messages, strict=True)]  # fmt: skip

    def share(part: list[float]) -> float:
        return statistics.median(p / t for p, t in zip(part, together, strict=True))

    return {
        "alone_ms": 1e3 * statistics.median(alone),
        "together_ms": 1e3 * statistics.median(together),
        "speed_up": share(alone),
        "communication": share(messages),
        "waiting": share(waiting),
        "megabytes": rounds[0][0]["bytes"] / 1e6,
    }
