"""An iteration on a GPU as one captured graph: one copy to the device, one launch.

What is captured is all that an iteration computes: train_step, backward, clipping, the optimizer,
the average, the guard against bad steps, the vector that is logged. The hooks that are part of it
say so (``in_step``); the others run on the host after each replay, as ever. What an iteration
takes from the host goes by `step_inputs`.

Algorithms of semilearn are captured as they are where their step allows it: an `.item()` for the
log stays on the device, and the iteration that their linear ramps read comes from the host.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metasemi_plugin import random_numbers
from metasemi_plugin.distributed import collectives
from metasemi_plugin.step_inputs import Tape, from_host

WARM_UP = 3  # iterations before the capture, in which libraries choose algorithms and make buffers


def why_not(algorithm) -> str | None:
    """Why the steps of a run are not captured, or None."""
    if algorithm.args.compile == "off":
        return "compile is off"
    if algorithm.device.type != "cuda":
        return "there is nothing to capture on a device that is no CUDA GPU"
    if collectives.world_size() > 1:
        return "several processes exchange messages in each step"
    if getattr(algorithm.args, "meta_gradient", None) == "unrolled":
        return "the unrolled meta-gradient sets the GPU's random numbers back within a step"
    if algorithm.loss_scaler.is_enabled():
        return "float16's loss scaling decides on the host: use amp_dtype bfloat16"
    return None


class Step:
    """The iterations of a run, captured as soon as they are warm.

    Args:
        algorithm: an `OnDevice`.
    """

    def __init__(self, algorithm):
        self.algorithm = algorithm
        self.refused = why_not(algorithm)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.tape = Tape(algorithm.device)
        self.seen = 0
        self.shapes: dict[str, tuple] = {}
        hooks = algorithm.hooks_dict.values()
        self.hooks = [hook for hook in hooks if hasattr(hook, "in_step")]
        self.outside = [hook for hook in hooks if not hasattr(hook, "in_step")]
        if self.refused is None:
            self.stream = torch.cuda.Stream(algorithm.device)

    def __call__(self, batch: dict[str, Tensor]) -> None:
        """One iteration: `in_step` hooks and train_step, which leave out_dict and log_dict.

        Args:
            batch: arguments of train_step, on the CPU.
        """
        self.batch = batch
        shapes = {name: (t.shape, t.dtype) for name, t in batch.items()}
        self.shapes = self.shapes or shapes
        if self.refused is not None or shapes != self.shapes:
            self.compute()
            return
        self.seen += 1
        if self.seen < WARM_UP:
            with self.beside():
                self.compute()
        elif self.seen == WARM_UP:
            with self.beside(), self.tape.recording():
                self.compute()
        else:
            if self.graph is None:
                self.capture()
            if self.graph is None:
                self.compute()
            else:
                self.replay(self.graph)

    def compute(self) -> None:
        """An iteration, operation by operation."""
        algorithm = self.algorithm
        batch = algorithm.to_device(self.batch_from_host())
        with algorithm.reading_as_tensors():
            for hook in self.hooks:
                hook.before_train_step(algorithm)
            algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
            for hook in self.hooks:
                hook.after_train_step(algorithm)

    def batch_from_host(self) -> dict[str, Tensor]:
        device = self.algorithm.device
        return {n: from_host(partial(self._of_batch, n), device) for n in self.batch}

    def _of_batch(self, name: str) -> Tensor:
        return self.batch[name]

    @contextmanager
    def beside(self) -> Iterator[None]:
        """A block on the stream of the capture, in order with what is around it."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)

    def capture(self) -> None:
        """Make the graph; where a step cannot be captured, say why, once, and leave no trace."""
        algorithm = self.algorithm
        graph = torch.cuda.CUDAGraph()
        before, drawn = _Kept(algorithm), random_numbers.state()
        it, algorithm.it = algorithm.it, Iteration(algorithm, self.tape)
        try:
            with torch.cuda.graph(graph, stream=self.stream), self.tape.replaying():
                self.compute()
            if host_drew(drawn):
                raise RuntimeError("it draws random numbers that a replay would repeat")
        except Exception as error:  # whatever it is, the iteration can be computed as it is
            before.restore()
            random_numbers.set_state(drawn)
            algorithm.it = it
            self.refused = f"{_place(error)}{str(error).strip().splitlines()[0]}"
            algorithm.print_fn(f"steps are not captured as a CUDA graph: {self.refused}")
        else:
            algorithm.it = it
            self.graph = graph
            self.made = (
                dict(algorithm.out_dict),
                dict(algorithm.log_dict),
                *algorithm.run_state.logged,
            )

    def replay(self, graph: torch.cuda.CUDAGraph) -> None:
        algorithm = self.algorithm
        self.tape.draw()
        graph.replay()
        out_dict, log_dict, names, vector = self.made
        algorithm.out_dict, algorithm.log_dict = dict(out_dict), dict(log_dict)
        algorithm.run_state.logged = names, vector.clone()
        algorithm.ema.moved()


class Iteration:
    """``algorithm.it`` while a step is captured, as the linear ramps of semilearn read it.

    They say ``np.clip(self.it / length, 0, 1)``, of which this makes a tensor. What else is read
    of it would be the same in each replay, and is an error.
    """

    def __init__(self, algorithm, tape: Tape, length: float = 1.0):
        self.algorithm, self.tape, self.length = algorithm, tape, length

    def __truediv__(self, length: float) -> "Iteration":
        return Iteration(self.algorithm, self.tape, length)

    def clip(self, low: float, high: float, out: None = None) -> Tensor:
        """0-d."""
        return self.tape.number(lambda: np.clip(self.algorithm.it / self.length, low, high))


class ReadingAsTensors(TorchFunctionMode):
    """A block in which ``loss.item()`` is the tensor, and no copy to the GPU is waited for."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.item and args[0].is_cuda:
            return args[0].detach()
        to_gpu = func in (Tensor.cuda, Tensor.to) and not args[0].is_cuda
        if to_gpu and not torch.cuda.is_current_stream_capturing():
            return func(args[0].pin_memory(), *args[1:], **{"non_blocking": True, **kwargs})
        return func(*args, **kwargs)


class _Kept:
    """What a capture that fails on its way may have changed on the host: everything is put back."""

    def __init__(self, algorithm):
        self.algorithm = algorithm
        owners = (algorithm, algorithm.ema, *algorithm.hooks_dict.values())
        self.attributes = [(owner, dict(vars(owner))) for owner in owners]
        self.modules = [(m, dict(vars(m))) for m in algorithm.model.modules()]
        tensors = [*algorithm.model.parameters(), *algorithm.model.buffers()]
        self.memory = [(t, t.data) for t in (*tensors, *algorithm.ema.statistics.values())]

    def restore(self) -> None:
        for owner, attributes in (*self.attributes, *self.modules):
            vars(owner).clear()
            vars(owner).update(attributes)
        for tensor, data in self.memory:
            tensor.data = data
        self.algorithm.bn_controller.reset()
        self.algorithm.ema.backup = {}
        self.algorithm.model.zero_grad()


def host_drew(since: dict) -> bool:
    """Whether a generator of the host has moved since that state; a graph takes the GPU's along."""
    now = random_numbers.state()
    return not all(random_numbers.equal(now[k], since[k]) for k in ("python", "numpy", "torch"))


def _place(error: BaseException) -> str:
    """The innermost line that is neither torch's nor this file's, as "file.py:7: "."""
    own = Path(torch.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if own not in path.parents and path.name != "captured.py" and "numpy" not in path.parts:
            return f"{path.name}:{frame.lineno}: "
    return ""
