"""The tables of a GPU: a step by each method and a whole iteration, eager and captured.

Each table is written as soon as it is measured, and is not measured again: what is cut off goes on
with the next call.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

import metasemi_plugin
from metasemi_plugin.bench import timing
from metasemi_plugin.bench.methods import training_step
from metasemi_plugin.bench.setting import Setting, build
from metasemi_plugin.bench.step import one_line
from metasemi_plugin.errors import UserError
from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.run_folder import files

NETS = ("cnn13", "cnn13_slim", "wrn_28_2", "timm/resnet18", "vit_tiny_patch2_32")
PRECISIONS = ("fp32", "tf32", "bf16")
METHODS = ("plain", "forward", "unrolled", "higher", "torchopt")
ALGORITHMS = (
    "metasemi",
    "supervised",
    "ict",
    "mixmatch_original",
    "mixmatch",
    "meanteacher",
    "fixmatch",
)
ROUNDS, CALLS = 9, 4
WARM, TIMED = 20, 80  # iterations


def main(folder: Path, only: str = "") -> None:
    """All tables, or those whose names begin with ``only``, into a folder: gpu.json and README.md.

    Raises:
        UserError: there is no GPU, or the folder holds what is not ours.
    """
    if not torch.cuda.is_available():
        raise UserError("bench gpu: there is no CUDA device on this machine")
    files.expect_ours(folder, "gpu.json", "README.md")
    path = folder / "gpu.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    card = torch.cuda.get_device_name()
    if found.setdefault("card", card) != card:
        raise UserError(f"{path}: was measured on {found['card']}, this is {card}: use --folder")
    found["torch"] = torch.__version__
    for name, measure in _parts().items():
        if not name.startswith(only):
            continue
        if name not in found.setdefault("tables", {}):
            found["tables"][name] = measure()
            files.replace(path, f"{json.dumps(found, indent=1)}\n".encode())
            files.replace(folder / "README.md", page(found).encode())
        print(f"## {name}\n\n{markdown_table(*rows(found['tables'][name]))}\n", flush=True)


def _parts() -> dict[str, Callable[[], list[dict]]]:
    steps = {f"step: {n} {p}": partial(step, n, p) for n in NETS for p in PRECISIONS}
    nets = ("cnn13", "cnn13_slim", "wrn_28_2")
    return steps | {
        f"iteration: {n} {p}": partial(iteration, n, p) for n in nets for p in ("bf16", "tf32")
    }


def set_precision(precision: str) -> None:
    """TF32 in convolutions and matrix products, or not."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def _setting(net: str, precision: str) -> Setting:
    return Setting(net, dtype="bf16" if precision == "bf16" else "fp32", device="cuda")


def step(net: str, precision: str) -> list[dict]:
    """Milliseconds of a step without the optimizer by each method, and their ratio to plain's."""
    set_precision(precision)
    setting = _setting(net, precision)
    model, batches = build(setting)
    found: list[dict] = []
    runs: dict[str, Callable[[], object]] = {}
    for method in METHODS:
        row: dict[str, object] = {"method": method}
        found.append(row)
        run = partial(training_step, setting, method, model, batches)
        try:
            torch.cuda.reset_peak_memory_stats()
            run()
            row["memory MB"] = torch.cuda.max_memory_allocated() / 2**20
            runs[f"{method} eager"] = run
            runs[f"{method} captured"] = captured(run)
        except Exception as error:  # a library that is not there, or does not fit this torch
            row["note"] = one_line(error)
            torch.cuda.synchronize()
    times = timing.interleaved(runs, ROUNDS, CALLS)
    for row in found:
        for way in ("eager", "captured"):
            key, plain = f"{row['method']} {way}", f"plain {way}"
            if key in times:
                row[f"{way} ms"] = timing.median_ms(times, key)
                row[f"{way} ratio"] = timing.ratio(times, key, plain)
    return found


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """The same as a CUDA graph."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph, stream=stream):
        run()
    return graph.replay


def iteration(net: str, precision: str) -> list[dict]:
    """Milliseconds of an iteration of a run, data and hooks included, by algorithm."""
    return [
        {"algorithm": name}
        | {
            k: v
            for compile in ("auto", "off")
            for k, v in _iterations(name, net, precision, compile)
        }
        for name in ALGORITHMS
    ]


def _iterations(name: str, net: str, precision: str, compile: str) -> list[tuple[str, object]]:
    metasemi_plugin.register()
    from metasemi_plugin.host.hooks import Hook
    from metasemi_plugin.host.nets import net_builder
    from metasemi_plugin.host.on_device import on_device
    from metasemi_plugin.host.runner import no_host_warnings

    class Clock(Hook):
        def after_train_step(self, algorithm):
            if algorithm.it in (WARM - 1, WARM + TIMED - 1):
                torch.cuda.synchronize()
                ticks.append(time.perf_counter())

    ticks: list[float] = []
    said: list[str] = []
    args = _setting(net, precision).run(
        name, num_labels=1000, batch_size=25, uratio=3, eval_batch_size=256, compile=compile,
        tf32=precision == "tf32",
        **dict.fromkeys(("num_train_iter", "num_eval_iter", "num_log_iter"), WARM + TIMED),
    )  # fmt: skip
    torch.manual_seed(0)
    torch.cuda.reset_peak_memory_stats()
    with no_host_warnings():
        algorithm = on_device(name)(args, net_builder(args), None, _Silent(said))
        algorithm.register_hook(Clock(), priority="LOWEST")
        algorithm.train()
    way = "captured" if compile == "auto" else "eager"
    refused = [line for line in said if "not captured" in line]
    if compile == "auto" and refused:
        return [("note", refused[0])]
    return [
        (f"{way} ms", 1e3 * (ticks[1] - ticks[0]) / TIMED),
        (f"{way} MB", torch.cuda.max_memory_allocated() / 2**20),
    ]


def rows(found: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of a table."""
    head = list(dict.fromkeys(key for row in found for key in row))
    return head, [[_cell(row.get(key)) for key in head] for row in found]


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def page(found: dict) -> str:
    """README.md."""
    parts = [
        f"# Measured on {found['card']}",
        f"torch {found['torch']}. Made by `make gpu`; the numbers are in `gpu.json`. A step is "
        "forward and backward passes on B = 25 and B + U = 100 images of 32x32 pixels without the "
        "optimizer; `plain` trains on the same images without a meta-gradient, and ratios are to "
        "it. An iteration is all that a run does: data, step, optimizer, average, hooks.",
    ]
    for name, measured in found["tables"].items():
        parts += [f"## {name}", markdown_table(*rows(measured))]
    return "\n\n".join(parts) + "\n"


class _Silent:
    def __init__(self, said: list[str]):
        self.said = said

    def info(self, line: str, *args: object) -> None:
        self.said.append(str(line))
