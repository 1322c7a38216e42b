"""Data sets: each a function from the configuration to labeled, unlabeled and test images."""

import argparse
from collections.abc import Callable

from metasemi_plugin.data import cifar, digits, image_folder, medmnist, mnist, stl10, svhn
from metasemi_plugin.data.arrays import ImageArrays, Views
from metasemi_plugin.data.splits import Splits

__all__ = ["DATASETS", "GRAY", "PAPER_DATASETS", "ImageArrays", "Splits"]

Builder = Callable[[argparse.Namespace, Views], Splits]

DATASETS: dict[str, Builder] = {
    "digits": digits.build,
    "image_folder": image_folder.build,
    **dict.fromkeys(mnist.KINDS, mnist.build),
    **dict.fromkeys(medmnist.KINDS, medmnist.build),
}
# Those that are had as RGB or, with `channels: 1`, as they are.
GRAY = {
    "digits",
    *mnist.KINDS,
    *(name for name, kind in medmnist.KINDS.items() if kind.channels == 1),
}

# As in the paper's Appendix D; under the same names semilearn has its own protocols.
PAPER_DATASETS: dict[str, Builder] = {
    "cifar10": cifar.build,
    "cifar100": cifar.build,
    "svhn": svhn.build,
    "stl10": stl10.build,
}
