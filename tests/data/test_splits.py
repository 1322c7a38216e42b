import numpy as np
import pytest

from metasemi_plugin.data.splits import Images, channel_statistics, make_splits
from metasemi_plugin.errors import UserError


def images(start, count):
    """Three classes in turn; the gray value is the image's number."""
    number = np.arange(start, start + count)
    pixels = np.broadcast_to(number[:, None, None, None], (count, 4, 4, 3)).astype(np.uint8)
    return Images(pixels, number % 3)


@pytest.fixture
def build(make_args):
    def build(views=None, val=None, test=None, unlabeled=None, **changes):
        return make_splits(
            make_args(num_classes=3, **{"num_labels": 6, **changes}),
            {"x_ulb_w": "weak"} if views is None else views,
            train=images(0, 60),
            class_names=["a", "b", "c"],
            val=val,
            test=test,
            unlabeled=unlabeled,
            flip=False,
        )

    return build


def numbers(dataset):
    return dataset.images[:][:, 0, 0, 0].tolist()


def test_the_test_set_is_evaluated_when_there_is_no_validation_set(build):
    splits = build(test=images(100, 9))
    assert numbers(splits.eval) == list(range(100, 109))
    assert splits.test is None
    assert numbers(splits.train_ulb) == list(range(60))
    assert len(splits.train_lb) == 6
    assert splits.class_names == ["a", "b", "c"]
    assert splits.chosen_on == "test"


def test_long_tails(build):
    """8, 4 and 2 labels; 2, 4 and 8 others; none of those held out."""
    asked = {"num_labels": 8, "lb_imb_ratio": 4, "ulb_num_labels": 8, "ulb_imb_ratio": -4}
    splits = build(num_val=12, test=images(100, 9), **asked)
    assert np.bincount(splits.train_lb.targets).tolist() == [8, 4, 2]
    assert np.bincount(splits.train_ulb.targets).tolist() == [10, 8, 10]
    assert set(numbers(splits.train_lb)) < set(numbers(splits.train_ulb))
    assert not set(numbers(splits.train_ulb)) & set(numbers(splits.eval))
    others = build(num_val=12, test=images(100, 9), include_lb_to_ulb=False, **asked).train_ulb
    assert set(numbers(others)) == set(numbers(splits.train_ulb)) - set(numbers(splits.train_lb))


def test_the_seed_draws_the_unlabeled_images(build, monkeypatch):
    monkeypatch.setattr(
        "metasemi_plugin.data.splits.split_labels", lambda *_, **__: (np.arange(6), None)
    )
    first, again, other = (
        numbers(build(seed=seed, ulb_num_labels=9, test=images(100, 9)).train_ulb)
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_images_of_unknown_class_have_no_long_tail(build):
    with pytest.raises(UserError, match=r"ulb_num_labels: the classes .* are not known"):
        build(ulb_num_labels=30, unlabeled=images(200, 6), test=images(100, 9))


def test_validation_images_are_evaluated_and_the_test_set_kept_for_the_end(build):
    splits = build(val=images(200, 6), test=images(100, 9))
    assert numbers(splits.eval) == list(range(200, 206))
    assert numbers(splits.test) == list(range(100, 109))


def test_validation_images_alone_are_enough(build):
    splits = build(val=images(200, 6))
    assert splits.chosen_on == "validation"
    assert numbers(splits.eval) == list(range(200, 206))
    assert splits.test is None


def test_held_out_images_are_in_no_training_set(build):
    splits = build(num_val=12, test=images(100, 9))
    held = numbers(splits.eval)
    assert len(held) == 12
    assert splits.chosen_on == "validation"
    assert sorted(held + numbers(splits.train_ulb)) == list(range(60))
    assert set(numbers(splits.train_lb)) <= set(numbers(splits.train_ulb))
    assert numbers(splits.test) == list(range(100, 109))


def test_labels_stay_with_their_images(build):
    splits = build(num_val=12, test=images(100, 9))
    for part in (splits.train_lb, splits.train_ulb, splits.eval, splits.test):
        assert part.targets.tolist() == [number % 3 for number in numbers(part)]


def test_labeled_images_can_be_kept_out_of_the_unlabeled(build):
    splits = build(test=images(100, 9), include_lb_to_ulb=False)
    assert sorted(numbers(splits.train_lb) + numbers(splits.train_ulb)) == list(range(60))


def test_extra_unlabeled_images_come_after_those_of_the_training_set(build):
    extra = Images(images(150, 5).pixels, np.full(5, -1))
    splits = build(test=images(100, 9), unlabeled=extra)
    assert numbers(splits.train_ulb) == [*range(60), *range(150, 155)]
    assert splits.train_ulb.targets.tolist() == [i % 3 for i in range(60)] + [-1] * 5


def test_all_images_are_labeled_when_fully_supervised(build):
    splits = build(views={}, test=images(100, 9), algorithm="fullysupervised", num_val=12)
    assert len(splits.train_lb) == 48
    assert not set(numbers(splits.train_lb)) & set(numbers(splits.eval))


def test_views_and_roles(build):
    splits = build(num_val=12, test=images(100, 9))
    assert (splits.train_lb.role, splits.train_lb.views) == ("lb", {"x_lb": "weak"})
    assert (splits.train_ulb.role, splits.train_ulb.views) == ("ulb", {"x_ulb_w": "weak"})
    for part in (splits.eval, splits.test):
        assert (part.role, part.views) == ("lb", {"x_lb": "plain"})


def test_everything_is_normalized_by_the_training_images_that_stay(build):
    splits = build(num_val=12, test=images(100, 9))
    stay = splits.train_ulb.images[:] / 255
    for part in splits[:4]:
        np.testing.assert_allclose(part.mean, stay.mean(axis=(0, 1, 2)))
        np.testing.assert_allclose(part.std, stay.std(axis=(0, 1, 2)))


def test_channel_statistics_of_more_than_one_chunk():
    pixels = np.random.default_rng(0).integers(0, 256, (2500, 2, 2, 3), dtype=np.uint8)
    pixels[..., 2] = 7
    mean, std = channel_statistics(pixels)
    np.testing.assert_allclose(mean, (pixels / 255).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(std[:2], (pixels / 255).std(axis=(0, 1, 2))[:2])
    assert std[2] == 1 / 255  # a constant channel must not become infinite


def test_nothing_to_evaluate_on(build):
    with pytest.raises(UserError, match="nothing to evaluate on: set num_val"):
        build()


def test_validation_images_from_two_sources(build):
    with pytest.raises(UserError, match=r"num_val is 12.*set num_val to 0"):
        build(num_val=12, val=images(200, 6))


def test_no_unlabeled_image_left(build):
    everything = {"num_labels": 60, "include_lb_to_ulb": False, "test": images(100, 9)}
    with pytest.raises(UserError, match=r"all 60 training images are labeled.*include_lb_to_ulb"):
        build(**everything)
    assert len(build(views={}, **everything).train_ulb) == 0


def test_a_class_too_small_is_called_by_its_name(build):
    with pytest.raises(UserError, match="class 'a' has 20"):
        build(num_labels=90, test=images(100, 9))


@pytest.mark.parametrize("crop_ratio", [0, -0.5, 1.01])
def test_a_crop_ratio_out_of_range_is_refused(build, crop_ratio):
    with pytest.raises(UserError, match=f"crop_ratio.*{crop_ratio}"):
        build(test=images(100, 9), crop_ratio=crop_ratio)


@pytest.mark.parametrize(("crop_ratio", "pixels"), [(1.0, 0), (0.75, 1), (0.5, 2)])
def test_the_crop_ratio_says_how_far_weak_views_move(build, crop_ratio, pixels):
    assert build(test=images(100, 9), crop_ratio=crop_ratio).train_lb.translation == pixels


def test_positions_count_on_from_one_array_to_the_next(build):
    extra = Images(images(150, 5).pixels, np.full(5, -1))
    splits = build(val=images(200, 6), test=images(100, 9), unlabeled=extra)
    assert splits.train_lb.positions.tolist() == numbers(splits.train_lb)
    assert splits.train_ulb.positions.tolist() == list(range(65))
    assert splits.eval.positions.tolist() == list(range(65, 71))
    assert splits.test.positions.tolist() == list(range(71, 80))


def test_positions_of_held_out_images_are_those_in_the_training_set(build):
    splits = build(num_val=12, test=images(100, 9))
    for part in (splits.train_lb, splits.train_ulb, splits.eval):
        assert part.positions.tolist() == numbers(part)
    assert splits.test.positions.tolist() == list(range(60, 69))


def folds(build, **changes):
    return [build(label_folds=2, label_fold=fold, **changes) for fold in range(2)]


@pytest.mark.parametrize("num_val", [0, 12])
def test_folds_are_made_of_the_labeled_images_there_are_without(build, num_val):
    plain = build(num_val=num_val, test=images(100, 9))
    rounds = folds(build, num_val=num_val, test=images(100, 9))
    labeled = numbers(plain.train_lb)
    assert sorted(numbers(rounds[0].eval) + numbers(rounds[1].eval)) == labeled
    for one, other in (rounds, rounds[::-1]):
        assert numbers(one.train_lb) == numbers(other.eval)
        assert sorted(one.eval.targets) == [0, 1, 2]
        assert numbers(one.test) == list(range(100, 109))


@pytest.mark.parametrize("with_labeled", [True, False])
def test_a_fold_is_not_trained_on_and_neither_are_validation_images(build, with_labeled):
    options = {"num_val": 12, "test": images(100, 9), "include_lb_to_ulb": with_labeled}
    plain = build(**options)
    for splits in folds(build, **options):
        unlabeled = set(numbers(plain.train_ulb)) - set(numbers(splits.eval))
        assert set(numbers(splits.train_ulb)) == unlabeled
        assert not set(numbers(splits.train_lb)) & set(numbers(splits.eval))
        stay = np.array(sorted(unlabeled | set(numbers(splits.train_lb)))) / 255
        np.testing.assert_allclose(splits.eval.mean, stay.mean())


def test_folds_take_the_place_of_validation_images_that_the_data_bring(build):
    one, _ = folds(build, val=images(200, 6), test=images(100, 9))
    assert set(numbers(one.eval)) < set(range(60))
    assert one.eval.positions.tolist() == numbers(one.eval)
    assert one.test.positions.tolist() == list(range(66, 75))


def test_folds_of_labeled_images_that_the_data_prescribe(make_args):
    args = make_args(num_classes=3, label_folds=2, num_val=6)
    splits = make_splits(
        args,
        {},
        train=images(0, 60),
        test=images(100, 9),
        labeled=np.arange(12),
        class_names=["a", "b", "c"],
        flip=False,
    )
    assert sorted(numbers(splits.train_lb) + numbers(splits.eval)) == list(range(12))


def test_prescribed_labels_are_never_held_out(make_args):
    splits = make_splits(
        make_args(num_classes=3, num_val=45, num_labels=3),
        {},
        train=images(0, 60),
        labeled=np.arange(12),
        class_names=["a", "b", "c"],
        flip=False,
    )
    assert numbers(splits.train_lb) == list(range(12))
    assert len(splits.eval) == 45
    assert not set(numbers(splits.eval)) & set(range(12))
