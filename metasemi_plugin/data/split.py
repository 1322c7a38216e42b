"""Which images are labeled, which are not, and which are held out for validation.

A split depends on the targets, the sizes asked for and the seed, and on nothing else.
"""

from collections.abc import Sequence

import numpy as np

from metasemi_plugin.data.long_tail import class_sizes, draw
from metasemi_plugin.errors import UserError

# One stream of chance a purpose, so that what is drawn for one never moves the other.
_LABELS, _HOLD_OUT, _FOLDS, UNLABELED = 1, 2, 3, 4


def indivisible(num_labels: int, num_classes: int) -> str:
    """What to say of a number of labels that is no multiple of the classes."""
    use = multiples(num_labels, num_classes)
    return f"{num_labels} cannot be divided equally among {num_classes} classes: use {use}"


def multiples(number: int, of: int) -> str:
    """What to use in place of a number that is no multiple: the next ones, but for 0."""
    below = number // of * of
    return " or ".join(str(n) for n in (below, below + of) if n)


def split_labels(
    targets: np.ndarray,
    num_labels: int,
    num_classes: int,
    seed: int,
    *,
    imb_ratio: int = 1,
    include_lb_to_ulb: bool = True,
    class_names: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images whose labels are used, equally many of each class or as `class_sizes` says.

    With one seed, the smaller choice is part of the larger one.

    Args:
        targets: int (N,) in 0..num_classes-1, or -1 where the label is not known.
        num_labels: how many labels in all, or of the largest class.
        num_classes: number of classes C.
        seed: not negative.
        imb_ratio: of the largest class to the smallest, see `class_sizes`.
        include_lb_to_ulb: whether the labeled images are unlabeled ones as well, as in USB.
        class_names: names for the messages; numbers if there are none.

    Returns:
        Ascending positions of the labeled images, and of the unlabeled: all N, or the others.

    Raises:
        UserError: `num_labels` is not positive, is not divisible by `num_classes`, or asks more of
            a class than there is.
    """
    if num_labels <= 0:
        raise UserError(f"num_labels must be positive, not {num_labels}: try {num_classes}")
    if imb_ratio == 1 and num_labels % num_classes:
        raise UserError(f"num_labels: {indivisible(num_labels, num_classes)}")
    sizes = class_sizes(num_labels, num_classes, imb_ratio)
    rng = np.random.default_rng([seed, _LABELS])
    labeled = draw(targets, sizes, rng, f"num_labels {num_labels}", class_names)
    everything = np.arange(len(targets))
    return labeled, everything if include_lb_to_ulb else np.delete(everything, labeled)


def hold_out(
    targets: np.ndarray, num_val: int, num_classes: int, seed: int, keep: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Hold `num_val` images out, each class in proportion to its size.

    Args:
        targets: int (N,) in 0..num_classes-1, or -1 (never held out).
        num_val: how many images to hold out.
        num_classes: number of classes C.
        seed: not negative.
        keep: how many of each class stay in any case; the proportions are those of the others.

    Returns:
        Ascending positions of the images that stay (N - num_val,), and of those held out
        (num_val,).

    Raises:
        UserError: `num_val` is negative, or leaves nothing to train on.
    """
    sizes = np.array([max(np.sum(targets == label) - keep, 0) for label in range(num_classes)])
    if not 0 <= num_val < sizes.sum():
        of = f"labeled images beyond {keep} of each class" if keep else "training images"
        raise UserError(
            f"num_val must be at least 0 and less than the {sizes.sum()} {of}, not {num_val}"
        )
    # Largest remainders: whole shares first, then one more where most was cut off.
    quota, remainder = np.divmod(sizes * num_val, sizes.sum())
    quota[np.argsort(-remainder, kind="stable")[: num_val - quota.sum()]] += 1
    rng = np.random.default_rng([seed, _HOLD_OUT])
    held = [
        rng.permutation(np.flatnonzero(targets == label))[: quota[label]]
        for label in range(num_classes)
    ]
    validation = np.sort(np.concatenate(held))
    return np.delete(np.arange(len(targets)), validation), validation


def leave_out_fold(
    targets: np.ndarray,
    num_folds: int,
    fold: int,
    num_classes: int,
    seed: int,
    uneven: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """One round of a k-fold cross-validation on labeled images.

    Every fold has as many images of each class as any other, give or take one, and the same is
    true of the folds as a whole.

    Args:
        targets: int (N,) in 0..num_classes-1.
        num_folds: k, at least 2.
        fold: which of the folds is left out, in 0..num_folds-1.
        num_classes: number of classes C.
        seed: not negative.
        uneven: whether classes may have fewer images than there are folds: they are in some folds
            only, and an image that is the only one of its class is in none.

    Returns:
        Ascending positions of the images to train on, and of those of the fold.

    Raises:
        UserError: there are no such folds, or a class has fewer images than there are folds; if
            `uneven`, all together have.
    """
    if num_folds < 2:
        raise UserError(f"label_folds must be 0 (none) or at least 2, not {num_folds}")
    if not 0 <= fold < num_folds:
        raise UserError(
            f"label_fold must be 0 to {num_folds - 1}, as label_folds is {num_folds}; not {fold}"
        )
    rng = np.random.default_rng([seed, _FOLDS])
    members = [rng.permutation(np.flatnonzero(targets == label)) for label in range(num_classes)]
    if uneven:
        members = [m for m in members if len(m) > 1]
        if (dealt := sum(map(len, members))) < num_folds:
            raise UserError(
                f"label_folds {num_folds}: classes of 2 or more labels have {dealt} in all, which "
                "is fewer than there are folds; lower label_folds or label more images"
            )
    elif (fewest := min(map(len, members))) < num_folds:
        raise UserError(
            f"label_folds {num_folds}: a class has {fewest} labels, which is fewer than there are "
            "folds; lower label_folds or raise num_labels"
        )
    # Dealt out like cards, on from class to class.
    held = np.sort(np.concatenate(members)[fold::num_folds])
    return np.delete(np.arange(len(targets)), held), held
