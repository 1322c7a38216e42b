"""The 1,797 handwritten digits that come with scikit-learn: nothing to download."""

import argparse

import numpy as np
import torch
import torch.nn.functional as F

from metasemi_plugin import random_numbers
from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.split import hold_out
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.errors import UserError

NUM_TEST = 360


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """The digits as RGB or gray images of `args.img_size`, 1,437 to train on and 360 to test on.

    The test set is the same for every seed. Weak views move by a few pixels over the black
    background and are not mirrored: a mirrored 2 is no digit.

    Raises:
        UserError: `args.num_classes` is not 10, or see `make_splits`.
    """
    if args.num_classes != 10:
        raise UserError(
            f"digits has 10 classes, but num_classes is {args.num_classes}: set it to 10"
        )
    digits = _load(args.img_size, args.channels)
    train, test = hold_out(digits.targets, NUM_TEST, 10, seed=0)
    return make_splits(
        args,
        ulb_views,
        train=Images(digits.pixels[train], digits.targets[train]),
        test=Images(digits.pixels[test], digits.targets[test]),
        class_names=[str(digit) for digit in range(10)],
        flip=False,
        padding_mode="constant",
    )


def _load(size: int, channels: int) -> Images:
    """All digits: uint8 (1797, size, size, channels) and int64 (1797,)."""
    with random_numbers.untouched():  # its first import draws some (rich's styles)
        from sklearn.datasets import load_digits  # here, because it takes a second

    bunch = load_digits()
    gray = torch.from_numpy(bunch.images)[:, None]  # (N, 1, 8, 8), 0..16
    resized = F.interpolate(gray, (size, size), mode="bilinear", antialias=True)
    pixels = resized.mul(255 / 16).round().to(torch.uint8).permute(0, 2, 3, 1)
    repeated = pixels.expand(-1, -1, -1, channels).contiguous().numpy()
    return Images(repeated, bunch.target.astype(np.int64))
