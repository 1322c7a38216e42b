"""Peak memory of one step, in a process of its own."""

import functools
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from metasemi_plugin.bench.methods import training_step
from metasemi_plugin.bench.profiling import cpu_profile
from metasemi_plugin.bench.setting import Setting, build
from metasemi_plugin.distributed import fork_server

HOW = {
    "cuda": "torch.cuda.max_memory_allocated",
    "cpu": "torch.profiler, running total of what torch's CPU allocator has given out",
}


def peak_mb(setting: Setting, method: str) -> float:
    """The most that one step holds at a time beyond weights and batches, in 2^20 bytes.

    Raises:
        concurrent.futures.process.BrokenProcessPool: the process died, as of too little memory.
        Exception: whatever the step raises.
    """
    # The weights do not matter to it, so they are not trained.
    untrained = setting._replace(warmup_steps=0)
    with ProcessPoolExecutor(1, mp_context=fork_server.context()) as process:
        return process.submit(_peak_mb, untrained, method).result()


def _peak_mb(setting: Setting, method: str) -> float:
    setting.set_threads()
    model, batches = build(setting)
    run = functools.partial(training_step, setting, method, model, batches)
    device = setting.torch_device()
    peak = _peak_on_cuda(run, device) if device.type == "cuda" else _peak_on_cpu(run)
    return peak / 2**20


def _peak_on_cuda(run, device: torch.device) -> int:
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


def _peak_on_cpu(run) -> int:
    with cpu_profile(profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    # Every allocation and release comes with the total of what was allocated since the start.
    return max(e["args"]["Total Allocated"] for e in events if e["name"] == "[memory]")
