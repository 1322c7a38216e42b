import numpy as np
import pytest

from metasemi_plugin.config.options import OPTIONS
from metasemi_plugin.data.split import hold_out, leave_out_fold, split_labels
from metasemi_plugin.errors import UserError

TARGETS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [50, 30, 20, 100]))


def counts(targets):
    return np.bincount(targets, minlength=4).tolist()


def test_labels_are_balanced_and_taken_from_the_images_given():
    labeled, unlabeled = split_labels(TARGETS, 40, 4, seed=3)
    assert counts(TARGETS[labeled]) == [10, 10, 10, 10]
    assert len(set(labeled.tolist())) == 40
    assert unlabeled.tolist() == list(range(200))


def test_unlabeled_images_without_the_labeled_ones():
    labeled, unlabeled = split_labels(TARGETS, 40, 4, seed=3, include_lb_to_ulb=False)
    assert sorted([*labeled, *unlabeled]) == list(range(200))


def test_the_seed_alone_chooses_the_labels():
    first, again, other = (split_labels(TARGETS, 40, 4, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def shuffled(seed, purpose):
    """The images of each class, as they are drawn for a purpose."""
    rng = np.random.default_rng([seed, purpose])
    return [rng.permutation(np.flatnonzero(label == TARGETS)) for label in range(4)]


@pytest.mark.parametrize("seed", [0, 5])
def test_the_choices_are_those_of_earlier_versions(seed):
    """As a run that goes on from a checkpoint of theirs must have the same split."""
    labeled, _ = split_labels(TARGETS, 12, 4, seed)
    assert labeled.tolist() == sorted(i for members in shuffled(seed, 1) for i in members[:3])
    _, validation = hold_out(TARGETS, 20, 4, seed)
    held = zip(shuffled(seed, 2), (5, 3, 2, 10), strict=True)
    assert validation.tolist() == sorted(i for members, n in held for i in members[:n])
    _, fold = leave_out_fold(TARGETS, 7, 3, 4, seed)
    assert fold.tolist() == sorted(np.concatenate(shuffled(seed, 3))[3::7])


def test_nothing_is_held_out_unless_it_is_said():
    assert [OPTIONS[name].default for name in ("num_val", "label_folds", "label_fold")] == [0] * 3


def test_one_label():
    assert split_labels(np.zeros(3), 1, 1, seed=0)[0].shape == (1,)


def test_fewer_labels_are_part_of_more():
    few, more = (split_labels(TARGETS, n, 4, seed=0)[0].tolist() for n in (8, 40))
    assert set(few) < set(more)


def test_images_of_unknown_class_are_unlabeled():
    targets = np.concatenate([TARGETS, np.full(7, -1)])
    labeled, unlabeled = split_labels(targets, 40, 4, seed=0, include_lb_to_ulb=False)
    assert targets[labeled].min() == 0
    assert (targets[unlabeled] == -1).sum() == 7


@pytest.mark.parametrize(
    ("num_labels", "message"),
    [
        (0, "num_labels must be positive, not 0: try 4"),
        (-4, "num_labels must be positive, not -4"),
        (42, "num_labels: 42 .* 4 classes: use 40 or 44"),
        (3, "num_labels: 3 .* 4 classes: use 4$"),
        (120, "class 2 has 20 training images, but num_labels 120 asks for 30"),
    ],
)
def test_impossible_numbers_of_labels(num_labels, message):
    with pytest.raises(UserError, match=message):
        split_labels(TARGETS, num_labels, 4, seed=0)


def test_a_class_too_small_is_called_by_its_name():
    with pytest.raises(UserError, match="class 'cat' has 20"):
        split_labels(TARGETS, 120, 4, seed=0, class_names=["ant", "bee", "cat", "dog"])


def test_all_images_of_a_class_can_be_labeled():
    labeled, _ = split_labels(TARGETS, 80, 4, seed=0)
    assert counts(TARGETS[labeled]) == [20, 20, 20, 20]


@pytest.mark.parametrize(
    ("num_val", "per_class"),
    [(0, [0, 0, 0, 0]), (20, [5, 3, 2, 10]), (6, [1, 1, 1, 3]), (199, [50, 30, 20, 99])],
)
def test_held_out_images_are_stratified_and_exactly_as_many(num_val, per_class):
    train, validation = hold_out(TARGETS, num_val, 4, seed=0)
    assert sorted([*train, *validation]) == list(range(200))
    assert len(validation) == num_val
    assert counts(TARGETS[validation]) == per_class  # shares of 50, 30, 20 and 100


def test_the_first_of_equal_classes_are_held_out_of():
    targets = np.repeat(np.arange(40), [4, 3] * 20)
    _, validation = hold_out(targets, 5, 40, seed=0)
    assert targets[validation].tolist() == [0, 2, 4, 6, 8]


def test_the_seed_alone_chooses_what_is_held_out():
    first, again, other = (hold_out(TARGETS, 20, 4, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_images_of_unknown_class_are_never_held_out():
    targets = np.concatenate([TARGETS, np.full(100, -1)])
    train, validation = hold_out(targets, 150, 4, seed=0)
    assert targets[validation].min() == 0
    assert len(train) == 150


@pytest.mark.parametrize("num_val", [-1, 200, 1000])
def test_impossible_numbers_of_validation_images(num_val):
    with pytest.raises(UserError, match=f"num_val .* 200 training images, not {num_val}"):
        hold_out(TARGETS, num_val, 4, seed=0)


LABELED = np.random.default_rng(1).permutation(np.repeat(np.arange(4), [10, 10, 10, 12]))


def test_each_labeled_image_is_in_one_fold():
    rounds = [leave_out_fold(LABELED, 4, fold, 4, seed=0) for fold in range(4)]
    assert sorted(np.concatenate([held for _, held in rounds])) == list(range(42))
    for trained, held in rounds:
        assert sorted([*trained, *held]) == list(range(42))
        assert held.tolist() == sorted(held)


def test_folds_have_as_many_images_of_each_class_give_or_take_one():
    folds = [leave_out_fold(LABELED, 4, fold, 4, seed=0)[1] for fold in range(4)]
    assert sorted(map(len, folds)) == [10, 10, 11, 11]
    per_class = np.array([counts(LABELED[fold]) for fold in folds])
    assert (np.ptp(per_class, axis=0) <= 1).all()


def test_the_seed_alone_chooses_the_folds():
    first, again, other = (leave_out_fold(LABELED, 4, 1, 4, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_two_folds():
    one, other = (leave_out_fold(LABELED, 2, fold, 4, seed=0) for fold in range(2))
    assert one[0].tolist() == other[1].tolist()


def test_as_many_folds_as_a_class_has_labels():
    assert counts(LABELED[leave_out_fold(LABELED, 10, 9, 4, seed=0)[1]])[:3] == [1, 1, 1]


@pytest.mark.parametrize(
    ("num_folds", "fold", "message"),
    [
        (1, 0, r"label_folds must be 0 \(none\) or at least 2, not 1"),
        (-3, 0, "label_folds .* not -3"),
        (4, 4, "label_fold must be 0 to 3, as label_folds is 4; not 4"),
        (4, -1, "label_fold must be 0 to 3, .* not -1"),
        (11, 0, "label_folds 11: a class has 10 labels, .*lower label_folds or raise num_labels"),
    ],
)
def test_impossible_folds(num_folds, fold, message):
    with pytest.raises(UserError, match=message):
        leave_out_fold(LABELED, num_folds, fold, 4, seed=0)
