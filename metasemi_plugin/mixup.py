"""MixUp (Zhang et al. 2018) as Meta-Semi uses it: Eqs. 11-13."""

from typing import NamedTuple

import torch
from torch import Tensor

from metasemi_plugin.distributed import collectives


class Mixed(NamedTuple):
    """A mixed batch: x (N, ...), y (N, C), and lam, the weight of the first of each pair.

    ``partner`` and ``own``, (N,), are the places of the second and of the first of each pair, with
    several processes in the batch of all `ranks`.
    """

    x: Tensor
    y: Tensor
    lam: float
    partner: Tensor
    own: Tensor

    @property
    def dominant(self) -> Tensor:
        """(N,) place of the sample that makes up the larger part of each mixed sample."""
        return self.own if self.lam >= 0.5 else self.partner


def mix(x: Tensor, y: Tensor, lam: float, partner: Tensor) -> Mixed:
    """Eq. 11 for a whole batch: lam * (x, y) + (1 - lam) * (x, y)[partner].

    Args:
        x: inputs, (N, ...), floating point.
        y: targets as probabilities, (N, C).
        lam: in [0, 1].
        partner: a permutation of range(N), (N,).
    """
    own = torch.arange(len(x), device=x.device)
    return Mixed(torch.lerp(x[partner], x, lam), torch.lerp(y[partner], y, lam), lam, partner, own)


def mixup(
    x: Tensor, y: Tensor, beta: float, partners: str = "batch", parts: tuple[int, ...] = ()
) -> Mixed:
    """MixUp(X, Shuffle(X), lambda) with lambda ~ Beta(beta, beta): Eqs. 12 and 13.

    One lambda for the batch, as ICT (Verma et al. 2019) draws it; random numbers come from torch's
    global CPU generator, so that one state restores them.

    Args:
        x: inputs, (N, ...), floating point.
        y: targets as probabilities, (N, C).
        beta: of Beta(beta, beta).
        partners: with several processes, where partners come from: "batch" is the batch of all
            `ranks`, as if one process had it; "rank" is the own part of it.
        parts: lengths of what x is put together of, if of several, so that all `ranks` together
            have the order of one process.
    """
    lam = torch.distributions.Beta(beta, beta).sample().item()
    parts = parts or (len(x),)
    own = collectives.places(*parts).to(x.device)
    if partners == "rank":
        mixed = mix(x, y, lam, torch.randperm(len(x)).to(x.device))
        return mixed._replace(partner=own[mixed.partner], own=own)
    partner = torch.randperm(collectives.world_size() * len(x)).to(x.device)[own]
    others_x, others_y = (collectives.all_gather(t, *parts)[partner] for t in (x, y))
    return Mixed(torch.lerp(others_x, x, lam), torch.lerp(others_y, y, lam), lam, partner, own)


def unmixed(x: Tensor, y: Tensor, parts: tuple[int, ...] = ()) -> Mixed:
    """The batch as it is, for the ablations of Table 6: lambda 1, each sample its own partner."""
    own = collectives.places(*(parts or (len(x),))).to(x.device)
    return Mixed(x, y, 1.0, own, own)
