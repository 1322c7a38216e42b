"""From arrays of images to the four sets that a run needs."""

import argparse
from typing import NamedTuple

import numpy as np

from metasemi_plugin.config.options import OPTIONS
from metasemi_plugin.data.arrays import ImageArrays, Views
from metasemi_plugin.data.augment import PaddingMode
from metasemi_plugin.data.long_tail import class_sizes, draw
from metasemi_plugin.data.notes import Notes
from metasemi_plugin.data.rows import Rows, blocks
from metasemi_plugin.data.split import UNLABELED, hold_out, leave_out_fold, split_labels
from metasemi_plugin.errors import UserError


class Splits(NamedTuple):
    """What a data set gives to a run. `eval` chooses the best epoch; `test` is scored beside it.

    `chosen_on` is what `eval` holds: "validation" images, or those of the "test" set.
    """

    train_lb: ImageArrays
    train_ulb: ImageArrays
    eval: ImageArrays
    test: ImageArrays | None
    class_names: list[str]
    chosen_on: str


class Images(NamedTuple):
    """`pixels` uint8 (N, H, W, C) and `targets` int64 (N,), -1 where not known."""

    pixels: np.ndarray
    targets: np.ndarray


def make_splits(
    args: argparse.Namespace,
    ulb_views: Views,
    *,
    train: Images,
    class_names: list[str],
    val: Images | None = None,
    test: Images | None = None,
    unlabeled: Images | None = None,
    labeled: np.ndarray | None = None,
    flip: bool,
    translation: int | None = None,
    padding_mode: PaddingMode = "reflect",
    notes: Notes = Notes(),  # noqa: B008
) -> Splits:
    """Hold out validation images, choose the labels, and normalize by the training images.

    With `args.label_folds`, one fold of the labeled images is `eval` in place of the validation
    images. The labeled images are those that the same options choose without folds, and the fold
    is out of the training altogether, as validation images are: what it says of a setting would be
    too good if the method had seen it unlabeled. Validation images are then used for nothing,
    because the cross-validation of Appendix D is one that can do without them.

    The four sets share the pixels, and know the `positions` of theirs among all images of the data
    set: those of `train` come first, then `unlabeled`, `val` and `test`.

    Args:
        args: num_val, labels, num_labels, lb_imb_ratio, ulb_num_labels, ulb_imb_ratio, seed,
            include_lb_to_ulb, label_folds, label_fold, algorithm, crop_ratio. With the algorithm
            "fullysupervised" all training images are labeled, as in USB. Unless `labels` is
            "equal", those of known class are, evenly distributed or not; validation images and
            folds are then taken of them, but never the last of a class.
        ulb_views: key of the unlabeled batch -> kind of view.
        train: the training images; their targets are all known if `args.labels` is "equal".
        class_names: one name a class.
        val: validation images, if the data set brings its own.
        test: test images.
        unlabeled: unlabeled images beyond those of `train`.
        labeled: ascending positions in `train` of the labeled images, if the data set prescribes
            them; else `args.num_labels` and `args.lb_imb_ratio` say how many of each class are
            drawn.
        flip: whether weak views are mirrored.
        translation: by how many pixels weak views move at most; None: as `args.crop_ratio` says,
            int(H * (1 - crop_ratio)), as in USB.
        padding_mode: what moves in at the border of a weak view.
        notes: for the record of the run.

    Returns:
        The splits; without validation images the test set is `eval`, and `test` is None.

    Raises:
        UserError: sizes that do not fit the images, nothing to evaluate on, validation images from
            two sources, no unlabeled image for views that need some, or `args.ulb_num_labels`
            where the classes of unlabeled images are not known.
    """
    if args.num_val and val is not None:
        raise UserError(
            f"num_val is {args.num_val}, but the data set has validation images of its own: "
            "set num_val to 0"
        )
    if args.ulb_num_labels is not None and unlabeled is not None:
        raise UserError(
            "ulb_num_labels: the classes of the images without labels are not known; leave it out"
        )
    lb, ulb, held = _choose(args, train.targets, class_names, labeled)
    none = Images(train.pixels[:0], train.targets[:0])
    parts = [train, unlabeled or none, val or none, test or none]
    pixels = Rows([part.pixels for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    ends = np.cumsum([len(part.targets) for part in parts])
    _, at_unlabeled, at_val, at_test = np.split(np.arange(len(targets)), ends[:-1])
    scored = [at for at in (held if len(held) else at_val, at_test) if len(at)]
    if not scored:
        raise UserError("nothing to evaluate on: set num_val, or add validation or test images")

    mean, std = channel_statistics(pixels.at(np.union1d(lb, ulb)))
    ulb = np.concatenate([ulb, at_unlabeled])
    if ulb_views and not len(ulb):
        raise UserError(
            f"all {len(lb)} training images are labeled and none is left unlabeled: "
            "lower num_labels or set include_lb_to_ulb"
        )
    if translation is None:
        translation = _translation(train.pixels.shape[1], args.crop_ratio)
    elif args.crop_ratio != (usual := OPTIONS["crop_ratio"].default):
        raise UserError(
            f"crop_ratio: weak views of {args.dataset} move by {translation} pixels here, so that "
            f"nothing reads it: leave it at {usual}"
        )

    def arrays(positions: np.ndarray, role, views) -> ImageArrays:
        return ImageArrays(
            pixels.at(positions),
            targets[positions],
            positions=positions,
            notes=notes,
            mean=mean,
            std=std,
            views=views,
            role=role,
            translation=translation,
            flip=flip,
            padding_mode=padding_mode,
        )

    eval_, *test_ = (arrays(at, "lb", {"x_lb": "plain"}) for at in scored)
    return Splits(
        train_lb=arrays(lb, "lb", {"x_lb": "weak"}),
        train_ulb=arrays(ulb, "ulb", ulb_views),
        eval=eval_,
        test=test_[0] if test_ else None,
        class_names=class_names,
        chosen_on="test" if val is None and not len(held) else "validation",
    )


def _choose(
    args: argparse.Namespace,
    targets: np.ndarray,
    class_names: list[str],
    labeled: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending positions of the labeled images, the unlabeled, and those to validate on."""
    num_classes, seed = len(class_names), args.seed
    stay, held = np.arange(len(targets)), np.arange(0)
    given = args.labels != "equal"
    if args.num_val:
        candidates = targets.copy()
        if labeled is not None:
            candidates[labeled] = -1  # never held out
        stay, held = hold_out(candidates, args.num_val, num_classes, seed, int(given))
    if given or args.algorithm == "fullysupervised":
        lb = stay[targets[stay] >= 0]
    elif labeled is not None:
        lb = labeled
    else:
        chosen, _ = split_labels(
            targets[stay],
            args.num_labels,
            num_classes,
            seed,
            imb_ratio=args.lb_imb_ratio,
            class_names=class_names,
        )
        lb = stay[chosen]
    if args.label_folds:
        trained, fold = leave_out_fold(
            targets[lb], args.label_folds, args.label_fold, num_classes, seed, given
        )
        lb, held = lb[trained], lb[fold]
        stay = np.setdiff1d(stay, held)
    others = np.setdiff1d(stay, lb)
    if args.ulb_num_labels is not None:
        sizes = class_sizes(args.ulb_num_labels, num_classes, args.ulb_imb_ratio)
        rng = np.random.default_rng([seed, UNLABELED])
        asked = f"ulb_num_labels {args.ulb_num_labels}"
        others = others[draw(targets[others], sizes, rng, asked, class_names)]
    both = args.include_lb_to_ulb or args.algorithm == "fullysupervised"
    return lb, np.union1d(lb, others) if both else others, held


def _translation(size: int, crop_ratio: float) -> int:
    if not 0 < crop_ratio <= 1:
        raise UserError(f"crop_ratio must be above 0 and at most 1, not {crop_ratio}")
    return int(size * (1 - crop_ratio))


def channel_statistics(pixels: np.ndarray | Rows) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 (N, H, W, C), in units of 0..1."""
    # Exact, and without a float copy of everything: count the 256 values of each channel.
    channels = pixels.shape[-1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for block in blocks(pixels):
        for channel in range(channels):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    value = np.arange(256) / 255
    mean = share @ value
    std = np.sqrt((share * (value - mean[:, None]) ** 2).sum(axis=1))
    # A constant channel carries nothing; one gray level instead of 0 keeps it finite.
    return mean.tolist(), np.maximum(std, 1 / 255).tolist()
