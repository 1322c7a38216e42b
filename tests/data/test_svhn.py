import numpy as np
import pytest
import scipy.io

from metasemi_plugin.data import PAPER_DATASETS
from metasemi_plugin.errors import UserError

PARTS = ("train_lb", "train_ulb", "eval", "test")


@pytest.fixture
def build(make_args):
    def build(views=None, **changes):
        changes = {"img_size": 32, "num_labels": 20, "num_val": 30, **changes}
        return PAPER_DATASETS["svhn"](make_args(dataset="svhn", **changes), views or {})

    return build


def test_sizes_and_classes_without_the_extra_images(build, svhn):
    splits = build()
    per_class = [np.bincount(getattr(splits, name).targets).tolist() for name in PARTS]
    assert per_class == [[2] * 10, [9] * 10, [3] * 10, [3] * 10]
    assert splits.class_names == list("0123456789")


def test_every_image_is_the_one_at_its_position_and_0_is_class_0(build, svhn):
    pixels, labels = svhn
    splits = build()
    for name in PARTS:
        part = getattr(splits, name)
        np.testing.assert_array_equal(part.images[:], pixels[part.positions])
        np.testing.assert_array_equal(part.targets, labels[part.positions])
        assert part.targets.dtype == np.int64


def test_training_validation_and_test_images_are_disjoint(build, svhn):
    splits = build()
    at = [getattr(splits, name).positions.tolist() for name in PARTS]
    assert set(at[0]) <= set(at[1])
    assert sorted([*at[1], *at[2], *at[3]]) == list(range(150))
    assert at[3] == list(range(120, 150))


def test_the_seed_alone_chooses_the_split(build, svhn):
    first, again, other = (build(seed=seed) for seed in (1, 1, 2))
    for name in ("train_lb", "eval"):
        chosen = [getattr(splits, name).positions.tolist() for splits in (first, again, other)]
        assert chosen[0] == chosen[1] != chosen[2]


def test_weak_views_move_by_up_to_2_pixels_and_never_flip(build, svhn, seen, moves):
    splits = build({"x_ulb_w": "weak"})
    for part, key in ((splits.train_lb, "x_lb"), (splits.train_ulb, "x_ulb_w")):
        image = part.images[:][3]
        straight, mirrored = moves(image, 2), moves(image[:, ::-1], 2)
        views = [view.tobytes() for view in seen(part, key, 3, 1000)]
        assert {straight[view] for view in views} == set(straight.values())
        assert not set(views) & set(mirrored)
    np.testing.assert_array_equal(
        seen(splits.eval, "x_lb", 3, 2), splits.eval.images[np.array([3, 3])]
    )


def test_all_are_normalized_by_the_images_trained_on(build, svhn):
    splits = build()
    shown = svhn[0][splits.train_ulb.positions] / 255
    for name in PARTS:
        np.testing.assert_allclose(getattr(splits, name).mean, shown.mean(axis=(0, 1, 2)))
        np.testing.assert_allclose(getattr(splits, name).std, shown.std(axis=(0, 1, 2)))


def test_a_missing_file(build, svhn, tmp_path):
    (tmp_path / "svhn" / "test_32x32.mat").unlink()
    files = "train_32x32.mat, test_32x32.mat into"  # not the extra images
    with pytest.raises(UserError, match=f"svhn is not in .*no network.*put {files} .*svhn$"):
        build()


def test_a_damaged_file(build, svhn, tmp_path):
    file = tmp_path / "svhn" / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"^{file}: damaged or not the original"):
        build()


def test_a_file_with_too_few_images(build, svhn, tmp_path):
    file = tmp_path / "svhn" / "test_32x32.mat"
    content = scipy.io.loadmat(file)
    scipy.io.savemat(file, {"X": content["X"][..., 1:], "y": content["y"][1:]})
    with pytest.raises(UserError, match=f"^{file}: damaged or not the original"):
        build()


def test_another_size(build, svhn):
    with pytest.raises(UserError, match="images of svhn are 32x32: set it to 32"):
        build(img_size=28)
