"""MNIST, Fashion-MNIST, KMNIST, EMNIST (balanced): 28x28 gray, by torchvision."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.data.torchvision_files import dataset_class, folder_for, one_error

SIZES = (28, 32)


class Kind(NamedTuple):
    """Classes, whether a mirror image is of the same one, and arguments of torchvision's class."""

    num_classes: int = 10
    flip: bool = False
    arguments: Mapping[str, str] = {}


KINDS = {
    "mnist": Kind(),
    "fashion_mnist": Kind(flip=True),
    "kmnist": Kind(),
    "emnist": Kind(47, arguments={"split": "balanced"}),
}


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """60,000 images to train on, `num_val` of them held out, and 10,000 to test on, as RGB or gray.

    EMNIST's are 112,800 and 18,800, in 47 classes. With img_size 32 a black border of 2 pixels is
    added. Weak views move by up to 2 pixels over the black background; those of Fashion-MNIST are
    mirrored half of the time, as CIFAR's are.

    Raises:
        UserError: the data are missing or damaged, or do not fit the options; see `make_splits`.
    """
    kind = KINDS[args.dataset]
    folder = folder_for(args, *SIZES)
    with one_error(folder):
        (train, class_names), (test, _) = (_read(folder, train) for train in (True, False))
    border = (args.img_size - SIZES[0]) // 2
    return make_splits(
        args,
        ulb_views,
        train=_with_channels(train, border, args.channels),
        test=_with_channels(test, border, args.channels),
        class_names=class_names,
        flip=kind.flip,
        translation=2,
        padding_mode="constant",
    )


def _read(folder: Path, train: bool) -> tuple[Images, list[str]]:
    arguments = KINDS[folder.name].arguments
    part = dataset_class(folder.name)(folder, train=train, download=True, **arguments)
    pixels = part.data.numpy()
    if folder.name == "emnist":  # whose files have columns where the others have rows
        pixels = pixels.transpose(0, 2, 1)
    return Images(pixels, part.targets.numpy().astype(np.int64)), list(part.classes)


def _with_channels(gray: Images, border: int, channels: int) -> Images:
    pixels = np.pad(gray.pixels, ((0, 0), (border, border), (border, border)))
    return Images(np.repeat(pixels[..., None], channels, axis=3), gray.targets)
