import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision

from metasemi_plugin.data import PAPER_DATASETS
from metasemi_plugin.errors import UserError

PARTS = ("train_lb", "train_ulb", "eval", "test")


@pytest.fixture
def build(make_args):
    def build(dataset="cifar10", views=None, **changes):
        changes = {"img_size": 32, "num_labels": 40, "num_val": 50, **changes}
        return PAPER_DATASETS[dataset](make_args(dataset=dataset, **changes), views or {})

    return build


def counts(part, num_classes=10):
    return np.bincount(part.targets, minlength=num_classes).tolist()


def positions(splits):
    return {name: getattr(splits, name).positions.tolist() for name in PARTS}


def test_sizes_and_classes(build, cifar10):
    splits = build()
    assert counts(splits.train_lb) == [4] * 10
    assert counts(splits.train_ulb) == [15] * 10
    assert counts(splits.eval) == [5] * 10
    assert counts(splits.test) == [5] * 10
    assert splits.class_names == [f"class {i}" for i in range(10)]


def test_sizes_and_classes_of_cifar100(build, cifar100):
    splits = build("cifar100", num_classes=100, num_labels=200, num_val=100)
    assert counts(splits.train_lb, 100) == [2] * 100
    assert counts(splits.train_ulb, 100) == [3] * 100
    assert counts(splits.eval, 100) == counts(splits.test, 100) == [1] * 100
    assert splits.class_names[99] == "class 99"


def test_every_image_is_the_one_at_its_position(build, cifar10):
    pixels, labels = cifar10
    splits = build()
    for name in PARTS:
        part = getattr(splits, name)
        assert all(array.flags.c_contiguous for array in part.images.arrays)
        np.testing.assert_array_equal(part.images[:], pixels[part.positions])
        np.testing.assert_array_equal(part.targets, labels[part.positions])


@pytest.mark.parametrize("with_labeled", [True, False])
def test_training_validation_and_test_images_are_disjoint(with_labeled, build, cifar10):
    at = positions(build(include_lb_to_ulb=with_labeled))
    training = set(at["train_lb"]) | set(at["train_ulb"])
    assert sorted([*training, *at["eval"]]) == list(range(200))
    assert at["test"] == list(range(200, 250))
    both = set(at["train_lb"]) & set(at["train_ulb"])
    assert both == (set(at["train_lb"]) if with_labeled else set())


def test_the_seed_alone_chooses_the_split(build, cifar10):
    first, again, other = (positions(build(seed=seed)) for seed in (1, 1, 2))
    assert first == again
    for name in ("train_lb", "train_ulb", "eval"):
        assert first[name] != other[name]
    assert first["test"] == other["test"]


def test_another_process_splits_alike(build, cifar10, make_args):
    here = positions(build())
    code = """
import argparse, json, sys, torchvision
from metasemi_plugin.data import PAPER_DATASETS
args, table, parts = json.loads(sys.argv[1])
for key, value in table.items():
    setattr(torchvision.datasets.CIFAR10, key, value)
splits = PAPER_DATASETS["cifar10"](argparse.Namespace(**args), {})
print(json.dumps({name: getattr(splits, name).positions.tolist() for name in parts}))
"""
    args = vars(make_args(dataset="cifar10", img_size=32, num_labels=40, num_val=50))
    kind = torchvision.datasets.CIFAR10
    table = {key: getattr(kind, key) for key in ("tgz_md5", "train_list", "test_list", "meta")}
    there = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, json.dumps([args, table, PARTS])],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(there.stdout.splitlines()[-1]) == here


def test_all_are_normalized_by_the_images_trained_on(build, cifar10):
    pixels, _ = cifar10
    splits = build(include_lb_to_ulb=False)
    training = np.setdiff1d(np.arange(200), splits.eval.positions)
    shown = pixels[training].astype(np.float64) / 255
    for name in PARTS:
        part = getattr(splits, name)
        np.testing.assert_allclose(part.mean, shown.mean(axis=(0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(part.std, shown.std(axis=(0, 1, 2)), rtol=1e-12)


def test_weak_views_move_by_up_to_4_pixels_and_half_are_mirrored(build, cifar10, seen, moves):
    splits = build(views={"x_ulb_w": "weak"})
    for part, key in ((splits.train_lb, "x_lb"), (splits.train_ulb, "x_ulb_w")):
        image = part.images[:][3]
        straight, mirrored = moves(image, 4), moves(image[:, ::-1], 4)
        views = [view.tobytes() for view in seen(part, key, 3, 1500)]
        found = {(view in mirrored, (straight | mirrored)[view]) for view in views}
        assert len(found) == 2 * 9 * 9
        assert 650 < sum(view in mirrored for view in views) < 850


@pytest.mark.parametrize("name", ["eval", "test"])
def test_images_to_evaluate_on_are_shown_as_they_are(name, build, cifar10, seen):
    part = getattr(build(), name)
    np.testing.assert_array_equal(seen(part, "x_lb", 3, 2), part.images[np.array([3, 3])])


def test_without_validation_images_the_test_set_is_evaluated(build, cifar10):
    splits = build(num_val=0)
    assert splits.eval.positions.tolist() == list(range(200, 250))
    assert splits.test is None


def test_a_crop_ratio_that_nothing_reads_is_refused(build, cifar10):
    assert build().train_lb.translation == 4
    with pytest.raises(UserError, match=r"crop_ratio: .* move by 4 pixels .* leave it at 0\.875"):
        build(crop_ratio=0.5)


def test_nothing_there_and_no_network(build, tmp_path, no_network):
    message = (
        r"cifar10 is not in .*cifar10 and could not be downloaded .*no network.*; either run once "
        r"with a network, or put cifar-10-python.tar.gz into .*cifar10$"
    )
    with pytest.raises(UserError, match=message):
        build()


def test_what_is_missing_is_downloaded(build, cifar10, tmp_path, monkeypatch):
    server = shutil.move(tmp_path / "cifar10", tmp_path / "server")
    utils = torchvision.datasets.utils
    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(
        utils,
        "_urlretrieve",
        lambda url, path: shutil.copy(Path(server) / url.rpartition("/")[2], path),
    )
    assert len(build().train_ulb) == 150


def test_the_archive_alone_or_what_is_unpacked_from_it_alone_will_do(build, cifar10, tmp_path):
    first = positions(build())
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").unlink()
    assert positions(build()) == first


def test_an_archive_cut_short(build, cifar10, tmp_path):
    archive = tmp_path / "cifar10" / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"^{archive}: damaged .*MD5 differs.*; delete it, then"):
        build()


def without_one_image(content):
    entry = pickle.loads(content)
    return pickle.dumps({"data": entry["data"][1:], "labels": entry["labels"][1:]}, protocol=2)


def with_another_pixel(content):
    return content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]


@pytest.mark.parametrize("damage", [without_one_image, with_another_pixel])
def test_an_unpacked_file_that_is_not_the_original(damage, build, cifar10, tmp_path):
    build()
    folder = tmp_path / "cifar10"
    (folder / "cifar-10-python.tar.gz").unlink()
    file = folder / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=f"^{file}: damaged or not the original") as caught:
        build()
    assert "\n" not in str(caught.value)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_strange_pickle_is_not_opened(build, cifar10, tmp_path):
    build()
    folder, trace = tmp_path / "cifar10", tmp_path / "trace"
    (folder / "cifar-10-python.tar.gz").unlink()
    file = folder / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(UserError, match=f"^{file}: damaged"):
        build()
    assert not trace.exists()
    pickle.loads(file.read_bytes())
    assert trace.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": 16}, "img_size is 16, but the images of cifar10 are 32x32: set it to 32"),
        ({"num_labels": 45}, "num_labels: 45 cannot be divided equally among 10 classes"),
        ({"num_labels": 160}, "class 'class 0' has 15 training images"),
        ({"num_val": 200}, "num_val must be at least 0 and less than the 200 training images"),
    ],
)
def test_sizes_that_do_not_fit(changes, message, build, cifar10):
    with pytest.raises(UserError, match=message):
        build(**changes)
