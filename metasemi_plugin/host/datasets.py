"""Every data set a run can name: ours, and semilearn's CIFAR, SVHN and STL-10 as they are."""

import contextlib
import copy
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
from semilearn.core.utils import get_dataset
from torch.utils.data import Dataset

from metasemi_plugin import random_numbers
from metasemi_plugin.data import DATASETS
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.views import host_name_with_views, ulb_views


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


def dataset_names() -> list[str]:
    """Names that the option ``dataset`` takes, sorted."""
    return sorted([*DATASETS, *HOST_DATASETS])


def build_splits(args) -> dict[str, Dataset | None]:
    """train_lb, train_ulb, eval and test (or None) for the run described by ``args``.

    Raises:
        UserError: the data are missing or do not fit the options.
    """
    if args.dataset in DATASETS:
        splits = DATASETS[args.dataset](args, ulb_views(args))
        return {part: getattr(splits, part) for part in ("train_lb", "train_ulb", "eval", "test")}
    return _host_splits(args)


def _host_splits(args) -> dict[str, Dataset | None]:
    known = HOST_DATASETS[args.dataset]
    if args.num_classes != known.num_classes:
        raise UserError(f"num_classes: {args.dataset} has {known.num_classes}; set it so")
    if args.num_labels % known.num_classes:
        raise UserError(
            f"num_labels: {args.num_labels} labels cannot be split evenly over the "
            f"{known.num_classes} classes of {args.dataset}"
        )
    if args.num_val:
        raise UserError(f"num_val: not available for the host's {args.dataset}; set it to 0")
    data_dir = Path(args.data_dir).absolute()
    folder = data_dir / args.dataset
    folder.mkdir(parents=True, exist_ok=True)
    # Absolute, so that the host's record of the split goes here and not into site-packages.
    host_args = copy.copy(args)
    host_args.dataset = str(folder)
    try:
        with _inside(folder), _impatient(), random_numbers.untouched():
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
    except (URLError, OSError, RuntimeError) as error:
        files = ", ".join(known.files)
        raise UserError(
            f"data_dir: {args.dataset} is not in {folder} and could not be downloaded ({error}); "
            f"either run once with a network, or put {files} into {folder}"
        ) from error
    for part in parts.values():
        if part is not None and part.targets is not None:
            part.targets = np.asarray(part.targets, dtype=np.int64)
    return parts


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    # Some of the host's builders write statistics into the working directory.
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _impatient(seconds: float = 10.0) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
