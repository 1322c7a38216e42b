"""The ramp of the weight of an unsupervised loss that consistency methods share."""

import math


def sigmoid_ramp(algorithm, share: float) -> float:
    """exp(-5 (1 - t)^2) with t from 0 to 1 over the first ``share`` of training; then 1.

    Laine and Aila, arXiv:1610.02242; Mean Teacher and ICT use it, too.
    """
    length = share * algorithm.num_train_iter
    return math.exp(-5 * (1 - algorithm.it / length) ** 2) if algorithm.it < length else 1.0
