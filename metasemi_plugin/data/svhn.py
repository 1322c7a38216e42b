"""SVHN as in Appendix D of the paper: without the extra images, and never mirrored."""

import argparse
from pathlib import Path

import numpy as np

from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.data.torchvision_files import folder_for, one_error


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """73,257 images to train on, `num_val` of them held out (the paper: 1,000); 26,032 to test on.

    Weak views move by up to 2 pixels each way over the mirrored border, as in the Mean Teacher
    that the paper compares with.

    Raises:
        UserError: the data are missing or damaged, or do not fit the options; see `make_splits`.
    """
    folder = folder_for(args, 32)
    with one_error(folder, not_needed=["extra_32x32.mat"]):
        train, test = (_read(folder, split) for split in ("train", "test"))
    return make_splits(
        args,
        ulb_views,
        train=train,
        test=test,
        class_names=[str(digit) for digit in range(10)],
        flip=False,
        translation=2,
    )


def _read(folder: Path, split: str) -> Images:
    import torchvision

    part = torchvision.datasets.SVHN(folder, split=split, download=True)
    pixels = np.ascontiguousarray(part.data.transpose(0, 2, 3, 1))  # from (N, 3, H, W)
    return Images(pixels, part.labels)
