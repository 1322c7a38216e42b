"""MixUp (Zhang et al. 2018) as Meta-Semi uses it: Eqs. 11-13."""

from typing import NamedTuple

import torch
from torch import Tensor


class Mixed(NamedTuple):
    """A mixed batch: x (N, ...), y (N, C), weight of the first of each pair, its partner (N,)."""

    x: Tensor
    y: Tensor
    lam: float
    partner: Tensor

    @property
    def dominant(self) -> Tensor:
        """(N,) index of the sample that makes up the larger part of each mixed sample."""
        own = torch.arange(len(self.partner), device=self.partner.device)
        return own if self.lam >= 0.5 else self.partner


def mix(x: Tensor, y: Tensor, lam: float, partner: Tensor) -> Mixed:
    """Eq. 11 for a whole batch: lam * (x, y) + (1 - lam) * (x, y)[partner].

    Args:
        x: inputs, (N, ...), floating point.
        y: targets as probabilities, (N, C).
        lam: in [0, 1].
        partner: a permutation of range(N), (N,).
    """
    return Mixed(torch.lerp(x[partner], x, lam), torch.lerp(y[partner], y, lam), lam, partner)


def mixup(x: Tensor, y: Tensor, beta: float) -> Mixed:
    """MixUp(X, Shuffle(X), lambda) with lambda ~ Beta(beta, beta): Eqs. 12 and 13.

    One lambda for the batch, as ICT (Verma et al. 2019) draws it; random numbers come from torch's
    global CPU generator, so that one state restores them.
    """
    lam = torch.distributions.Beta(beta, beta).sample().item()
    partner = torch.randperm(len(x)).to(x.device)
    return mix(x, y, lam, partner)


def unmixed(x: Tensor, y: Tensor) -> Mixed:
    """The batch as it is, for the ablations of Table 6: lambda 1, each sample its own partner."""
    return Mixed(x, y, 1.0, torch.arange(len(x), device=x.device))
