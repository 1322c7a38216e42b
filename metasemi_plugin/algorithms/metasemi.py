"""Meta-Semi: A Meta-learning Approach for Semi-supervised Learning (Wang et al.)."""

import torch
import torch.nn.functional as F
from semilearn.core import AlgorithmBase
from torch import Tensor

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.consistency import ONE_WEAK, ema_logits
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.meta_gradient import (
    keep_mask,
    meta_gradient_and_losses,
    weighted_loss,
)
from metasemi_plugin.mixup import Mixed, mixup


class MetaSemi(AlgorithmBase):
    """Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011), Algorithm 1 with Eqs. 1, 9 and 11-13.

    An EMA teacher gives soft pseudo labels; MixUp mixes labeled and unlabeled images; a mixed
    sample is trained on if its gradient does not oppose the gradient of the labeled loss. There is
    no supervised loss term: labels act through the meta-gradient and as targets within MixUp.

    Shapes: B = batch_size, U = B * uratio (the paper: uratio 3), C = num_classes.

    Differences: where the paper is silent, the teacher runs BatchNorm on its batch and has running
    statistics of its own, as in Mean Teacher's and ICT's code; a meta-gradient of exactly 0 keeps
    the sample (Eq. 9; line 11 of Algorithm 1 would drop it); one lambda a batch (Eqs. 12, 13).

    Registered is `variants.AnyWeights`: this, Eq. 14, the ablations of Table 6 and diagnostics.

    Args:
        args: the host's arguments and ``mixup_beta``, beta of Beta(beta, beta), the method's one
            hyper-parameter; the paper chooses it in [0.2, 1] on validation data.
            ``meta_gradient``, how Eq. 8 is computed, changes the cost only.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    ulb_views = ONE_WEAK
    clean_teacher = True

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.mixup_beta = args.mixup_beta
        self.partners = args.mixup_partners
        self.meta_gradient = args.meta_gradient

    def train_step(self, x_lb, y_lb, x_ulb_w):
        """One iteration of Algorithm 1.

        Args:
            x_lb: labeled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            x_ulb_w: weakly augmented unlabeled images, (U, 3, H, W).

        Returns:
            The host's out_dict with "loss" (Eq. 1), and log_dict. For variants and diagnostics
            out_dict has "teacher", its logits, and "y_ulb", the pseudo labels, (U, C) both; "lb"
            (X~) and "ulb" (U~); "meta_gradient" (Eq. 8) and "weights", (B + U,) both.
        """
        with self.amp_cm():
            teacher = self.teacher_logits(x_ulb_w)
            y_lb = F.one_hot(y_lb, self.num_classes).to(x_lb.dtype)
            y_ulb = self.pseudo_labels(teacher)
            lb = self.mixed_labeled(x_lb, y_lb)  # Eq. 12
            ulb = self.mixed_all(x_lb, y_lb, x_ulb_w, y_ulb)  # Eq. 13
            gradient, losses = self.judged(lb, ulb)  # lines 5-10
            weights = self.weigh(gradient)  # line 11
            loss = weighted_loss(losses, weights)  # line 12, Eq. 1

        seen = {"teacher": teacher, "y_ulb": y_ulb, "lb": lb, "ulb": ulb}
        out_dict = self.process_out_dict(loss=loss, meta_gradient=gradient, weights=weights, **seen)
        confidence = self.compute_prob(teacher).max(dim=1).values.mean()
        log_dict = self.process_log_dict(loss=loss.detach(), teacher_confidence=confidence)
        return out_dict, log_dict

    def teacher_logits(self, x_ulb_w: Tensor) -> Tensor:
        """The teacher on (U, 3, H, W), as (U, C): the EMA of the parameters (Sec. 3.3)."""
        return ema_logits(self, x_ulb_w)

    def pseudo_labels(self, teacher: Tensor) -> Tensor:
        """Soft pseudo labels (Sec. 3.3), (U, C): the softmax of the teacher's logits, (U, C)."""
        return self.compute_prob(teacher)

    def mixed_labeled(self, x_lb: Tensor, y_lb: Tensor) -> Mixed:
        """X~, Eq. 12."""
        return mixup(x_lb, y_lb, self.mixup_beta, self.partners)

    def mixed_all(self, x_lb: Tensor, y_lb: Tensor, x_ulb: Tensor, y_ulb: Tensor) -> Mixed:
        """U~, Eq. 13: of labeled and unlabeled images."""
        x, y = torch.cat([x_lb, x_ulb]), torch.cat([y_lb, y_ulb])
        return mixup(x, y, self.mixup_beta, self.partners, parts=(len(x_lb), len(x_ulb)))

    def judged(self, lb: Mixed, ulb: Mixed) -> tuple[Tensor, Tensor]:
        """Of each sample of U~ the meta-gradient, Eq. 8, and the loss to train on, (B + U,)."""
        return meta_gradient_and_losses(
            self.model, lb.x, lb.y, ulb.x, ulb.y, method=self.meta_gradient
        )

    def weigh(self, gradient: Tensor) -> Tensor:
        """The weights of the samples, Eq. 9, from their meta-gradient; (B + U,) both."""
        return keep_mask(gradient)

    @staticmethod
    def get_argument():
        return arguments(config.META_SEMI)
