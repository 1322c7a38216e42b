"""What becomes of the rows: a record (JSON), a page (Markdown) and a picture (PNG)."""

import io
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from metasemi_plugin.bench.memory import HOW
from metasemi_plugin.bench.setting import Setting
from metasemi_plugin.machine import cpu_info, cpu_name, package_version
from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.run_folder import files

PACKAGES = ("metasemi-plugin", "torch", "torchvision", "semilearn", "higher", "torchopt")
LABELS = {
    "plain": "plain step",
    "unrolled": "unrolled (Algorithm 1)",
    "higher": "unrolled by higher",
    "torchopt": "unrolled by torchopt",
    "forward_ad": "forward mode, PyTorch's rules",
    "forward": "forward mode, ours",
    "finite_difference": "finite difference (inexact)",
}
AIMS = {
    "ours / plain, time": "at most 1.6",
    "unrolled / ours, time": "at least 4",
    "ours / unrolled, extra memory": "at most 0.25",
    "train_step: metasemi / mixmatch": "at most 1.05",
    "train_step: metasemi / ict": "at most 2",
}
# The flags by which a CPU says that it multiplies bfloat16 numbers itself.
BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def record(
    setting: Setting,
    rounds: int,
    rows: list[dict],
    train_steps: list[dict],
    operators: Sequence[dict] = (),
    processes: Sequence[dict] = (),
) -> dict:
    """All there is to know of one measurement, ready for JSON."""
    return {
        "setting": setting._asdict()
        | {"threads": torch.get_num_threads(), "device": str(setting.torch_device())},
        "rounds": rounds,
        "floor": setting.floor,
        "rows": rows,
        "train_steps": train_steps,
        "operators": list(operators),
        "processes": list(processes),
        "headline": headline(rows, train_steps),
        "memory_by": HOW.get(setting.torch_device().type),
        "machine": machine(),
    }


def headline(rows: list[dict], train_steps: list[dict]) -> dict[str, float]:
    """The quotients that the method stands or falls by, of those whose parts were measured."""
    ratio = {row["method"]: row["ratio_to_plain"] for row in rows}
    memory = {row["method"]: row["extra_memory_mb"] for row in rows}
    whole = {row["algorithm"]: row["ratio_to_supervised"] for row in train_steps}
    quotients = {
        "ours / plain, time": (ratio.get("forward"), 1.0),
        "unrolled / ours, time": (ratio.get("unrolled"), ratio.get("forward")),
        "higher / unrolled, time": (ratio.get("higher"), ratio.get("unrolled")),
        "torchopt / unrolled, time": (ratio.get("torchopt"), ratio.get("unrolled")),
        "ours / unrolled, extra memory": (memory.get("forward"), memory.get("unrolled")),
        "train_step: metasemi / mixmatch": (whole.get("metasemi"), whole.get("mixmatch")),
        "train_step: metasemi / ict": (whole.get("metasemi"), whole.get("ict")),
    }
    return {name: a / b for name, (a, b) in quotients.items() if a is not None and b}


def machine() -> dict[str, str]:
    """Hardware and versions."""
    found = [flag for flag in BF16_FLAGS if flag in cpu_info().get("flags", "").split()]
    facts = {
        "CPU": cpu_name(),
        "CPU's bf16 units": ", ".join(found) or "none",
        "system": platform.system(),
        "Python": platform.python_version(),
    }
    if torch.cuda.is_available():
        facts["GPU"] = torch.cuda.get_device_name()
    return facts | {package: package_version(package) for package in PACKAGES}


def cpu_has_bf16() -> bool:
    """Whether bfloat16 is worth timing on this CPU."""
    return machine()["CPU's bf16 units"] != "none"


def markdown(records: Sequence[dict], notes: Sequence[str] = ()) -> str:
    """The page: a section a record, then the machine. Notes come first."""
    parts = ["# What a training step costs", *notes]
    for r in records:
        parts += [f"## {title(r)}", _describe(r)]
        if r["rows"]:
            parts.append(_methods_table(r))
        if r["train_steps"]:
            parts.append(_algorithms_table(r))
        if r["operators"]:
            parts.append(_operators_table(r))
        if r["processes"]:
            parts.append(_processes_table(r))
        if r["headline"]:
            parts.append("\n".join(_quotient(*item) for item in r["headline"].items()))
    facts = "\n".join(f"- {name}: {value}" for name, value in records[0]["machine"].items())
    return "\n\n".join([*parts, "## Machine and versions", facts]) + "\n"


def title(r: dict) -> str:
    """Of a record."""
    return str(Setting(**r["setting"]))


def write_json(content: object, path: Path) -> None:
    """As indented text, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, f"{json.dumps(content, indent=2)}\n".encode())


def picture(records: Sequence[dict]) -> bytes:
    """PNG: bar charts of the ratios to plain, a panel a record, readable without colors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [r for r in records if r["rows"]]
    height = sum(1 + 0.35 * len(r["rows"]) for r in drawn)
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(drawn), squeeze=False)[:, 0]
    for panel, r in zip(panels, drawn, strict=True):
        _bars(panel, r)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    return buffer.getvalue()


def _bars(panel, r: dict) -> None:
    rows = [row for row in r["rows"] if row["ratio_to_plain"] is not None]
    ratios = [row["ratio_to_plain"] for row in rows]
    ours = [row["method"] == "forward" for row in rows]
    bars = panel.barh(
        [LABELS[row["method"]] for row in rows],
        ratios,
        color=["0.35" if own else "0.85" for own in ours],
        edgecolor="black",
        xerr=[
            [value - row["ratio_range"][0] for value, row in zip(ratios, rows, strict=True)],
            [row["ratio_range"][1] - value for value, row in zip(ratios, rows, strict=True)],
        ],
    )
    panel.bar_label(bars, fmt="%.2f", padding=3)
    panel.axvline(r["floor"], color="black", linestyle="--", linewidth=1)
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.set_xlabel(f"time of a step, plain = 1 (dashed: floor of forward mode {r['floor']:.2f})")
    panel.set_title(title(r))


def _describe(r: dict) -> str:
    s = r["setting"]
    return (
        f"B = {s['batch_size']} labeled and U = {s['ulb_batch_size']} unlabeled images of "
        f"{s['img_size']}x{s['img_size']} pixels, device {s['device']}, "
        f"CPU threads: {s['threads']}; "
        f"median of {r['rounds']} interleaved rounds, least and greatest ratio in brackets; "
        f"{s['warmup_steps']} training steps before. The floor of exact forward mode, "
        f"(3B + 5(B+U)) / (3B + 3(B+U)), is {r['floor']:.2f}."
    )


def _methods_table(r: dict) -> str:
    head = ("method", "median ms", "ratio to plain", "extra memory, MiB",
            "max rel. difference to float64, same piece", "equal signs",
            "to float64 by itself", "equal signs")  # fmt: skip
    body = [
        (
            LABELS[row["method"]],
            *_times(row, "ratio_to_plain"),
            _number(row["extra_memory_mb"], ".0f"),
            _number(row["max_rel_diff"], ".1e"),
            _number(row["sign_agreement"], ".1%"),
            _number(row["max_rel_diff_raw"], ".1e"),
            _number(row["sign_agreement_raw"], ".1%"),
        )
        for row in r["rows"]
    ]
    below = (
        "Differences and signs: against the unrolled graph in float64 on the CPU, signs where the "
        "reference is above 1e-4 of its greatest magnitude. Where a unit lies within rounding of "
        "the kink of its ReLU or max-pooling, float64 by itself runs on another linear piece of "
        "the net than this precision, and so differs by any exact method. On the same piece, each "
        "kink decided as in this precision, the difference is the method's own error."
    )
    if any(row["extra_memory_mb"] is not None for row in r["rows"]):
        below += f" Memory: peak above plain's, each in its own process, by {r['memory_by']}."
    return f"{markdown_table(head, body)}\n\n{below}"


def _algorithms_table(r: dict) -> str:
    head = ("whole train_step", "median ms", "ratio to supervised")
    body = [(row["algorithm"], *_times(row, "ratio_to_supervised")) for row in r["train_steps"]]
    return f"{markdown_table(head, body)}\n\nsupervised is given B + U labeled images."


def _operators_table(r: dict) -> str:
    methods = list(r["operators"][0])[1:]
    head = ("self time of operators, ms", *(LABELS[m] for m in methods))
    body = [(row["operator"], *(f"{row[m]:.1f}" for m in methods)) for row in r["operators"]]
    below = "One step each, by torch.profiler, which costs time itself."
    return f"{markdown_table(head, body)}\n\n{below}"


def _processes_table(r: dict) -> str:
    head = ("a step", "one process, ms", "several, ms", "speed-up", "communication", "waiting",
            "MB sent")  # fmt: skip
    body = [
        (
            f"{LABELS[row['method']]}, {row['processes']} processes",
            f"{row['alone_ms']:.1f}",
            f"{row['together_ms']:.1f}",
            f"{row['speed_up']:.2f}",
            f"{row['communication']:.1%}",
            f"{row['waiting']:.1%}",
            f"{row['megabytes']:.2f}",
        )
        for row in r["processes"]
    ]
    return (
        f"{markdown_table(head, body)}\n\n"
        "One process has the whole batch while the others wait; CPU "
        f"threads of each: {r['processes'][0]['threads']}. Communication and waiting are shares of "
        "the step of several: what the messages take by themselves, and what the mean process "
        "waits in them for a slower one."
    )


def _quotient(name: str, value: float) -> str:
    return f"- {name}: {value:.2f}" + (f" (aim: {AIMS[name]})" if name in AIMS else "")


def _times(row: dict, ratio: str) -> tuple[str, str]:
    if row["error"]:
        return f"not available: {row['error']}", ""
    least, greatest = row["ratio_range"]
    return f"{row['median_ms']:.1f}", f"{row[ratio]:.2f} [{least:.2f}, {greatest:.2f}]"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
