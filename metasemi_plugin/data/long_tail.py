"""Sets of which some classes have more images than others, as in USB."""

from collections.abc import Sequence

import numpy as np

from metasemi_plugin.errors import UserError


def class_sizes(number: int, num_classes: int, ratio: int) -> list[int]:
    """How many images of each class a set has.

    Args:
        number: with ratio 1, of all classes together, a multiple of them; else of the largest.
        num_classes: number of classes C.
        ratio: of the largest class to the smallest, 1 or more. Each class is smaller than the one
            before by the same factor; with a negative ratio, larger.
    """
    if ratio == 1:
        return [number // num_classes] * num_classes
    factor = np.power(1 / abs(ratio), 1 / max(1, num_classes - 1))
    # The last by itself: rounding must not cost it an image.
    sizes = [int(number * np.power(factor, c)) for c in range(num_classes - 1)]
    sizes.append(int(number / abs(ratio)))
    return sizes if ratio > 0 else sizes[::-1]


def draw(
    targets: np.ndarray,
    sizes: Sequence[int],
    rng: np.random.Generator,
    what: str,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Ascending positions of so many images of each class.

    Args:
        targets: int (N,), the classes of the images to draw from; negative: never drawn.
        sizes: of each class.
        rng: draws; a smaller size is part of a larger one.
        what: option and value that ask for them, for the message.
        class_names: names for the message; numbers if there are none.

    Raises:
        UserError: a class has fewer images.
    """
    chosen = []
    for label, size in enumerate(sizes):
        members = np.flatnonzero(targets == label)
        if len(members) < size:
            name = repr(class_names[label]) if class_names else label
            option, _, _ = what.partition(" ")
            raise UserError(
                f"class {name} has {len(members)} training images, but {what} asks for {size} of "
                f"it: lower {option}"
            )
        chosen.append(rng.permutation(members)[:size])
    return np.sort(np.concatenate(chosen))
