"""CIFAR-10 and CIFAR-100 as in Appendix D of the paper."""

import argparse
from pathlib import Path

import numpy as np

from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.data.torchvision_files import folder_for, one_error


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """50,000 images to train on, `num_val` of them held out (the paper: 5,000); 10,000 to test on.

    Weak views move by up to 4 pixels each way, then half of them are mirrored. The paper does not
    say what moves in at the border; here it is the mirrored image, as in MixMatch, whose training
    its WRN-28-2 has, and in the Mean Teacher and fast-SWA that it compares with.

    Raises:
        UserError: the data are missing or damaged, or do not fit the options; see `make_splits`.
    """
    folder = folder_for(args, 32)
    with one_error(folder):
        train, class_names = _read(args.dataset, folder, train=True)
        test, _ = _read(args.dataset, folder, train=False)
    return make_splits(
        args,
        ulb_views,
        train=train,
        test=test,
        class_names=class_names,
        flip=True,
        translation=4,
    )


def _read(dataset: str, folder: Path, train: bool) -> tuple[Images, list[str]]:
    import torchvision

    part = getattr(torchvision.datasets, dataset.upper())(folder, train=train, download=True)
    pixels = np.ascontiguousarray(part.data)
    return Images(pixels, np.asarray(part.targets, dtype=np.int64)), part.classes
