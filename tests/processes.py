"""Several processes that train together, for tests: ``on_ranks(2, function, *args)``."""

import os
import pickle
import tempfile
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist

from metasemi_plugin.distributed import fork_server

NO_ANSWER = "ended without an answer"


def on_ranks(
    count: int, function: Callable, *args, seconds: float = 120, dead: tuple[int, ...] = ()
) -> list:
    """What ``function(*args)`` returns on each of ``count`` ranks, joined by gloo.

    The ranks that are ``dead`` end without an answer, which is None then.

    Function, arguments and results must survive pickling; functions of a test module do.

    Raises:
        AssertionError: it failed on a rank, whose traceback is the message, or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = fork_server.context()
        pairs = [context.Pipe(duplex=False) for _ in range(count)]
        processes = [
            context.Process(target=_one, args=(rank, count, folder, writer, function, args))
            for rank, (_, writer) in enumerate(pairs)
        ]
        try:
            for process, (_, writer) in zip(processes, pairs, strict=True):
                process.start()
                writer.close()
            results = [_received(reader, seconds) for reader, _ in pairs]
        finally:
            for process in processes:
                process.kill()
                process.join()
    for rank in dead:
        assert results[rank] == (None, NO_ANSWER), f"rank {rank} has not ended: {results[rank]}"
    problems = [
        f"rank {rank}: {problem}"
        for rank, (_, problem) in enumerate(results)
        if problem and rank not in dead
    ]
    assert not problems, "\n".join(problems)
    return [result for result, _ in results]


def _received(reader, seconds: float):
    if not reader.poll(seconds):
        return None, f"no answer after {seconds} s"
    try:
        return pickle.loads(reader.recv_bytes())
    except EOFError:
        return None, NO_ANSWER


def _one(rank: int, count: int, folder: str, writer, function: Callable, args: tuple) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".torch.jit.script. is deprecated")  # as in pyproject.toml
    try:
        dist.init_process_group(
            "gloo", f"file://{folder}/store", timedelta(seconds=60), count, rank
        )
        torch.manual_seed(0)
        _send(writer, (function(*args), None))
    except BaseException:
        _send(writer, (None, traceback.format_exc()))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _send(writer, answer: tuple) -> None:
    """By value: multiprocessing's own pickling of tensors needs the sender to stay alive."""
    writer.send_bytes(pickle.dumps(answer))
