"""STL-10 as in MixMatch (Berthelot et al., 2019), which Appendix D of the paper refers to."""

import argparse
from pathlib import Path

import numpy as np

from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.splits import Images, Splits, make_splits
from metasemi_plugin.data.torchvision_files import folder_for, one_error
from metasemi_plugin.errors import UserError

CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]


def build(args: argparse.Namespace, ulb_views: Views) -> Splits:
    """5,000 labeled images in 10 predefined folds, 100,000 without labels, 8,000 to test on.

    With 1,000 labels the labeled images are the data set's own fold `seed` modulo 10, with 5,000
    they are all. The 4,000 outside the fold are unlabeled images, as in MixMatch's code; those of
    `num_val` are held out of them (neither paper says how many to take).

    Weak views are mirrored and move by up to 12 pixels each way over the mirrored border: MixMatch
    moves images of 32 pixels by 4, and these of 96 by as large a part. It scales them to -1..1;
    here they are normalized by the training images, as the paper has it for the other data sets.

    Raises:
        UserError: the data are missing or damaged, or do not fit the options; see `make_splits`.
    """
    import torchvision  # here, because it takes a second

    folder = folder_for(args, 96)
    with one_error(folder):
        # Unpacks what must be unpacked and verifies every file, of all parts.
        torchvision.datasets.STL10(folder, split="train", download=True)
        train, unlabeled, test = (
            _read(folder / "stl10_binary", part) for part in ("train", "unlabeled", "test")
        )
    return make_splits(
        args,
        ulb_views,
        train=train,
        test=test,
        unlabeled=unlabeled,
        labeled=_labeled(args, folder / "stl10_binary" / "fold_indices.txt", len(train.targets)),
        class_names=CLASSES,
        flip=True,
        translation=12,
    )


def _read(folder: Path, part: str) -> Images:
    # In the file, a channel's columns come one after the other.
    planes = np.fromfile(folder / f"{part}_X.bin", dtype=np.uint8).reshape(-1, 3, 96, 96)
    pixels = np.empty((len(planes), 96, 96, 3), dtype=np.uint8)
    for start in range(0, len(planes), 64):  # in blocks that fit the cache: four times as fast
        block = slice(start, start + 64)
        for channel in range(3):
            pixels[block, :, :, channel] = planes[block, channel].transpose(0, 2, 1)
    if part == "unlabeled":
        return Images(pixels, np.full(len(pixels), -1))
    labels = np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8).astype(np.int64)
    return Images(pixels, labels - 1)


def _labeled(args: argparse.Namespace, file: Path, num_train: int) -> np.ndarray:
    """Ascending positions of the labeled images."""
    if args.num_labels == num_train:
        if args.num_val:
            raise UserError(
                f"num_val: all {num_train} images are labeled, so that none is left to hold "
                f"{args.num_val} out of; set num_val to 0"
            )
        return np.arange(num_train)
    folds = _folds(file, num_train)
    fold = np.sort(folds[args.seed % len(folds)])
    if args.num_labels != len(fold):
        raise UserError(
            f"num_labels: STL-10 has {len(fold)} labeled images in a fold and {num_train} in "
            f"all; {args.num_labels} is neither"
        )
    return fold


def _folds(file: Path, num_train: int) -> np.ndarray:
    """The predefined folds, int64 (folds, images a fold): a line of the file each."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
        folds = np.array(lines, dtype=np.int64)
        if folds.ndim == 2 and folds.size and folds.min() >= 0 and folds.max() < num_train:
            return folds
    except (OSError, ValueError):
        pass
    raise UserError(
        f"{file}: not lines of as many numbers below {num_train} each; delete the folder "
        f"{file.parent.name}, so that it is unpacked again"
    )
