"""The ramp of the weight of an unsupervised loss that consistency methods share."""

import math

from torch import Tensor

from metasemi_plugin.step_inputs import from_host


def sigmoid_ramp(algorithm, share: float) -> Tensor:
    """exp(-5 (1 - t)^2) with t from 0 to 1 over the first ``share`` of training; then 1. Shape ().

    Laine and Aila, arXiv:1610.02242; Mean Teacher and ICT use it, too.
    """
    like = next(algorithm.model.parameters())
    return from_host(lambda: ramp_at(algorithm, share), like.device, like.dtype)


def ramp_at(algorithm, share: float) -> float:
    """`sigmoid_ramp` as a number of the host."""
    length = share * algorithm.num_train_iter
    return math.exp(-5 * (1 - algorithm.it / length) ** 2) if algorithm.it < length else 1.0
