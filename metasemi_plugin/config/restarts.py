"""Where the schedule of the learning rate begins anew: the option ``lr_restarts``."""

import argparse
from itertools import pairwise


def restarts(text: str) -> list[int]:
    """The iterations of e.g. "6000,12000".

    Raises:
        ValueError: it is no such list, or they do not rise.
    """
    found = [int(word) for word in text.split(",") if text]
    if any(later <= earlier for earlier, later in pairwise([0, *found])):
        raise ValueError(text)
    return found


def parts(args: argparse.Namespace) -> list[tuple[int, int]]:
    """(begin, end) in iterations of each part of a training, which has a schedule of its own."""
    bounds = [0, *restarts(args.lr_restarts), args.num_train_iter]
    return list(pairwise(bounds))


def first_part(args: argparse.Namespace) -> int:
    """Iterations of the first part: what options that are a share of the training are a share of.

    So a ramp that is over stays over when a training is extended.
    """
    return parts(args)[0][1]
