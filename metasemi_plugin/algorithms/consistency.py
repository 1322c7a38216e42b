"""Consistency terms on unlabeled images, to be added to a loss as in Eq. 14 of Meta-Semi.

Shapes: U unlabeled images a batch, C classes. A term is called with the algorithm, the teacher's
logits on x_ulb_w (U, C), and the views x_ulb_w and x_ulb_s (U, 3, H, W) as far as it asks for them
in ``views``; it returns a scalar. Every pass here runs BatchNorm on its own batch and leaves the
student's running statistics alone, as in the host's algorithms; the teacher's move its own.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from semilearn.core import AlgorithmBase
from torch import Tensor

from metasemi_plugin.distributed import collectives
from metasemi_plugin.mixup import mixup
from metasemi_plugin.step_inputs import from_host

ONE_WEAK = {"x_ulb_w": "weak"}
TWO_WEAK = {"x_ulb_w": "weak", "x_ulb_s": "weak"}


def student_logits(algorithm: AlgorithmBase, x: Tensor) -> Tensor:
    """(N, C), of the parameters that are trained, on images (N, 3, H, W)."""
    algorithm.bn_controller.freeze_bn(algorithm.model)
    logits = algorithm.model(x)["logits"].to(x.dtype)
    algorithm.bn_controller.unfreeze_bn(algorithm.model)
    return logits


@torch.no_grad()
def ema_logits(algorithm: AlgorithmBase, x: Tensor) -> Tensor:
    """(N, C), of the EMA parameters, without a graph, on images (N, 3, H, W)."""
    algorithm.ema.apply_shadow()
    logits = student_logits(algorithm, x)
    algorithm.ema.restore()
    return logits


class NoConsistency:
    """Eq. 14 without its second term. The base of the others."""

    views: ClassVar[dict[str, str]] = ONE_WEAK
    default_weight: ClassVar[float] = 0.0

    @classmethod
    def from_args(cls, args) -> "NoConsistency":
        return cls()

    def __call__(
        self, algorithm: AlgorithmBase, teacher: Tensor, x_ulb_w: Tensor, x_ulb_s: Tensor | None
    ) -> Tensor:
        return teacher.new_zeros(())


@dataclass
class Ict(NoConsistency):
    """Interpolation consistency (Verma et al., arXiv:1903.03825), its second term.

    The student's softmax on mixed images shall be the same mix of the teacher's predictions on the
    images: squared error, averaged over the batch and the classes.

    Args:
        alpha: lambda ~ Beta(alpha, alpha), one draw a batch.
        mix: what is mixed of the teacher: "probs" as in the paper; "logits" before the softmax,
            as in its authors' implementation.
        partners: see `mixup`.
    """

    alpha: float
    mix: str
    partners: str

    default_weight = 100.0

    @classmethod
    def from_args(cls, args) -> "Ict":
        return cls(args.ict_alpha, args.ict_mix, args.mixup_partners)

    def __call__(self, algorithm, teacher, x_ulb_w, x_ulb_s=None):
        if self.mix == "probs":
            mixed = mixup(x_ulb_w, teacher.softmax(1), self.alpha, self.partners)
            target = mixed.y
        else:
            mixed = mixup(x_ulb_w, teacher, self.alpha, self.partners)
            target = mixed.y.softmax(1)
        return F.mse_loss(student_logits(algorithm, mixed.x).softmax(1), target)


class MeanTeacher(NoConsistency):
    """The student's softmax on x_ulb_s against the teacher's on x_ulb_w, squared error.

    Tarvainen and Valpola, arXiv:1703.01780.
    """

    views = TWO_WEAK
    default_weight = 50.0

    def __call__(self, algorithm, teacher, x_ulb_w, x_ulb_s):
        return F.mse_loss(student_logits(algorithm, x_ulb_s).softmax(1), teacher.softmax(1))


class PiModel(NoConsistency):
    """The student's softmax on x_ulb_s against its own on x_ulb_w, held fixed, squared error.

    Laine and Aila, arXiv:1610.02242.
    """

    views = TWO_WEAK
    default_weight = 10.0

    def __call__(self, algorithm, teacher, x_ulb_w, x_ulb_s):
        with torch.no_grad():
            target = student_logits(algorithm, x_ulb_w).softmax(1)
        return F.mse_loss(student_logits(algorithm, x_ulb_s).softmax(1), target)


@dataclass
class Vat(NoConsistency):
    """KL(p(x) || p(x + r)) for the perturbation r that raises it most.

    Miyato et al., arXiv:1704.03976. r has length eps and the direction of one power iteration from
    noise d: that of the gradient of KL(p(x) || p(x + xi d)) with respect to d, image by image.

    Differences from the host's VAT: xi = 0.01, with which single precision finds the exact
    direction (cosine above 0.99, CNN-13 and WRN-28-2), where the host, as VAT's and MixMatch's
    authors, has 1e-6 (cosine 0.1 to 0.3, and yet a perturbation that raises the KL as much, see
    docs/method/fidelity.md); single precision whatever amp says; no entropy term.

    Args:
        eps: length of r.
    """

    eps: float

    default_weight = 0.3
    XI: ClassVar = 0.01

    @classmethod
    def from_args(cls, args) -> "Vat":
        return cls(args.vat_eps)

    def __call__(self, algorithm, teacher, x_ulb_w, x_ulb_s=None):
        with torch.autocast(x_ulb_w.device.type, enabled=False):
            with torch.no_grad():
                log_p = student_logits(algorithm, x_ulb_w).log_softmax(1)
            # Of all processes' images, as they draw the same numbers.
            shape = collectives.world_size() * len(x_ulb_w), *x_ulb_w.shape[1:]
            own, dtype = collectives.own(shape[0]), x_ulb_w.dtype
            noise = from_host(lambda: torch.randn(shape, dtype=dtype)[own], x_ulb_w.device)
            d = self.XI * unit(noise)
            d.requires_grad_()
            (gradient,) = torch.autograd.grad(self.kl(algorithm, log_p, x_ulb_w + d).sum(), d)
            return self.kl(algorithm, log_p, x_ulb_w + self.eps * unit(gradient)).mean()

    @staticmethod
    def kl(algorithm: AlgorithmBase, log_p: Tensor, x: Tensor) -> Tensor:
        log_q = student_logits(algorithm, x).log_softmax(1)
        return (log_p.exp() * (log_p - log_q)).sum(1)


def unit(d: Tensor) -> Tensor:
    """Each image's direction, (N, ...), at length 1; 0 stays 0."""
    rows = d.flatten(1)
    # The gradient of a confident net is so small that its squares would underflow.
    largest = rows.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(d.dtype).tiny)
    return F.normalize(rows / largest, dim=1).view_as(d)


TERMS: dict[str, type[NoConsistency]] = {
    "none": NoConsistency,
    "ict": Ict,
    "meanteacher": MeanTeacher,
    "pimodel": PiModel,
    "vat": Vat,
}
