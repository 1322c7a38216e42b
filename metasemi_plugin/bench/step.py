"""The table of methods: what a step costs by each way to the meta-gradient, and how exact it is."""

import copy
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from metasemi_plugin.bench import kinks, timing
from metasemi_plugin.bench.memory import HOW, peak_mb
from metasemi_plugin.bench.methods import training_step
from metasemi_plugin.bench.setting import Batches, Setting, build
from metasemi_plugin.meta_gradient import buffers_restored, meta_gradient

# A sign counts where the reference is above this share of its largest magnitude.
SIGN_LIMIT = 1e-4
# Of the random layers' numbers, the same for every method and for the reference.
SEED = 0


def measure(
    setting: Setting, methods: Sequence[str], rounds: int, reference: bool, memory: bool
) -> list[dict]:
    """One row a method, all in this process on the same weights and tensors.

    Each method runs once before the rounds that are timed; that run gives its vector. Nothing
    updates the weights, so each round does the same.

    Args:
        setting: what to measure on.
        methods: names in METHODS; "plain" comes first, asked for or not.
        rounds: how many to time.
        reference: compare with the unrolled graph in float64, the slowest part of all.
        memory: measure peak memory, each method in a process of its own.

    Returns:
        Rows with the keys method, median_ms, ratio_to_plain (the median over the rounds) and
        ratio_range (their least and greatest), extra_memory_mb (above plain's), max_rel_diff and
        sign_agreement (`compare` with `exact_on_same_piece`), max_rel_diff_raw and
        sign_agreement_raw (with `exact`), and error. Numbers that there are not are None; error
        says why.

    Raises:
        UserError: no such backbone or device.
        Exception: whatever stops the plain step.
    """
    setting.set_threads()
    model, batches = build(setting)
    expected = {}
    if reference:
        expected = {"": exact_on_same_piece(model, batches, setting), "_raw": exact(model, batches)}
    memory = memory and setting.torch_device().type in HOW
    rows: dict[str, dict] = {}
    steps: dict[str, Callable[[], Tensor | None]] = {}
    peaks: dict[str, float] = {}
    vectors: dict[str, Tensor] = {}
    for name in ("plain", *(m for m in methods if m != "plain")):
        rows[name] = _empty_row(name)
        run = functools.partial(_run, setting, name, model, batches)
        try:
            v = run()
            if memory:
                peaks[name] = peak_mb(setting, name)
        except Exception as error:  # a library that is not there, or does not fit this torch
            if name == "plain":
                raise
            rows[name]["error"] = one_line(error)
            continue
        steps[name] = run
        if memory:
            rows[name]["extra_memory_mb"] = peaks[name] - peaks["plain"]
        if v is not None:
            vectors[name] = v.cpu().double()
    for name, v in vectors.items():
        for ending, reference_vector in expected.items():
            compared = compare(v, reference_vector)
            rows[name] |= {key + ending: value for key, value in compared.items()}
    times = timing.interleaved(steps, rounds)
    for name in steps:
        rows[name] |= summarize(times, name, "plain")
    return list(rows.values())


def summarize(times: timing.Times, name: str, base: str) -> dict:
    """The columns of a row that come from its times."""
    ratios = timing.ratios(times, name, base)
    return {
        "median_ms": timing.median_ms(times, name),
        f"ratio_to_{base}": timing.ratio(times, name, base),
        "ratio_range": [min(ratios), max(ratios)],
    }


def exact(model: nn.Module, batches: Batches) -> Tensor:
    """The meta-gradient by the unrolled graph in float64 on the CPU, (B + U,)."""
    torch.manual_seed(SEED)
    precise = copy.deepcopy(model).cpu().double()
    return meta_gradient(precise, *(t.cpu().double() for t in batches), method="unrolled")


def exact_on_same_piece(model: nn.Module, batches: Batches, setting: Setting) -> Tensor:
    """`exact`, on the sides of the kinks that a pass in the setting's precision takes, (B + U,).

    So it is the exact derivative of what that pass computed; see `kinks`.
    """
    torch.manual_seed(SEED)
    with buffers_restored(model), setting.precision():
        sides = {len(x): kinks.sides(model, x) for x in (batches.x_lb, batches.x_ulb)}
    return exact(kinks.OnSides(model, sides), batches)


def compare(v: Tensor, expected: Tensor) -> dict[str, float]:
    """max |v - expected| / max |expected|, and the share of equal signs where the sign is clear.

    Both vectors are float64, (B + U,).
    """
    scale = expected.abs().max()
    clear = expected.abs() > SIGN_LIMIT * scale
    return {
        "max_rel_diff": ((v - expected).abs().max() / scale).item(),
        "sign_agreement": (v.sign() == expected.sign())[clear].double().mean().item(),
    }


def one_line(error: Exception) -> str:
    """A kind of exception and the first line of what it says."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _run(setting: Setting, name: str, model: nn.Module, batches: Batches) -> Tensor | None:
    torch.manual_seed(SEED)
    return training_step(setting, name, model, batches)


def _empty_row(name: str) -> dict:
    times = ("median_ms", "ratio_to_plain", "ratio_range")
    exactness = ("max_rel_diff", "sign_agreement", "max_rel_diff_raw", "sign_agreement_raw")
    return {"method": name, **dict.fromkeys((*times, "extra_memory_mb", *exactness, "error"))}
