import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from metasemi_plugin.data import DATASETS
from metasemi_plugin.errors import UserError


@pytest.fixture
def build(make_args):
    return lambda views=None, **changes: DATASETS["digits"](make_args(**changes), views or {})


def test_sizes(build):
    splits = build()
    assert [len(part) for part in splits[:3]] == [40, 1437, 360]
    assert np.bincount(splits.train_lb.targets).tolist() == [4] * 10
    assert np.bincount(splits.eval.targets).min() >= 34
    assert splits.class_names == list("0123456789")
    assert splits.test is None


def test_with_validation_images(build):
    splits = build(num_val=100)
    assert [len(part) for part in splits[:4]] == [40, 1337, 100, 360]


def test_cross_validation_on_the_labels(build):
    labeled = build().train_lb.positions.tolist()
    rounds = [build(label_folds=4, label_fold=fold) for fold in range(4)]
    assert sorted(i for splits in rounds for i in splits.eval.positions) == labeled
    for splits in rounds:
        assert [len(part) for part in splits[:4]] == [30, 1427, 10, 360]
        assert sorted(splits.eval.targets) == list(range(10))
        assert np.bincount(splits.train_lb.targets).tolist() == [3] * 10


def test_the_pixels_are_scikit_learns(build):
    splits = build()
    train, test = splits.train_ulb, splits.eval
    original = {}
    for image, target in zip(*load_digits(return_X_y=True), strict=True):
        original[np.round(image * 255 / 16).astype(np.uint8).tobytes()] = target
    for part in (train, test):
        assert part.images.shape[1:] == (8, 8, 3)
        for image, target in zip(part.images[:], part.targets, strict=True):
            assert original[image[..., 0].tobytes()] == target
            assert (image == image[..., :1]).all()


def test_the_test_set_is_the_same_for_every_seed_and_the_labels_are_not(build):
    one, two = build(seed=1), build(seed=2)
    np.testing.assert_array_equal(one.eval.images[:], two.eval.images[:])
    assert not np.array_equal(one.train_lb.images[:], two.train_lb.images[:])


def test_images_are_enlarged_smoothly(build):
    large = build(img_size=32).train_ulb.images[:]
    assert large.shape[1:] == (32, 32, 3)
    small = build().train_ulb.images[:]
    means = large[..., 0].mean(axis=(1, 2)), small[..., 0].mean(axis=(1, 2))
    np.testing.assert_allclose(*means, atol=4)
    assert len(np.unique(large)) > 200


def test_weak_views_move_over_the_background_and_are_not_mirrored(build):
    train = build({"x_ulb_w": "weak"}).train_ulb
    batch = train.read([0] * 60, torch.Generator().manual_seed(0))["x_ulb_w"]
    values = (batch * train.std[0] + train.mean[0]).mul(255).round()[:, 0].numpy()
    padded = np.pad(train.images[:][0, ..., 0], 1)
    crops = [padded[y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    found = {i for view in values for i, crop in enumerate(crops) if (view == crop).all()}
    assert found == set(range(9))
    assert all(any((view == crop).all() for crop in crops) for view in values)


def test_ten_classes(build):
    with pytest.raises(UserError, match="10 classes, but num_classes is 7: set it to 10"):
        build(num_classes=7)
