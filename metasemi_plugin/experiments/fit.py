"""How well trained nets fit the images they were given labels of: ``fit RUN_FOLDERS``.

Beside the error on test images this tells a net that learns the labels by heart, and gains nothing
from its unlabelled images, from one that is kept from fitting even the labels.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import metasemi_plugin
from metasemi_plugin.markdown_table import markdown_table


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit status.

    Raises:
        UserError: no such run, or no such checkpoint.
    """
    arguments = _parser().parse_args(argv)
    metasemi_plugin.register()
    from metasemi_plugin.host.loaded import loaded

    fits: dict[str, Sequence[Fit]] = {}
    for folder in arguments.runs:
        algorithm = loaded(folder, arguments.checkpoint)
        net = algorithm.ema_model.eval()
        parts = labelled(algorithm), test(algorithm)
        validation = algorithm.chosen_on == "validation" and "test" not in algorithm.loader_dict
        name = f"{folder.as_posix()}{' (on validation images)' * validation}"
        fits[name] = [fit(net, part) for part in parts]
    print(table(fits))
    return 0


class Fit(NamedTuple):
    """Share of images that are misclassified, mean cross-entropy, mean greatest probability."""

    error: float
    cross_entropy: float
    confidence: float


@torch.no_grad()
def fit(net, batches: Iterator[tuple[Tensor, Tensor]]) -> Fit:
    """How well a net fits batches of images, (N, 3, H, W), and their classes, (N,)."""
    answers = [(net(x)["logits"], y) for x, y in batches]
    logits, y = (torch.cat(parts) for parts in zip(*answers, strict=True))
    confidence, guess = logits.softmax(1).max(1)
    wrong = (guess != y).to(logits.dtype)
    return Fit(wrong.mean().item(), F.cross_entropy(logits, y).item(), confidence.mean().item())


def labelled(algorithm) -> Iterator[tuple[Tensor, Tensor]]:
    """All labelled images of a loaded run, each once, weakly augmented as in training."""
    left, size = len(algorithm.dataset_dict["train_lb"]), algorithm.args.batch_size
    for place in range(-(-left // size)):
        batch = algorithm.spare_batch("train_lb", size, place)
        yield batch["x_lb"][:left], batch["y_lb"][:left]
        left -= size


def test(algorithm) -> Iterator[tuple[Tensor, Tensor]]:
    """The test images of a loaded run, or validation images where it has no others."""
    loaders = algorithm.loader_dict
    for batch in loaders.get("test", loaders["eval"]):
        batch = algorithm.process_batch(**batch)
        yield batch["x_lb"], batch["y_lb"]


def table(fits: dict[str, Sequence[Fit]]) -> str:
    """Markdown: a row a run; labelled images, then test images."""
    head = ["run"]
    for part in ("labelled", "test"):
        head += [f"{part}: error", "cross-entropy", "confidence"]
    rows = []
    for name, parts in fits.items():
        cells = (
            (f"{100 * p.error:.1f}", f"{p.cross_entropy:.2f}", f"{p.confidence:.2f}") for p in parts
        )
        rows.append([name, *sum(cells, ())])
    return markdown_table(head, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metasemi_plugin fit",
        description="Errors of trained nets on their labelled images and on test images.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--checkpoint", default="latest_model.pth", help="default: %(default)s")
    return parser
