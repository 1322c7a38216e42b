"""Temporal Ensembling for Semi-Supervised Learning (Laine and Aila)."""

import torch
from semilearn.core import AlgorithmBase
from torch import Tensor

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.consistency import student_logits
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.distributed import collectives
from metasemi_plugin.errors import UserError
from metasemi_plugin.ramp import sigmoid_ramp


class TemporalEnsembling(AlgorithmBase):
    """Temporal Ensembling (Laine and Aila, ICLR 2017, arXiv:1610.02242), Algorithm 2.

    The target of an image is the running average of the net's own predictions for it:
    Z <- alpha Z + (1 - alpha) z, corrected for its start at zero as z~ = Z / (1 - alpha^t).

    Shapes: B = batch_size, U = B * uratio, C = num_classes, N unlabeled images.

    Differences: the paper updates all of Z after each epoch. The stream of unlabeled images shows
    each of them once a pass, so Z_i is updated at each visit of image i, with the prediction made
    there, and t counts the visits of that image (twice in one batch is one visit, with the mean
    prediction). A first visit has no target and weighs 0. The paper draws labeled and unlabeled
    images into one batch and divides both losses by its size; here the cross-entropy is a mean over
    the labeled batch alone, which is already the paper's divided by n_labeled / N. So the paper's
    balance is ``te_weight_by_labels`` false; true is its formula for the weight as it stands. Only
    the labeled pass moves BatchNorm's running statistics, as in the host's Pi-Model.

    Args:
        args: the host's arguments (``ulb_loss_ratio`` is w_max) and those of `get_argument`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.

    Raises:
        UserError: te_alpha is not in [0, 1).
    """

    ulb_views = {"x_ulb_w": "weak"}

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        if not 0 <= args.te_alpha < 1:
            raise UserError(f"te_alpha: must be in [0, 1), not {args.te_alpha}")
        super().__init__(args, net_builder, tb_log, logger)
        self.init(args.te_alpha, args.te_weight_by_labels, args.unsup_warm_up)
        self.ensemble = torch.zeros(args.ulb_dest_len, self.num_classes)  # Z, (N, C)
        self.visits = torch.zeros(args.ulb_dest_len, dtype=torch.long)  # t, (N,)

    def init(self, te_alpha=0.6, te_weight_by_labels=True, unsup_warm_up=80 / 300):
        self.alpha = te_alpha
        self.weight_by_labels = te_weight_by_labels
        self.unsup_warm_up = unsup_warm_up

    def train_step(self, x_lb, y_lb, idx_ulb, x_ulb_w):
        """One iteration of Algorithm 2.

        Args:
            x_lb: labeled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            idx_ulb: places of the unlabeled images in their set, (U,).
            x_ulb_w: weakly augmented unlabeled images, (U, 3, H, W).

        Returns:
            The host's out_dict with "loss" and log_dict.
        """
        with self.amp_cm():
            logits_x_lb = self.model(x_lb)["logits"]
            logits_x_ulb = student_logits(self, x_ulb_w)
            target, has_target = self.target(idx_ulb.to(x_ulb_w.device))
            sup_loss = self.ce_loss(logits_x_lb, y_lb, reduction="mean")
            unsup_loss = self.consistency_loss(logits_x_ulb, target, "mse", mask=has_target)
            total_loss = sup_loss + self.unsup_weight() * unsup_loss
        self.remember(idx_ulb, self.compute_prob(logits_x_ulb.detach()))

        out_dict = self.process_out_dict(loss=total_loss)
        log_dict = self.process_log_dict(
            sup_loss=sup_loss.detach(),
            unsup_loss=unsup_loss.detach(),
            total_loss=total_loss.detach(),
            has_target=has_target.mean(),
        )
        return out_dict, log_dict

    @torch.no_grad()
    def target(self, idx_ulb: Tensor) -> tuple[Tensor, Tensor]:
        """z~ = Z / (1 - alpha^t) of images (U,), as (U, C), and 1 where there is one yet, (U,)."""
        self.ensemble = self.ensemble.to(idx_ulb.device)
        self.visits = self.visits.to(idx_ulb.device)
        t = self.visits[idx_ulb].to(self.ensemble.dtype)
        correction = 1 - self.alpha ** t.clamp(min=1)
        return self.ensemble[idx_ulb] / correction[:, None], (t > 0).to(t.dtype)

    @torch.no_grad()
    def remember(self, idx_ulb: Tensor, probs: Tensor) -> None:
        """Z <- alpha Z + (1 - alpha) z for the images (U,) of this batch, with z = probs (U, C).

        Those of all processes, so that each has the same ensemble.
        """
        idx_ulb, probs = collectives.all_gather(idx_ulb), collectives.all_gather(probs)
        # An image that is twice in the batch has the mean prediction, in both its places.
        same = (idx_ulb[:, None] == idx_ulb)[:, :, None].to(self.ensemble.dtype)
        z = (same * probs).sum(1) / same.sum(1)
        self.ensemble[idx_ulb] = self.alpha * self.ensemble[idx_ulb] + (1 - self.alpha) * z
        self.visits[idx_ulb] = self.visits[idx_ulb] + 1

    def unsup_weight(self) -> Tensor:
        """w(t): the maximum, times n_labeled / N if asked for, ramped up."""
        share = 1.0
        if self.weight_by_labels:
            labeled, images = self.args.lb_dest_len, self.args.ulb_dest_len
            share = labeled / (images if self.args.include_lb_to_ulb else images + labeled)
        return self.lambda_u * share * sigmoid_ramp(self, self.unsup_warm_up)

    def get_save_dict(self):
        saved = super().get_save_dict()
        saved["ensemble"], saved["visits"] = self.ensemble.cpu(), self.visits.cpu()
        return saved

    def load_model(self, load_path):
        checkpoint = super().load_model(load_path)
        self.ensemble, self.visits = checkpoint["ensemble"], checkpoint["visits"]
        return checkpoint

    @staticmethod
    def get_argument():
        return arguments(config.TEMPORAL_ENSEMBLING)
