import numpy as np
import pytest

from metasemi_plugin.data import PAPER_DATASETS
from metasemi_plugin.errors import UserError

PARTS = ("train_lb", "train_ulb", "eval", "test")


@pytest.fixture
def build(make_args):
    def build(views=None, **changes):
        changes = {"img_size": 96, "num_labels": 10, "num_val": 20, **changes}
        return PAPER_DATASETS["stl10"](make_args(dataset="stl10", **changes), views or {})

    return build


def in_order(pixels):
    """As the positions count: labeled, unlabeled, test images."""
    return np.concatenate([pixels[:40], pixels[60:], pixels[40:60]])


@pytest.mark.parametrize("seed", [0, 3, 9, 13])
def test_the_labeled_images_are_the_fold_of_the_seed(seed, build, stl10):
    _, labels, folds = stl10
    splits = build(seed=seed)
    assert splits.train_lb.positions.tolist() == sorted(folds[seed % 10])
    np.testing.assert_array_equal(splits.train_lb.targets, labels[splits.train_lb.positions])


def test_the_seed_alone_chooses_the_validation_images(build, stl10):
    first, again, other = (build(seed=seed).eval.positions.tolist() for seed in (1, 1, 11))
    assert first == again != other  # of one fold


def test_every_image_is_the_one_at_its_position(build, stl10):
    pixels = in_order(stl10[0])
    splits = build()
    for name in PARTS:
        part = getattr(splits, name)
        np.testing.assert_array_equal(part.images[:], pixels[part.positions])


@pytest.mark.parametrize("with_labeled", [True, False])
def test_sizes(with_labeled, build, stl10):
    splits = build(include_lb_to_ulb=with_labeled)
    lb, ulb, val, test = (getattr(splits, name).positions.tolist() for name in PARTS)
    assert not (set(lb) | set(ulb)) & set(val)
    assert sorted({*lb, *ulb, *val}) == list(range(52))  # 40 labeled, 12 not
    assert len(ulb) == 10 + 12 + 10 * with_labeled
    assert test == list(range(52, 72))
    assert len(val) == 20
    np.testing.assert_array_equal(splits.train_ulb.targets[-12:], -1)


def test_all_images_labeled(build, stl10):
    splits = build(num_labels=40, num_val=0)
    assert splits.train_lb.positions.tolist() == list(range(40))
    assert splits.eval.positions.tolist() == list(range(52, 72))
    assert splits.test is None


def test_weak_views_move_by_up_to_12_pixels_and_half_are_mirrored(build, stl10, seen, moves):
    part = build().train_lb
    image = part.images[:][3]
    straight, mirrored = moves(image, 12), moves(image[:, ::-1], 12)
    views = [view.tobytes() for view in seen(part, "x_lb", 3, 300)]
    dy, dx = zip(*((straight | mirrored)[view] for view in views), strict=True)
    assert set(dy) == set(dx) == set(range(-12, 13))
    assert 110 < sum(view in mirrored for view in views) < 190


def test_all_are_normalized_by_the_labeled_images_that_stay(build, stl10):
    splits = build()
    training = np.setdiff1d(np.arange(40), splits.eval.positions)
    shown = stl10[0][training] / 255
    for name in PARTS:
        np.testing.assert_allclose(getattr(splits, name).mean, shown.mean(axis=(0, 1, 2)))
        np.testing.assert_allclose(getattr(splits, name).std, shown.std(axis=(0, 1, 2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": 32}, "images of stl10 are 96x96: set it to 96"),
        ({"num_labels": 20}, "10 labeled images in a fold and 40 in all; 20 is neither"),
        ({"num_labels": 40}, "all 40 images are labeled, .* 20 out of; set num_val to 0"),
        ({"num_val": 30}, "num_val must be at least 0 and less than the 30 training images"),
    ],
)
def test_sizes_that_do_not_fit(changes, message, build, stl10):
    with pytest.raises(UserError, match=message):
        build(**changes)


def test_nothing_there_and_no_network(build, no_network):
    with pytest.raises(UserError, match=r"stl10 is not in .*no network.*put stl10_binary\.tar\.gz"):
        build()


def test_a_file_with_too_few_images(build, stl10, tmp_path):
    build()
    (tmp_path / "stl10" / "stl10_binary.tar.gz").unlink()
    file = tmp_path / "stl10" / "stl10_binary" / "unlabeled_X.bin"
    file.write_bytes(file.read_bytes()[3 * 96 * 96 :])
    with pytest.raises(UserError, match=f"^{file}: damaged or not the original"):
        build()


@pytest.mark.parametrize("content", [None, "", "1 2 x\n", "1 2 3\n4 5\n", "1 2 40\n", "1 -2 3\n"])
def test_a_list_of_folds_that_cannot_be_used(content, build, stl10, tmp_path):
    build()
    file = tmp_path / "stl10" / "stl10_binary" / "fold_indices.txt"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(UserError, match=f"^{file}: .*delete the folder stl10_binary"):
        build()
