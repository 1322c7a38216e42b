"""Every data set a run can name: ours, and semilearn's CIFAR, SVHN and STL-10 as they are."""

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from semilearn.core.utils import get_dataset
from torch.utils.data import Dataset
from torchvision.transforms import Normalize

from metasemi_plugin import random_numbers
from metasemi_plugin.data import DATASETS, PAPER_DATASETS
from metasemi_plugin.data.arrays import Views
from metasemi_plugin.data.decode import RGB
from metasemi_plugin.data.long_tail import class_sizes
from metasemi_plugin.data.torchvision_files import one_error
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.rand_augment import rand_augment
from metasemi_plugin.host.views import host_name_with_views, no_strong_views, ulb_views


class HostDataset(NamedTuple):
    """The classes, and the files that torchvision downloads into data_dir/NAME."""

    num_classes: int
    files: tuple[str, ...]


HOST_DATASETS = {
    "cifar10": HostDataset(10, ("cifar-10-python.tar.gz",)),
    "cifar100": HostDataset(100, ("cifar-100-python.tar.gz",)),
    "svhn": HostDataset(10, ("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat")),
    "stl10": HostDataset(10, ("stl10_binary.tar.gz",)),
}


# Of semilearn's data sets, which do not keep them; of cifar100 the numbers stand for themselves.
CLASSES = {
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                "truck"],
    "stl10": ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
}  # fmt: skip


def dataset_names() -> list[str]:
    """Names that the option ``dataset`` takes, sorted."""
    return sorted([*DATASETS, *HOST_DATASETS])


class Built(NamedTuple):
    """`parts`: train_lb, train_ulb, eval and test (or None). `chosen_on`: what eval holds,
    "validation" images, or those of the "test" set. `class_names`: one a class, in order."""

    parts: dict[str, Dataset | None]
    chosen_on: str
    class_names: list[str]


def build_splits(args) -> Built:
    """The data of the run described by ``args``.

    Raises:
        UserError: the data are missing or do not fit the options.
    """
    build = DATASETS.get(args.dataset)
    if build is None:
        if args.protocol == "usb":
            return Built(_host_splits(args), "test", CLASSES.get(args.dataset, _numbers(args)))
        build = PAPER_DATASETS[args.dataset]
    views: Views = {k: rand_augment if v == "strong" else v for k, v in ulb_views(args).items()}
    splits = build(args, views)
    parts = {part: getattr(splits, part) for part in ("train_lb", "train_ulb", "eval", "test")}
    return Built(parts, splits.chosen_on, splits.class_names)


def settle_channels(args, parts: Mapping[str, Any]) -> None:
    """Set the option `channels` to that of the arrays of a data set of one's own.

    Raises:
        UserError: it asks for another number, or the algorithm for views that there are not.
    """
    found = parts["train_lb"].images.shape[-1]
    if args.channels not in (RGB, found):
        raise UserError(f"channels: {args.channels}, but images of {args.dataset} have {found}")
    args.channels = found
    if what := no_strong_views(args):
        raise UserError(f"channels: {what}")


def normalization(part: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel that a part is normalized with."""
    if hasattr(part, "mean"):
        return list(part.mean), list(part.std)
    steps = part.transform.transforms
    found = next(step for step in steps if isinstance(step, Normalize))
    return list(found.mean), list(found.std)


def _numbers(args) -> list[str]:
    return [str(number) for number in range(args.num_classes)]


def _host_splits(args) -> dict[str, Dataset | None]:
    if args.lb_imb_ratio == 1 and args.num_labels % args.num_classes:
        raise UserError(
            f"num_labels: {args.num_labels} labels cannot be split evenly over the "
            f"{args.num_classes} classes of {args.dataset}"
        )
    for key in ("num_val", "label_folds"):
        if getattr(args, key):
            raise UserError(
                f"{key}: {args.dataset} has no validation images with protocol usb; set {key} to 0 "
                "or protocol to paper"
            )
    data_dir = Path(args.data_dir).absolute()
    folder = data_dir / args.dataset
    folder.mkdir(parents=True, exist_ok=True)
    # Absolute, so that the host's record of the split goes here and not into site-packages.
    host_args = copy.copy(args)
    host_args.dataset = str(folder)
    with one_error(folder), _inside(folder), random_numbers.untouched():
        random_numbers.seed_all(args.seed)
        parts = get_dataset(
            host_args,
            host_name_with_views(args),
            args.dataset,
            args.num_labels,
            args.num_classes,
            str(data_dir),
            args.include_lb_to_ulb,
        )
    for part in parts.values():
        if part is not None and part.targets is not None:
            part.targets = np.asarray(part.targets, dtype=np.int64)
    _check_sizes(parts, args)
    return parts


def _check_sizes(parts: Mapping[str, Any], args) -> None:
    """The host takes what there is where a class has fewer images than are asked for.

    Raises:
        UserError: it has done so.
    """
    if args.algorithm == "fullysupervised":
        return
    lb = sum(class_sizes(args.num_labels, args.num_classes, args.lb_imb_ratio))
    wanted = {"train_lb": ("num_labels", lb)}
    if args.ulb_num_labels is not None:
        ulb = sum(class_sizes(args.ulb_num_labels, args.num_classes, args.ulb_imb_ratio))
        wanted["train_ulb"] = ("ulb_num_labels", ulb + lb * args.include_lb_to_ulb)
    for part, (option, count) in wanted.items():
        if len(parts[part]) < count:
            raise UserError(
                f"{option}: a class of {args.dataset} has fewer images than are asked for: lower it"
            )


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    # Some of the host's builders write statistics into the working directory.
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
