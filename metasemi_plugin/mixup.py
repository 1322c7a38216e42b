"""MixUp (Zhang et al. 2018) as Meta-Semi uses it: Eqs. 11-13."""

from typing import NamedTuple

import torch
from torch import Tensor

from metasemi_plugin.distributed import collectives
from metasemi_plugin.step_inputs import from_host


class Mixed(NamedTuple):
    """A mixed batch: x (N, ...), y (N, C), and lam (), the weight of the first of each pair.

    ``partner`` and ``own``, (N,), are the places of the second and of the first of each pair, with
    several processes in the batch of all `ranks`.
    """

    x: Tensor
    y: Tensor
    lam: Tensor
    partner: Tensor
    own: Tensor

    @property
    def dominant(self) -> Tensor:
        """(N,) place of the sample that makes up the larger part of each mixed sample."""
        return torch.where(self.lam >= 0.5, self.own, self.partner)


def mix(x: Tensor, y: Tensor, lam: Tensor | float, partner: Tensor) -> Mixed:
    """Eq. 11 for a whole batch: lam * (x, y) + (1 - lam) * (x, y)[partner].

    Args:
        x: inputs, (N, ...), floating point.
        y: targets as probabilities, (N, C).
        lam: in [0, 1], a number or ().
        partner: a permutation of range(N), (N,).
    """
    lam = torch.as_tensor(lam, dtype=x.dtype, device=x.device)
    own = torch.arange(len(x), device=x.device)
    return Mixed(_lerp(x[partner], x, lam), _lerp(y[partner], y, lam), lam, partner, own)


def mixup(
    x: Tensor, y: Tensor, beta: float, partners: str = "batch", parts: tuple[int, ...] = ()
) -> Mixed:
    """MixUp(X, Shuffle(X), lambda) with lambda ~ Beta(beta, beta): Eqs. 12 and 13.

    One lambda for the batch, as ICT (Verma et al. 2019) draws it; random numbers come from torch's
    global CPU generator, so that one state restores them, and are the same on every device.

    Args:
        x: inputs, (N, ...), floating point.
        y: targets as probabilities, (N, C).
        beta: of Beta(beta, beta).
        partners: with several processes, where partners come from: "batch" is the batch of all
            `ranks`, as if one process had it; "rank" is the own part of it.
        parts: lengths of what x is put together of, if of several, so that all `ranks` together
            have the order of one process.
    """
    lam = from_host(lambda: torch.distributions.Beta(beta, beta).sample(), x.device, x.dtype)
    parts = parts or (len(x),)
    own = collectives.places(*parts, device=x.device)
    if partners == "rank":
        mixed = mix(x, y, lam, from_host(lambda: torch.randperm(len(x)), x.device))
        return mixed._replace(partner=own[mixed.partner], own=own)
    whole = collectives.world_size() * len(x)
    partner = from_host(lambda: torch.randperm(whole), x.device)[own]
    others_x, others_y = (collectives.all_gather(t, *parts)[partner] for t in (x, y))
    return Mixed(_lerp(others_x, x, lam), _lerp(others_y, y, lam), lam, partner, own)


def unmixed(x: Tensor, y: Tensor, parts: tuple[int, ...] = ()) -> Mixed:
    """The batch as it is, for the ablations of Table 6: lambda 1, each sample its own partner."""
    own = collectives.places(*(parts or (len(x),)), device=x.device)
    return Mixed(x, y, torch.ones((), dtype=x.dtype, device=x.device), own, own)


def _lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    return torch.lerp(start, end, weight.to(start.dtype))
