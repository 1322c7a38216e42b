"""Training in one process, in those that torchrun has started, or in some of our own."""

import os
import socket
from collections.abc import Mapping

import torch
import torch.multiprocessing as mp
from torch.multiprocessing import ProcessExitedException

from metasemi_plugin.config.resolve import settle
from metasemi_plugin.distributed import collectives, fork_server
from metasemi_plugin.distributed.process_group import joined, together
from metasemi_plugin.distributed.torchrun import TORCHRUN
from metasemi_plugin.errors import Interrupted, UserError
from metasemi_plugin.host.config import resolve
from metasemi_plugin.host.device import resolve_device
from metasemi_plugin.host.runner import run
from metasemi_plugin.host.stopping import on_signals


def train(config: str | None, options: Mapping[str, object]) -> dict:
    """Train the run of a file and further options; see `run`.

    Raises:
        UserError: bad input, or see `run`.
        Interrupted: see `run`.
    """
    with joined():
        args = together(lambda: resolve(config, options))
        count = 1 if collectives.world_size() > 1 else _wanted(args)
        if count == 1:
            if left_out := settle(config, options)[1]:
                print(f"options that {args.algorithm} has not: {', '.join(left_out)}: left out")
            return run(args)
    return _in_processes(count, config, dict(options))


def _wanted(args) -> int:
    """How many processes multiprocessing_distributed asks for: one for each GPU of this machine."""
    if not args.multiprocessing_distributed:
        return 1
    device = resolve_device(args.device)
    if device.type != "cuda":
        return args.world_size
    return torch.cuda.device_count() if device.index is None else 1


def _in_processes(count: int, config: str | None, options: dict) -> dict:
    """The same by so many new processes, which import the main module as multiprocessing does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = fork_server.context().SimpleQueue()
    started = mp.start_processes(
        _one,
        (count, port, dict(os.environ), results, config, options),
        count,
        join=False,
        start_method=fork_server.START_METHOD,
    )

    def pass_on(number, frame):
        for pid in started.pids():
            os.kill(pid, number)

    try:
        with on_signals(pass_on):  # they stop by themselves
            while not started.join():
                pass
    except ProcessExitedException as error:
        raise UserError(
            f"process {error.error_index} of this run has ended ({error.signal_name or 'by itself'}"
            "): the same command with --resume goes on from the last checkpoint"
        ) from error
    answers = dict(results.get() for _ in range(count))
    result = answers[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _one(
    rank: int,
    count: int,
    port: int,
    environment: dict,
    results,
    config: str | None,
    options: dict,
) -> None:
    where = rank, count, rank, "127.0.0.1", port
    os.environ |= environment | dict(zip(TORCHRUN, map(str, where), strict=True))
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    import metasemi_plugin

    metasemi_plugin.register()
    try:
        answer: object = train(config, options)
    except (UserError, Interrupted) as error:
        answer = type(error)(str(error))
    results.put((rank, answer))
