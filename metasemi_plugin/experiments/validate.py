"""What a suite will take, before anything starts.

Times are scaled from a step whose time was measured, in proportion to iterations, images a batch,
floating-point operations an image, and what a step of the method costs.
"""

import argparse
import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from metasemi_plugin.experiments.suite import Run, Suite

# A run folder's latest_model.pth, previous_model.pth and model_best.pth.
CHECKPOINTS = 3
# Methods whose step was not measured take about the time of one that was.
SIMILAR = {
    "supervised_mixup": "supervised",
    "fullysupervised": "supervised",
    "pseudolabel": "supervised",
    "temporal_ensembling": "supervised",
    "pimodel": "meanteacher",
    "sntg": "meanteacher",
    "fast_swa": "meanteacher",
    "learning_to_reweight": "metasemi",
    "mixmatch_original": "mixmatch",
    **dict.fromkeys(("uda", "flexmatch", "freematch", "softmatch", "remixmatch"), "fixmatch"),
}


class Work(NamedTuple):
    """What the time of a training is in proportion to."""

    iterations: float
    images: float  # a batch
    flops: float  # of one image through the net
    cost: float  # of a step, in units that are the same for all methods

    @property
    def total(self) -> float:
        """The product."""
        return self.iterations * self.images * self.flops * self.cost


def scaled(hours: float, done: Work, todo: Work) -> float:
    """Hours that `todo` will take where `done` took `hours`."""
    return hours * todo.total / done.total


class Step(NamedTuple):
    """A measured step that runs forward and backward and no more."""

    hours: float
    images: int
    net_args: dict
    img_size: int


class Measured(NamedTuple):
    """What `bench step` has found on a CPU in single precision."""

    steps: dict[str, Step]  # by backbone
    costs: dict[str, float]  # algorithm -> its whole step in units of that step
    machine: str


class Estimate(NamedTuple):
    """Of one run. None: nothing was measured that it could be scaled from."""

    hours: float | None
    gigabytes: float


def read_measured(folder: Path) -> Measured:
    """The records of `bench step` in a folder; without any, nothing is known."""
    steps: dict[str, Step] = {}
    costs: dict[str, float] = {}
    machine = ""
    for record in _records(folder):
        setting = record["setting"]
        if (setting["dtype"], setting["device"]) != ("fp32", "cpu"):
            continue
        plain = next(row["median_ms"] for row in record["rows"] if row["method"] == "plain")
        steps[setting["net"]] = Step(
            plain / 3.6e6,
            setting["batch_size"] + setting["ulb_batch_size"],
            {} if setting["width"] is None else {"width": setting["width"]},
            setting["img_size"],
        )
        whole = {row["algorithm"]: row for row in record["train_steps"] if not row["error"]}
        if "supervised" in whole:
            unit = whole["supervised"]["median_ms"] / plain
            costs |= {name: unit * row["ratio_to_supervised"] for name, row in whole.items()}
        machine = f"{setting['threads']} threads of {record['machine']['CPU']}"
    return Measured(steps, costs, machine)


def _records(folder: Path) -> Iterator[dict]:
    # `bench standard` writes a list of records into one file, `bench step --json` a single one.
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        yield from content if isinstance(content, list) else [content]


def estimate(args: argparse.Namespace, measured: Measured) -> Estimate:
    """What the run described by ``args`` will take."""
    family = "wrn_28_2" if args.net.startswith("wrn") else "cnn13"
    net = args.net if args.net in measured.steps else family
    step, cost, hours = measured.steps.get(net), step_cost(args, measured.costs), None
    if step is not None and cost is not None:
        of_net = flops(args.net, args.net_args, args.img_size)
        todo = Work(iterations(args), images(args), of_net, cost)
        done = Work(1, step.images, flops(net, step.net_args, step.img_size), cost=1)
        hours = scaled(step.hours, done, todo)
    return Estimate(hours, CHECKPOINTS * checkpoint_bytes(args) / 1e9)


def iterations(args: argparse.Namespace) -> float:
    """Those of the training, and the passes that measure Assumption 1."""
    every = getattr(args, "assumption1", 0)
    return args.num_train_iter * (1 + (args.assumption1_batches / every if every else 0))


def images(args: argparse.Namespace) -> int:
    """Images a batch: B + U, or B where the method looks at no unlabeled ones."""
    from metasemi_plugin.host.views import ulb_views

    return args.batch_size * (1 + args.uratio if ulb_views(args) else 1)


def step_cost(args: argparse.Namespace, costs: dict[str, float]) -> float | None:
    """A whole step of the method in plain steps; None if neither it nor one like it is measured."""
    cost = costs.get(SIMILAR.get(args.algorithm, args.algorithm))
    if cost is not None and getattr(args, "consistency", "none") != "none":
        # One more pass, forward and backward, of the unlabeled images.
        cost += costs["supervised"] * args.uratio / (1 + args.uratio)
    return cost


def flops(net: str, net_args: dict, img_size: int) -> float:
    """Floating-point operations of one image of img_size x img_size pixels, forward."""
    return _profile(net, json.dumps(net_args, sort_keys=True), img_size, 10, 3).flops


def checkpoint_bytes(args: argparse.Namespace) -> float:
    """Size of a checkpoint: model, teacher and the optimizer's averages, 4 bytes a number.

    What some methods keep besides, as Temporal Ensembling its targets, is not counted.
    """
    net_args = json.dumps(args.net_args, sort_keys=True)
    profile = _profile(args.net, net_args, args.img_size, args.num_classes, args.channels)
    averages = int(args.momentum > 0) if args.optim == "SGD" else 2
    return 4 * (2 * (profile.parameters + profile.buffers) + averages * profile.parameters)


class _Profile(NamedTuple):
    flops: float
    parameters: int
    buffers: int


@functools.cache
def _profile(net: str, net_args: str, img_size: int, num_classes: int, channels: int) -> _Profile:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from metasemi_plugin.host.nets import net_builder

    args = argparse.Namespace(
        net=net, net_args=json.loads(net_args), img_size=img_size, channels=channels
    )
    # Shapes only: nothing is allocated or computed.
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = net_builder(args)(num_classes=num_classes, pretrained=False, pretrained_path=None)
        model.eval()(torch.zeros(1, channels, img_size, img_size))
    sizes = (sum(t.numel() for t in part) for part in (model.parameters(), model.buffers()))
    return _Profile(counter.get_total_flops(), *sizes)


def describe(suite: Suite, measured: Measured) -> Iterator[str]:
    """Lines on the suite: per column its rows with what all their runs take, and the sums."""
    seeds = dict.fromkeys(run.seed for run in suite.runs)
    yield f"{suite.name}: {suite.title}"
    yield f"{len(suite.runs)} runs, seeds {' '.join(map(str, seeds))}"
    head = ("runs", "iterations", "CPU hours", "disk, GB")
    sums = []
    for column, of_column in itertools.groupby(suite.runs, lambda run: run.column):
        yield ""
        yield _line(column, head)
        totals = []
        for _, of_row in itertools.groupby(of_column, lambda run: (run.row, run.varied)):
            runs = list(of_row)
            totals.append(_total(runs, measured))
            yield _line(f"  {_name(runs[0])}", totals[-1])
        sums.append(_sum(totals))
        if len(totals) > 1:
            yield _line("  all of them", sums[-1])
    if len(sums) > 1:
        yield ""
        yield _line("All columns", _sum(sums))


_Total = tuple[int, int, float | None, float]


def _name(run: Run) -> str:
    return ", ".join([run.row, *(f"{key} {value}" for key, value in run.varied.items())])


def _total(runs: list[Run], measured: Measured) -> _Total:
    # Seeds do not differ in cost.
    one, n = estimate(runs[0].args, measured), len(runs)
    hours = None if one.hours is None else n * one.hours
    return n, n * runs[0].args.num_train_iter, hours, n * one.gigabytes


def _sum(totals: list[_Total]) -> _Total:
    runs, its, hours, disk = zip(*totals, strict=True)
    return sum(runs), sum(its), None if None in hours else sum(hours), sum(disk)


def _line(name: str, cells: Sequence[object]) -> str:
    return f"{name:48}" + "".join(
        f"{_text(cell):>{w}}" for cell, w in zip(cells, (6, 15, 11, 9), strict=True)
    )


def _text(cell: object) -> str:
    if cell is None:
        return "?"
    if isinstance(cell, float):
        return "<0.1" if cell < 0.1 else f"{cell:,.{int(cell < 10)}f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
