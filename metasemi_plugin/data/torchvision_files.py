"""The files that torchvision downloads, in the folders where semilearn has them: data_dir/NAME.

Archives that are there already are used. torchvision compares every file with its known MD5 before
it is read (and so before it is unpickled); what fails on the way becomes one error.
"""

import argparse
import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

from filelock import FileLock

from metasemi_plugin.errors import UserError


def known_files(dataset: str) -> dict[str, str]:
    """Paths below data_dir/DATASET -> MD5: what is downloaded, and what is unpacked from it."""
    import torchvision  # here, because it takes a second

    kind = dataset_class(dataset)
    if issubclass(kind, torchvision.datasets.MNIST):
        archives = [("gzip.zip", kind.md5)] if dataset == "emnist" else kind.resources
        return {f"{kind.__name__}/raw/{file}": md5 for file, md5 in archives}
    if dataset == "svhn":
        return {name: md5 for _, name, md5 in kind.split_list.values()}
    unpacked = [*kind.train_list, *kind.test_list]
    return {
        kind.filename: kind.tgz_md5,
        **{f"{kind.base_folder}/{name}": md5 for name, md5 in unpacked},
    }


def dataset_class(dataset: str) -> Any:
    """torchvision's class of that name."""
    import torchvision

    name = "FashionMNIST" if dataset == "fashion_mnist" else dataset.upper()
    return getattr(torchvision.datasets, name)


@contextlib.contextmanager
def one_error(folder: Path, not_needed: Sequence[str] = ()) -> Iterator[None]:
    """What torchvision finds missing or damaged, as one UserError that names file and remedy.

    Args:
        folder: data_dir/DATASET.
        not_needed: files that torchvision knows and that are not read here.
    """
    try:
        with one_at_a_time(folder), _impatient():
            yield
    except (URLError, OSError, RuntimeError) as error:
        from torchvision.datasets.utils import check_integrity

        files = {k: v for k, v in known_files(folder.name).items() if k not in not_needed}
        archives = ", ".join(name for name in files if name.endswith((".gz", ".zip", ".mat")))
        remedy = f"either run once with a network, or put {archives} into {folder}"
        there = {folder / name: md5 for name, md5 in files.items() if (folder / name).exists()}
        damaged = [str(file) for file, md5 in there.items() if not check_integrity(file, md5)]
        if damaged:
            raise UserError(
                f"{', '.join(damaged)}: damaged or not the original (the MD5 differs); delete it, "
                f"then {remedy}"
            ) from error
        why = " ".join(str(error).split())  # torchvision's own may have several lines
        raise UserError(
            f"data_dir: {folder.name} is not in {folder} and could not be downloaded ({why}); "
            f"{remedy}"
        ) from error


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """What one process downloads or unpacks, others wait for."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is waited for
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(folder / ".lock"))
        yield


@contextlib.contextmanager
def _impatient(seconds: float = 10.0) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def folder_for(args: argparse.Namespace, *sizes: int) -> Path:
    """data_dir/DATASET of a run whose images are one of `sizes` pixels wide and high.

    Raises:
        UserError: the run wants images of another size.
    """
    if args.img_size not in sizes:
        raise UserError(
            f"img_size is {args.img_size}, but the images of {args.dataset} are {sizes[0]}x"
            f"{sizes[0]}: set it to {' or '.join(map(str, sizes))}"
        )
    return Path(args.data_dir).expanduser().absolute() / args.dataset
