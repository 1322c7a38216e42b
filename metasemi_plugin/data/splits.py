"""From arrays of images to the four sets that a run needs."""

import argparse
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from metasemi_plugin.data.arrays import ImageArrays
from metasemi_plugin.data.augment import PaddingMode
from metasemi_plugin.data.split import hold_out, split_labels
from metasemi_plugin.errors import UserError


class Splits(NamedTuple):
    """What a data set gives to a run. `eval` chooses the best epoch; `test` is scored beside it."""

    train_lb: ImageArrays
    train_ulb: ImageArrays
    eval: ImageArrays
    test: ImageArrays | None
    class_names: list[str]


class Images(NamedTuple):
    """`pixels` uint8 (N, H, W, 3) and `targets` int64 (N,), -1 where not known."""

    pixels: np.ndarray
    targets: np.ndarray

    def at(self, positions: np.ndarray) -> "Images":
        """Those at ascending, distinct `positions`: a copy, unless that is all of them."""
        if len(positions) == len(self.targets):
            return self
        return Images(self.pixels[positions], self.targets[positions])


def make_splits(
    args: argparse.Namespace,
    ulb_views: Mapping[str, str],
    *,
    train: Images,
    class_names: list[str],
    val: Images | None = None,
    test: Images | None = None,
    unlabelled: Images | None = None,
    flip: bool,
    padding_mode: PaddingMode = "reflect",
) -> Splits:
    """Hold out validation images, choose the labels, and normalise by the training images.

    Args:
        args: num_val, num_labels, seed, include_lb_to_ulb, algorithm, crop_ratio. With the
            algorithm "fullysupervised" all training images are labelled, as in USB.
        ulb_views: key of the unlabelled batch -> kind of view.
        train: the training images; their targets are all known.
        class_names: one name a class.
        val: validation images, if the data set brings its own.
        test: test images.
        unlabelled: unlabelled images beyond those of `train`.
        flip: whether weak views are mirrored.
        padding_mode: what moves in at the border of a weak view.

    Returns:
        The splits; without validation images the test set is `eval`, and `test` is None.

    Raises:
        UserError: sizes that do not fit the images, nothing to evaluate on, validation images from
            two sources, or no unlabelled image for views that need some.
    """
    num_classes = len(class_names)
    if args.num_val:
        if val is not None:
            raise UserError(
                f"num_val is {args.num_val}, but the data set has validation images of its own: "
                "set num_val to 0"
            )
        stay, held = hold_out(train.targets, args.num_val, num_classes, args.seed)
        train, val = train.at(stay), train.at(held)
    if val is None:
        val, test = test, None
    if val is None:
        raise UserError("nothing to evaluate on: set num_val, or add validation or test images")

    if args.algorithm == "fullysupervised":
        lb = ulb = np.arange(len(train.targets))
    else:
        lb, ulb = split_labels(
            train.targets,
            args.num_labels,
            num_classes,
            args.seed,
            include_lb_to_ulb=args.include_lb_to_ulb,
            class_names=class_names,
        )
    train_lb, train_ulb = train.at(lb), train.at(ulb)
    mean, std = channel_statistics(train.pixels)
    if unlabelled is not None:
        train_ulb = Images(
            np.concatenate([train_ulb.pixels, unlabelled.pixels]),
            np.concatenate([train_ulb.targets, unlabelled.targets]),
        )
    if ulb_views and not len(train_ulb.targets):
        raise UserError(
            f"all {len(train.targets)} training images are labelled and none is left unlabelled: "
            "lower num_labels or set include_lb_to_ulb"
        )

    def arrays(images: Images, role, views: Mapping[str, str]) -> ImageArrays:
        return ImageArrays(
            images.pixels,
            images.targets,
            mean=mean,
            std=std,
            views=views,
            role=role,
            crop_ratio=args.crop_ratio,
            flip=flip,
            padding_mode=padding_mode,
        )

    return Splits(
        train_lb=arrays(train_lb, "lb", {"x_lb": "weak"}),
        train_ulb=arrays(train_ulb, "ulb", ulb_views),
        eval=arrays(val, "lb", {"x_lb": "plain"}),
        test=None if test is None else arrays(test, "lb", {"x_lb": "plain"}),
        class_names=class_names,
    )


def channel_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 (N, H, W, 3), in units of 0..1."""
    # Exact, and without a float copy of everything: count the 256 values of each channel.
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(pixels), 1024):
        chunk = pixels[start : start + 1024].reshape(-1, 3)
        for channel in range(3):
            counts[channel] += np.bincount(chunk[:, channel], minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    value = np.arange(256) / 255
    mean = share @ value
    std = np.sqrt((share * (value - mean[:, None]) ** 2).sum(axis=1))
    # A constant channel carries nothing; one grey level instead of 0 keeps it finite.
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()
