import argparse
import hashlib
import io
import pickle
import tarfile
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image


@pytest.fixture
def make_args(tmp_path):
    """A resolved configuration with some keys changed."""

    def make(**changes):
        args = {
            "dataset": "digits",
            "algorithm": "metasemi",
            "num_classes": 10,
            "labels": "equal",
            "num_labels": 40,
            "img_size": 8,
            "crop_ratio": 0.875,
            "data_dir": str(tmp_path),
            "seed": 0,
            "include_lb_to_ulb": True,
            "lb_imb_ratio": 1,
            "ulb_num_labels": None,
            "ulb_imb_ratio": 1,
            "num_val": 0,
            "label_folds": 0,
            "label_fold": 0,
            "flip": True,
            "resize": "crop",
            "channels": 3,
        }
        return argparse.Namespace(**{**args, **changes})

    return make


@pytest.fixture
def add_images(tmp_path):
    """Write `count` images of one random color each into a folder below `tmp_path`."""

    def add(folder, count, start=0):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(folder) + start)
        for i in range(start, start + count):
            color = tuple(int(value) for value in rng.integers(0, 256, 3))
            Image.new("RGB", (8, 8), color).save(tmp_path / folder / f"{i}.png")

    return add


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", refuse)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", refuse)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write_tar(path, folder, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return md5(path.read_bytes())


def images(seed, count, size=32):
    """uint8 (count, 3, size, size), no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def publish(monkeypatch, kind, path, files, train, test, meta=None):
    """Write the archive, and have torchvision know it and the files in it."""
    monkeypatch.setattr(kind, "tgz_md5", write_tar(path, kind.base_folder, files))
    monkeypatch.setattr(kind, "train_list", [[name, md5(files[name])] for name in train])
    monkeypatch.setattr(kind, "test_list", [[name, md5(files[name])] for name in test])
    if meta:
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(files[meta])})


@pytest.fixture
def cifar10(tmp_path, monkeypatch, no_network):
    """The archive of CIFAR-10 with 5 x 40 training images and 50 to test on: pixels and labels.

    Labels go round: image i is of class i % 10.
    """
    pixels, labels = images(0, 250), np.arange(250) % 10

    def batch(start, stop):
        rows = pixels[start:stop].reshape(stop - start, 3072)
        return pickle.dumps({"data": rows, "labels": labels[start:stop].tolist()}, protocol=2)

    train = {f"data_batch_{i + 1}": batch(40 * i, 40 * i + 40) for i in range(5)}
    names = pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}, protocol=2)
    files = {**train, "test_batch": batch(200, 250), "batches.meta": names}
    path = tmp_path / "cifar10" / "cifar-10-python.tar.gz"
    kind = torchvision.datasets.CIFAR10
    publish(monkeypatch, kind, path, files, train, ["test_batch"], "batches.meta")
    return pixels.transpose(0, 2, 3, 1), labels


@pytest.fixture
def cifar100(tmp_path, monkeypatch, no_network):
    """The archive of CIFAR-100 with 4 training images and 1 test image of each class."""
    pixels, labels = images(1, 500), np.arange(500) % 100

    def batch(part):
        entry = {"data": pixels[part].reshape(-1, 3072), "fine_labels": labels[part].tolist()}
        return pickle.dumps({**entry, "coarse_labels": [0] * 500}, protocol=2)

    names = pickle.dumps({"fine_label_names": [f"class {i}" for i in range(100)]}, protocol=2)
    files = {"train": batch(slice(400)), "test": batch(slice(400, None)), "meta": names}
    path = tmp_path / "cifar100" / "cifar-100-python.tar.gz"
    publish(monkeypatch, torchvision.datasets.CIFAR100, path, files, ["train"], ["test"], "meta")
    return pixels.transpose(0, 2, 3, 1), labels


@pytest.fixture
def svhn(tmp_path, monkeypatch, no_network):
    """The .mat files of SVHN with 120 training and 30 test images: pixels and labels.

    Image i shows the digit i % 10; 0 is stored as 10.
    """
    pixels, labels = images(2, 150), np.arange(150) % 10
    folder = tmp_path / "svhn"
    folder.mkdir()
    table = {}
    for split, part in (("train", slice(120)), ("test", slice(120, None))):
        file = folder / f"{split}_32x32.mat"
        stored = np.where(labels[part] == 0, 10, labels[part]).astype(np.uint8)
        x = pixels[part].transpose(2, 3, 1, 0)
        scipy.io.savemat(file, {"X": x, "y": stored[:, None]})
        table[split] = ["http://nowhere/", file.name, md5(file.read_bytes())]
    table["extra"] = ["http://nowhere/", "extra_32x32.mat", "0" * 32]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", table)
    return pixels.transpose(0, 2, 3, 1), labels


@pytest.fixture
def stl10(tmp_path, monkeypatch, no_network):
    """The archive of STL-10 with 40 labeled images, 12 unlabeled and 20 to test on.

    Labeled and test images go round the classes, and are numbered before the unlabeled: pixels
    (72, 96, 96, 3), labels (60,) and folds (10, 10), each fold one image of every class.
    """
    pixels, labels = images(3, 72, 96), np.arange(60) % 10
    rng = np.random.default_rng(4)
    folds = np.array(
        [rng.permutation(10 * rng.integers(0, 4, 10) + np.arange(10)) for _ in "f" * 10]
    )

    def x(part):  # the columns of a channel one after the other
        return pixels[part].transpose(0, 1, 3, 2).tobytes()

    def y(part):
        return (labels[part] + 1).astype(np.uint8).tobytes()

    train, test, rest = slice(40), slice(40, 60), slice(60, None)
    files = {
        "train_X.bin": x(train),
        "train_y.bin": y(train),
        "test_X.bin": x(test),
        "test_y.bin": y(test),
        "unlabeled_X.bin": x(rest),
        "fold_indices.txt": "".join(" ".join(map(str, fold)) + " \n" for fold in folds).encode(),
    }
    path = tmp_path / "stl10" / "stl10_binary.tar.gz"
    in_train = ["train_X.bin", "train_y.bin", "unlabeled_X.bin"]
    kind = torchvision.datasets.STL10
    publish(monkeypatch, kind, path, files, in_train, ["test_X.bin", "test_y.bin"])
    return pixels.transpose(0, 2, 3, 1), labels, folds


@pytest.fixture
def seen():
    """seen(part, key, index, draws): bytes of what views of one image show, an array a draw."""

    def seen(part, key, index, draws):
        views = part.read([index] * draws, torch.Generator().manual_seed(0))[key]
        mean, std = (np.array(v)[:, None, None] for v in (part.mean, part.std))
        return np.rint((views.numpy() * std + mean) * 255).astype(np.uint8).transpose(0, 2, 3, 1)

    return seen


@pytest.fixture
def moves():
    """moves(image, by): what the image looks like moved by (dy, dx), -> (dy, dx)."""

    def moves(image, by):
        padded = np.pad(image, ((by, by), (by, by), (0, 0)), mode="reflect")
        size = len(image)
        return {
            padded[by - dy :, by - dx :][:size, :size].tobytes(): (dy, dx)
            for dy in range(-by, by + 1)
            for dx in range(-by, by + 1)
        }

    return moves
