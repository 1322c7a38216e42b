"""What an iteration asks of the CUDA runtime: count.py ALGORITHM... prints JSON. See runtime.c.

cuDNN and cuBLAS are not there: operations on shapes stand in for what they compute.
"""

import ctypes
import json
import os
import sys
import warnings

import torch

warnings.simplefilter("ignore")
RUNTIME = ctypes.CDLL(os.environ["LD_PRELOAD"])
COUNTS = (ctypes.c_long * 6).in_dll(RUNTIME, "null_counts")
NAMES = ("launches", "to device", "to host", "on device", "synchronizations", "graphs")
COUNTED = 8  # iteration, after the capture
library = torch.library.Library("aten", "IMPL")


def stands_in(function):
    library.impl(function.__name__, function, "CUDA", allow_override=True)


@stands_in
def cudnn_convolution(x, w, padding, stride, dilation, groups, benchmark, deterministic, tf32):
    assert x.is_cuda and w.is_cuda and x.dtype == w.dtype  # noqa: PT018
    sizes = zip(x.shape[2:], w.shape[2:], padding, stride, dilation, strict=True)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, p, s, d in sizes]
    channels_last = torch.channels_last
    return x.new_empty((len(x), len(w), *out)).to(memory_format=channels_last)


@stands_in
def convolution_backward(g, x, w, bias, stride, padding, dilation, transposed, out, groups, mask):
    wanted = (torch.empty_like(x), torch.empty_like(w), g.new_empty(len(w)))
    return tuple(t if m else None for t, m in zip(wanted, mask, strict=True))


@stands_in
def mm(a, b):
    return a.new_empty(len(a), b.shape[1])


@stands_in
def addmm(c, a, b, *, beta=1, alpha=1):
    return a.new_empty(len(a), b.shape[1])


@stands_in
def mv(a, b):
    return a.new_empty(len(a))


@stands_in
def bmm(a, b):
    return a.new_empty(*a.shape[:2], b.shape[2])


@stands_in
def cudnn_batch_norm(x, w, b, mean, var, training, momentum, eps):
    reserve = torch.empty(0, dtype=torch.uint8, device=x.device)
    return torch.empty_like(x), torch.empty_like(w), torch.empty_like(w), reserve


@stands_in
def cudnn_batch_norm_backward(x, g, w, mean, var, save_mean, save_var, eps, reserve):
    return torch.empty_like(x), torch.empty_like(w), torch.empty_like(w)


def count(name: str, compile: str) -> dict:
    """Calls of one iteration; and why the steps were not captured, or None."""
    from metasemi_plugin.host import bad_steps, captured
    from metasemi_plugin.host.config import resolve
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device

    bad_steps.read_log = lambda algorithm: None  # as nothing is computed, nothing is finite
    args = resolve(None, {
        "algorithm": name, "dataset": "digits", "num_classes": 10, "num_labels": 40,
        "net": "cnn13_slim", "img_size": 16, "num_train_iter": COUNTED + 2, "num_eval_iter": 100,
        "num_log_iter": 100, "device": "cuda", "compile": compile,
    })  # fmt: skip
    algorithm = on_device(name)(args, net_builder(args), None, Silent())
    found, step = {}, captured.Step.__call__

    def counted(self, batch):
        COUNTS[:] = [0] * len(COUNTS)
        step(self, batch)
        if algorithm.it == COUNTED:
            found.update(zip(NAMES, COUNTS, strict=True), refused=self.refused)
            raise Done

    captured.Step.__call__ = counted
    try:
        algorithm.train()
    except Done:
        return found
    finally:
        captured.Step.__call__ = step


class Done(Exception):
    pass


class Silent:
    def info(self, *args):
        pass


if __name__ == "__main__":
    import metasemi_plugin

    metasemi_plugin.register()
    found = {n: {compile: count(n, compile) for compile in ("off", "auto")} for n in sys.argv[1:]}
    print(json.dumps(found))
