"""How well trained nets fit the images they were given labels of.

Beside the error on test images this tells a net that learns the labels by heart, and gains nothing
from its unlabeled images, from one that is kept from fitting even the labels.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metasemi_plugin.markdown_table import markdown_table


class Fit(NamedTuple):
    """Share of images that are misclassified, mean cross-entropy, mean greatest probability."""

    error: float
    cross_entropy: float
    confidence: float


def of(algorithm) -> list[Fit]:
    """Of a loaded run: on its labeled images, and on its test images."""
    net = algorithm.ema_model.eval()
    return [fit(net, part) for part in (labeled(algorithm), test(algorithm))]


def on_validation(algorithm) -> bool:
    """Whether validation images stand in for test images, of which there are none."""
    return algorithm.chosen_on == "validation" and "test" not in algorithm.loader_dict


@torch.no_grad()
def fit(net, batches: Iterator[tuple[Tensor, Tensor]]) -> Fit:
    """How well a net fits batches of images, (N, 3, H, W), and their classes, (N,)."""
    answers = [(net(x)["logits"], y) for x, y in batches]
    logits, y = (torch.cat(parts) for parts in zip(*answers, strict=True))
    confidence, guess = logits.softmax(1).max(1)
    wrong = (guess != y).to(logits.dtype)
    return Fit(wrong.mean().item(), F.cross_entropy(logits, y).item(), confidence.mean().item())


def labeled(algorithm) -> Iterator[tuple[Tensor, Tensor]]:
    """All labeled images of a loaded run, each once, weakly augmented as in training."""
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
    """Markdown: a row a run; labeled images, then test images."""
    head = ["run"]
    for part in ("labeled", "test"):
        head += [f"{part}: error", "cross-entropy", "confidence"]
    rows = []
    for name, parts in fits.items():
        cells = (
            (f"{100 * p.error:.1f}", f"{p.cross_entropy:.2f}", f"{p.confidence:.2f}") for p in parts
        )
        rows.append([name, *sum(cells, ())])
    return markdown_table(head, rows)
