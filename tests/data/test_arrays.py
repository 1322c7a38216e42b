import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from metasemi_plugin.data.arrays import ImageArrays
from metasemi_plugin.host.rand_augment import rand_augment

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)


def dataset(views, role="ulb", **changes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    targets = np.arange(20, dtype=np.int64) % 3
    changes = {"translation": 2, **changes}
    return ImageArrays(images, targets, mean=MEAN, std=STD, views=views, role=role, **changes)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bytes_of(x):
    """Undo the normalization: uint8 (B, H, W, 3)."""
    x = x.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)
    return x.mul(255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(
    ("views", "keys"),
    [
        ({}, ["idx_ulb"]),
        ({"x_ulb_w": "weak"}, ["idx_ulb", "x_ulb_w"]),
        ({"x_ulb_w": "weak", "x_ulb_s": rand_augment}, ["idx_ulb", "x_ulb_w", "x_ulb_s"]),
        (
            {"x_ulb_s_0": rand_augment, "x_ulb_s_0_rot": "rotated"},
            ["idx_ulb", "x_ulb_s_0", "x_ulb_s_0_rot", "rot_v"],
        ),
    ],
)
def test_an_unlabeled_batch_has_the_views_asked_for_and_nothing_else(views, keys):
    batch = dataset(views).read([3, 1, 4], seeded())
    assert list(batch) == keys
    assert batch["idx_ulb"].tolist() == [3, 1, 4]
    for key in views:
        assert batch[key].dtype == torch.float32
        assert batch[key].shape == (3, 3, 16, 16)


def test_a_labeled_batch_has_its_labels():
    batch = dataset({"x_lb": "weak"}, role="lb").read([3, 1, 5], seeded())
    assert list(batch) == ["idx_lb", "x_lb", "y_lb"]
    assert batch["idx_lb"].tolist() == [3, 1, 5]
    assert batch["y_lb"].tolist() == [0, 1, 2]
    assert batch["idx_lb"].dtype == batch["y_lb"].dtype == torch.int64


def test_a_plain_view_is_the_image_normalized():
    data = dataset({"x_ulb": "plain"})
    batch = data.read([7, 2], seeded())
    np.testing.assert_array_equal(bytes_of(batch["x_ulb"]), data.images[[7, 2]])


@pytest.mark.parametrize("pad", [0, 2, 3])
def test_a_weak_view_moves_by_as_many_pixels_as_are_asked_for(pad):
    data = dataset({"x": "weak"}, translation=pad, flip=False, padding_mode="constant")
    data.images = np.full_like(data.images, 200)
    moved = bytes_of(data.read(list(range(20)) * 20, seeded())["x"])[..., 0]
    black_rows = (moved == 0).all(axis=2).sum(axis=1)
    assert set(black_rows) == set(range(pad + 1))


def test_flip_is_left_to_the_data_set():
    mirrored = {}
    for flip in (False, True):
        data = dataset({"x": "weak"}, translation=0, flip=flip)
        moved = bytes_of(data.read(range(20), seeded())["x"])
        mirrored[flip] = (moved == data.images[:, :, ::-1]).all(axis=(1, 2, 3)).sum()
    assert mirrored[False] == 0
    assert 3 < mirrored[True] < 17


def test_a_strong_view_is_augmented_beyond_the_weak_one():
    data = dataset({"x_ulb_s": rand_augment}, translation=0, flip=False)
    strong = bytes_of(data.read(range(20), seeded())["x_ulb_s"])
    assert (strong != data.images).any(axis=(1, 2, 3)).sum() >= 18


def test_a_rotated_view_turns_the_strong_view_of_its_own_batch():
    views = {"x_ulb_s_0": rand_augment, "x_ulb_s_1": rand_augment, "turned": "rotated"}
    batch = dataset(views).read(range(20), seeded())
    assert not torch.equal(batch["x_ulb_s_0"], batch["x_ulb_s_1"])
    for strong, turned, k in zip(
        batch["x_ulb_s_0"], batch["turned"], batch["rot_v"].tolist(), strict=True
    ):
        assert torch.equal(turned, torch.rot90(strong, k, (1, 2)))


def test_views_of_one_kind_are_drawn_apart():
    batch = dataset({"a": "weak", "b": "weak"}).read(range(20), seeded())
    assert not torch.equal(batch["a"], batch["b"])


def test_a_batch_depends_on_the_generator_alone():
    data = dataset({"w": "weak", "x_ulb_s_0": rand_augment, "r": "rotated"})
    first, again, other = (data.read(range(20), seeded(seed)) for seed in (1, 1, 2))
    for key in ("w", "x_ulb_s_0", "r", "rot_v"):
        assert torch.equal(first[key], again[key])
        assert not torch.equal(first[key], other[key])


def test_reading_leaves_the_images_alone():
    data = dataset({"w": "weak", "s": rand_augment, "p": "plain"})
    before = data.images.copy()
    batch = data.read(range(20), seeded())
    batch["p"].zero_()
    batch["idx_ulb"].zero_()
    np.testing.assert_array_equal(data.images, before)


def test_evaluation_reads_it_through_an_ordinary_loader():
    data = dataset({"x_lb": "plain"}, role="lb")
    batches = list(DataLoader(data, batch_size=8))
    assert [len(batch["y_lb"]) for batch in batches] == [8, 8, 4]
    whole = data.read(range(20), seeded())
    for key, value in whole.items():
        assert torch.equal(torch.cat([batch[key] for batch in batches]), value)


def test_one_sample_has_no_batch_dimension():
    sample = dataset({"x_lb": "plain"}, role="lb")[5]
    assert sample["x_lb"].shape == (3, 16, 16)
    assert (sample["idx_lb"].item(), sample["y_lb"].item()) == (5, 2)


def test_random_views_need_a_generator():
    with pytest.raises(TypeError, match="generator"):
        dataset({"x_ulb_w": "weak"})[0]


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"x": "waek"}, "'x'.*'waek'.*plain, weak, rotated"),
        ({"r": "rotated"}, "'r'.*x_ulb_s_0"),
        ({"r": "rotated", "x_ulb_s_0": rand_augment}, "'r'.*before"),
        ({"x_ulb_s_0": "weak", "r": "rotated"}, "'r'.*strong"),
    ],
)
def test_views_that_cannot_be_made_are_refused(views, message):
    with pytest.raises(ValueError, match=message):
        dataset(views)
