"""MedMNIST from files in the package's format, made here: neither the package nor a network."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from metasemi_plugin.data import DATASETS
from metasemi_plugin.data.medmnist import KINDS, PARTS
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import resolve

SIZES = {"train": 44, "val": 22, "test": 33}


def arrays(name, size=28):
    """Of as many classes as the data set has, in turn."""
    rng = np.random.default_rng(0)
    kind = KINDS[name]
    found = {}
    for part, count in SIZES.items():
        shape = (count, size, size) + ((3,) if kind.channels == 3 else ())
        found[f"{part}_images"] = rng.integers(0, 256, shape).astype(np.uint8)
        found[f"{part}_labels"] = (np.arange(count)[:, None] % len(kind.classes)).astype(np.uint8)
    return found


@pytest.fixture
def build(make_args):
    def build(name, **changes):
        classes = len(KINDS[name].classes)
        options = {"num_classes": classes, "num_labels": classes, "img_size": 28, **changes}
        return DATASETS[name](make_args(dataset=name, **options), {"x_ulb_w": "weak"})

    return build


@pytest.mark.parametrize("name", KINDS)
def test_every_image_is_the_one_at_its_position(name, build, tmp_path):
    found = arrays(name)
    np.savez(tmp_path / f"{name}.npz", **found)
    splits = build(name)
    assert splits.class_names == list(KINDS[name].classes)
    assert splits.chosen_on == "validation"
    pixels, labels = (
        np.concatenate([found[f"{part}_{what}"] for part in PARTS]) for what in ("images", "labels")
    )
    rgb = pixels if pixels.ndim == 4 else np.stack([pixels] * 3, axis=-1)
    ends = dict(zip(PARTS, np.split(np.arange(99), [44, 66]), strict=True))
    for part, at in (("train_ulb", "train"), ("eval", "val"), ("test", "test")):
        images = getattr(splits, part)
        assert images.positions.tolist() == ends[at].tolist()
        np.testing.assert_array_equal(images.images[:], rgb[ends[at]])
        np.testing.assert_array_equal(images.targets, labels[ends[at], 0])
        assert images.targets.dtype == np.int64
    assert splits.train_ulb.flip == (not name.startswith("organ"))


def test_gray_ones_are_had_as_they_are(build, tmp_path):
    found = arrays("octmnist")
    np.savez(tmp_path / "octmnist.npz", **found)
    images = build("octmnist", channels=1).test.images[:]
    np.testing.assert_array_equal(images, found["test_images"][..., None])


def test_a_size_has_a_file_of_its_own(build, tmp_path):
    np.savez(tmp_path / "bloodmnist_64.npz", **arrays("bloodmnist", 64))
    splits = build("bloodmnist", img_size=64)
    assert splits.test.images.shape == (33, 64, 64, 3)
    assert splits.train_ulb.translation == 4
    with pytest.raises(UserError, match="set it to 28 or 64 or 128 or 224"):
        build("bloodmnist", img_size=32)


@pytest.mark.parametrize(
    "change",
    [
        {"val_labels": np.zeros((22, 14), np.uint8)},
        {"val_labels": np.full((22, 1), 9)},
        {"test_images": np.zeros((33, 28, 28), np.uint8)},
        {"test_images": np.zeros((33, 64, 64, 3), np.uint8)},
        {"train_images": np.zeros((44, 28, 28, 3))},
        {"train_images": np.array([None])},
        None,
    ],
)
def test_a_wrong_file_is_one_line(build, tmp_path, change):
    file = tmp_path / "pathmnist.npz"
    if change is None:
        file.write_bytes(b"PK no archive")
    else:
        np.savez(file, **arrays("pathmnist") | change)
    with pytest.raises(UserError, match=r"pathmnist\.npz: not MedMNIST's file .*delete") as raised:
        build("pathmnist")
    assert "\n" not in str(raised.value)


def test_a_part_that_is_missing(build, tmp_path):
    found = arrays("pathmnist")
    del found["val_labels"]
    np.savez(tmp_path / "pathmnist.npz", **found)
    with pytest.raises(UserError, match="val_labels"):
        build("pathmnist")


def test_num_val_beside_its_own_validation_images(build, tmp_path):
    np.savez(tmp_path / "pathmnist.npz", **arrays("pathmnist"))
    with pytest.raises(UserError, match="num_val is 4, but the data set has validation images"):
        build("pathmnist", num_val=4)


def test_without_the_file_and_the_package(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(UserError, match=r"pathmnist\.npz is not there: put .*pip install metasemi"):
        build("pathmnist")


@pytest.mark.parametrize("network", [True, False])
def test_the_package_downloads(build, tmp_path, monkeypatch, network):
    def path_mnist(split, download, root, size):
        assert download
        if not network:
            raise RuntimeError("\n  Automatic download failed!")
        np.savez(f"{root}/pathmnist_{size}.npz", **arrays("pathmnist", size))

    info = {"pathmnist": {"python_class": "PathMNIST"}}
    monkeypatch.setitem(sys.modules, "medmnist", SimpleNamespace(INFO=info, PathMNIST=path_mnist))
    if network:
        assert len(build("pathmnist", img_size=64).test) == 33
    else:
        with pytest.raises(UserError, match=r"pathmnist_64\.npz is not there and could not be dow"):
            build("pathmnist", img_size=64)


def test_the_table_is_the_packages():
    info = pytest.importorskip("medmnist").INFO
    flat = {
        name: about
        for name, about in info.items()
        if not name.endswith("3d") and "multi-label" not in about["task"]
    }
    assert KINDS.keys() == flat.keys()
    for name, about in flat.items():
        assert [*KINDS[name].classes] == [
            about["label"][str(k)] for k in range(len(about["label"]))
        ]
        assert KINDS[name].channels == about["n_channels"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chestmnist", "chestmnist has several labels an image"),
        ("organmnist3d", "organmnist3d has volumes"),
        ("pathmnst", "unknown 'pathmnst'; did you mean 'pathmnist'"),
    ],
)
def test_those_that_are_not_here(name, message):
    with pytest.raises(UserError, match=f"dataset: {message}"):
        resolve(None, {"dataset": name})


def test_the_number_of_classes_is_known_before_the_file_is_read():
    with pytest.raises(UserError, match="num_classes: pathmnist has 9; set it so"):
        resolve(None, {"dataset": "pathmnist", "num_labels": 40, "num_classes": 10})
