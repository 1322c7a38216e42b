"""The MNIST family from files in torchvision's format, made here: no network."""

import gzip
import struct

import numpy as np
import pytest

from metasemi_plugin.data import DATASETS
from metasemi_plugin.data.mnist import KINDS
from metasemi_plugin.data.torchvision_files import dataset_class
from metasemi_plugin.errors import UserError

NAMES = list(KINDS)


def idx(array):
    """uint8 data in LeCun's format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def files(tmp_path, no_network):
    """files(name): its unpacked files with 188 training and 94 test images; pixels and labels."""

    def write(name):
        classes = KINDS[name].num_classes
        pixels = np.random.default_rng(0).integers(0, 256, (282, 28, 28)).astype(np.uint8)
        labels = (np.arange(282) % classes).astype(np.uint8)
        folder = tmp_path / name / dataset_class(name).__name__ / "raw"
        folder.mkdir(parents=True)
        parts = {"train": slice(188), "test": slice(188, None)}
        for part, at in parts.items():
            prefix = f"emnist-balanced-{part}" if name == "emnist" else part.replace("test", "t10k")
            (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(pixels[at]))
            (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[at]))
        return pixels, labels

    return write


@pytest.fixture
def build(make_args):
    def build(name, views=None, **changes):
        classes = KINDS[name].num_classes
        options = {"num_classes": classes, "num_labels": classes, "img_size": 28, **changes}
        return DATASETS[name](make_args(dataset=name, **options), views or {})

    return build


@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_the_one_at_its_position_in_gray(name, build, files):
    pixels, labels = files(name)
    if name == "emnist":  # its files have columns where the others have rows
        pixels = pixels.transpose(0, 2, 1)
    splits = build(name)
    assert len(splits.class_names) == KINDS[name].num_classes
    assert (len(splits.train_ulb), len(splits.eval)) == (188, 94)
    for part in (splits.train_lb, splits.train_ulb, splits.eval):
        gray = pixels[part.positions]
        np.testing.assert_array_equal(part.images[:], np.stack([gray] * 3, axis=-1))
        np.testing.assert_array_equal(part.targets, labels[part.positions])


def test_one_channel_is_the_gray_itself(build, files):
    pixels, _ = files("fashion_mnist")
    part = build("fashion_mnist", channels=1).eval
    np.testing.assert_array_equal(part.images[:], pixels[part.positions][..., None])


def test_32_pixels_have_a_black_border(build, files):
    pixels, _ = files("mnist")
    part = build("mnist", img_size=32).eval
    inner = part.images[:][:, 2:-2, 2:-2, 0]
    np.testing.assert_array_equal(inner, pixels[part.positions])
    assert int(part.images[:].sum()) == 3 * int(inner.astype(np.int64).sum())
    with pytest.raises(UserError, match="images of mnist are 28x28: set it to 28 or 32"):
        build("mnist", img_size=30)


@pytest.mark.parametrize("name", NAMES)
def test_weak_views_move_by_2_pixels_and_fashion_alone_is_mirrored(name, build, files, seen):
    files(name)
    part = build(name, {"x_ulb_w": "weak"}).train_ulb
    image = part.images[[3]][0]
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = [padded[y : y + 28, x : x + 28] for y in range(5) for x in range(5)]
    straight = {window.tobytes() for window in windows}
    mirrored = {np.ascontiguousarray(window[:, ::-1]).tobytes() for window in windows}
    views = {view.tobytes() for view in seen(part, "x_ulb_w", 3, 600)}
    assert straight <= views
    assert (views == straight | mirrored) == (name == "fashion_mnist")
    assert views <= straight | mirrored


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named(name, build, tmp_path, no_network):
    file = "EMNIST/raw/gzip.zip" if name == "emnist" else "/raw/train-images-idx3-ubyte.gz"
    with pytest.raises(UserError, match=f"{name} is not in .*no network.*put .*{file}"):
        build(name)


def test_a_damaged_archive(build, tmp_path, no_network):
    folder = tmp_path / "kmnist/KMNIST/raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"cut off"))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: damaged or not the original"):
        build("kmnist")
