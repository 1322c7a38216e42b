"""MixMatch (Berthelot et al.) as its authors' code has it."""

import torch
import torch.nn.functional as F
from semilearn.algorithms.mixmatch.mixmatch import MixMatch
from torch import Tensor

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.consistency import student_logits
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.step_inputs import from_host


class OriginalMixMatch(MixMatch):
    """MixMatch (NeurIPS 2019, arXiv:1905.02249), Algorithm 1, with what semilearn's leaves out.

    The authors' code draws a lambda for each sample, and interleaves labeled and unlabeled images
    before the passes, so that each sub-batch of B, and the BatchNorm statistics of its pass, is of
    both. semilearn draws one lambda a batch and passes sub-batches of one kind. Published for 250
    labels of CIFAR-10: 11.1 (authors) and 13.6 % (TorchSSL) with, 37.3 % (USB) without.

    Shapes: B = batch_size, U = B * uratio, C = num_classes; uratio must be a whole number.

    Differences: the authors' weight of the unlabeled loss rises over a number of images,
    ``unsup_warm_up`` is a share of the training. Of the passes the first one alone moves the
    running statistics, as there.

    Args:
        args: those of semilearn's MixMatch, without ``mixup_manifold``.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    ulb_views = {"x_ulb_w": "weak", "x_ulb_s": "weak"}

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        args.mixup_manifold = False
        super().__init__(args, net_builder, tb_log, logger)

    def train_step(self, x_lb, y_lb, x_ulb_w, x_ulb_s):
        """One iteration.

        Args:
            x_lb: labeled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            x_ulb_w: weakly augmented unlabeled images, (U, 3, H, W).
            x_ulb_s: the same images, weakly augmented anew, (U, 3, H, W).

        Returns:
            The host's out_dict with "loss", and log_dict.
        """
        num_lb = len(x_lb)
        with self.amp_cm():
            guess = self.guessed_labels(x_ulb_w, x_ulb_s)
            x = torch.cat([x_lb, x_ulb_w, x_ulb_s])
            y = torch.cat([F.one_hot(y_lb, self.num_classes).to(guess.dtype), guess, guess])
            x, y = mixup_by_sample(x, y, self.mixup_alpha)
            order = from_host(lambda: interleaving(len(x), num_lb), x.device)
            batches = x[order].split(num_lb)
            logits = [self.model(batches[0])["logits"]]
            logits += [student_logits(self, batch) for batch in batches[1:]]
            logits = torch.cat(logits)[order]

            sup_loss = self.ce_loss(logits[:num_lb], y[:num_lb], reduction="mean")
            unsup_loss = self.consistency_loss(logits[num_lb:], y[num_lb:], "mse")
            ramp = from_host(self.linear_ramp, x.device, x.dtype)
            total_loss = sup_loss + self.lambda_u * ramp * unsup_loss

        out_dict = self.process_out_dict(loss=total_loss)
        log_dict = self.process_log_dict(
            sup_loss=sup_loss.detach(),
            unsup_loss=unsup_loss.detach(),
            total_loss=total_loss.detach(),
        )
        return out_dict, log_dict

    @torch.no_grad()
    def guessed_labels(self, *views: Tensor) -> Tensor:
        """Mean of the student's predictions on views (U, 3, H, W), sharpened: (U, C)."""
        probs = torch.stack([self.compute_prob(student_logits(self, x)) for x in views]).mean(0)
        sharp = probs ** (1 / self.T)
        return sharp / sharp.sum(dim=1, keepdim=True)

    def linear_ramp(self) -> float:
        return min(1.0, self.it / (self.unsup_warm_up * self.num_train_iter))

    @staticmethod
    def get_argument():
        return arguments(config.MIXMATCH_ORIGINAL)


def mixup_by_sample(x: Tensor, y: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """MixUp with a lambda ~ Beta(alpha, alpha) for each sample, of which the larger part is kept.

    Args:
        x: images, (N, ...).
        y: targets as probabilities, (N, C).
        alpha: of Beta(alpha, alpha).
    """
    beta = torch.distributions.Beta(alpha, alpha)
    lam = from_host(lambda: beta.sample((len(x),)), x.device, x.dtype)
    lam = torch.maximum(lam, 1 - lam)
    partner = from_host(lambda: torch.randperm(len(x)), x.device)
    weight = lam.view(-1, *[1] * (x.ndim - 1))
    return torch.lerp(x[partner], x, weight), torch.lerp(y[partner], y, lam[:, None].to(y.dtype))


def interleaving(length: int, size: int) -> Tensor:
    """(length,) permutation that spreads the first sub-batch of ``size`` over all; its own inverse.

    Of k sub-batches, the i-th swaps its i-th k-th with that of the first one.
    """
    order = torch.arange(length).view(-1, size)
    bounds = [size * i // len(order) for i in range(len(order) + 1)]
    for i in range(1, len(order)):
        part = slice(bounds[i], bounds[i + 1])
        order[0, part], order[i, part] = order[i, part].clone(), order[0, part].clone()
    return order.flatten()
