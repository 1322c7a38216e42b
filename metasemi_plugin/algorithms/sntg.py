"""Smooth Neighbors on Teacher Graphs for Semi-supervised Learning (Luo et al.)."""

import torch
from semilearn.core import AlgorithmBase
from torch import Tensor

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.consistency import ema_logits, student_logits
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.distributed import collectives
from metasemi_plugin.ramp import sigmoid_ramp


class SNTG(AlgorithmBase):
    """SNTG (Luo et al., CVPR 2018, arXiv:1711.00258), Algorithm 1, on Pi-Model or Mean Teacher.

    The teacher's classes make a graph of the batch, W_ij = 1 if i and j are of one class; features
    of neighbors are drawn together, those of others are pushed apart up to a margin (Eqs. 5-8).
    The teacher is the net itself on another view (Pi-Model) or its EMA (Mean Teacher).

    Shapes: B = batch_size, U = B * uratio, C = num_classes, D features.

    Differences: as in the authors' implementation, a distance is the root of the *mean* squared
    difference over the D features (to which their margin of 1 belongs), the pairs are the two
    halves of the batch, and labeled images enter the graph with their true class. Their batch
    mixes labeled and unlabeled images at random; here the labeled ones come first, so that each
    is paired with an unlabeled one if uratio >= 1. Their weight is multiplied by n_labeled / N
    because their cross-entropy is a mean over the mixed batch; here it is one over the labeled
    batch, which gives the same balance without. The target of the Pi-Model has no gradient, and
    only the labeled pass moves BatchNorm's running statistics, as in the host's Pi-Model and Mean
    Teacher; the ramp is the paper's sigmoid, the host's is linear. With several processes the graph
    is that of all their samples.

    Args:
        args: the host's arguments (``ulb_loss_ratio`` is the weight of the consistency loss) and
            those of `get_argument`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    ulb_views = {"x_ulb_w": "weak", "x_ulb_s": "weak"}

    @staticmethod
    def clean_teacher(args) -> bool:
        return args.sntg_base == "meanteacher"

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.init(args.sntg_base, args.sntg_loss_ratio, args.sntg_margin, args.unsup_warm_up)

    def init(
        self, sntg_base="pimodel", sntg_loss_ratio=0.4, sntg_margin=1.0, unsup_warm_up=80 / 300
    ):
        self.base = sntg_base
        self.lambda_sntg = sntg_loss_ratio
        self.margin = sntg_margin
        self.unsup_warm_up = unsup_warm_up

    def train_step(self, x_lb, y_lb, x_ulb_w, x_ulb_s):
        """One iteration of Algorithm 1.

        Args:
            x_lb: labeled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            x_ulb_w: weakly augmented unlabeled images for the teacher, (U, 3, H, W).
            x_ulb_s: the same images, weakly augmented anew, for the student, (U, 3, H, W).

        Returns:
            The host's out_dict with "loss" and log_dict.
        """
        with self.amp_cm():
            lb = self.model(x_lb)
            target = self.teacher(x_ulb_w)
            self.bn_controller.freeze_bn(self.model)
            ulb = self.model(x_ulb_s)
            self.bn_controller.unfreeze_bn(self.model)

            sup_loss = self.ce_loss(lb["logits"], y_lb, reduction="mean")
            unsup_loss = self.consistency_loss(ulb["logits"], target, "mse")
            features = torch.cat([lb["feat"], ulb["feat"]]).to(x_lb.dtype)
            classes = torch.cat([y_lb, target.argmax(dim=1)])
            lengths = len(x_lb), len(x_ulb_w)
            sntg_loss = neighbor_loss(
                collectives.all_gather(features, *lengths),
                collectives.all_gather(classes, *lengths),
                self.margin,
            )

            weight = self.lambda_u * sigmoid_ramp(self, self.unsup_warm_up)
            total_loss = sup_loss + weight * (unsup_loss + self.lambda_sntg * sntg_loss)

        out_dict = self.process_out_dict(loss=total_loss)
        log_dict = self.process_log_dict(
            sup_loss=sup_loss.detach(),
            unsup_loss=unsup_loss.detach(),
            sntg_loss=sntg_loss.detach(),
            total_loss=total_loss.detach(),
        )
        return out_dict, log_dict

    @torch.no_grad()
    def teacher(self, x_ulb_w: Tensor) -> Tensor:
        """The teacher's softmax on (U, 3, H, W), as (U, C)."""
        logits = ema_logits if self.base == "meanteacher" else student_logits
        return self.compute_prob(logits(self, x_ulb_w))

    @staticmethod
    def get_argument():
        return arguments(config.SNTG)


def neighbor_loss(features: Tensor, classes: Tensor, margin: float) -> Tensor:
    """Mean over pairs of d^2 for neighbors (W = 1), max(0, margin - d)^2 for others (Eq. 8).

    Args:
        features: (M, D); sample i < M // 2 is paired with sample i + M // 2.
        classes: (M,); neighbors are of one class (Eq. 5).
        margin: m.
    """
    half = len(features) // 2
    pairs = slice(0, half), slice(half, 2 * half)
    a, b = (features[part] for part in pairs)
    square = (a - b).pow(2).mean(dim=1)
    # At d = 0 the direction to push in is undefined: the clamp makes the gradient 0 there, not nan.
    distance = square.clamp(min=1e-12).sqrt()
    neighbors = classes[pairs[0]] == classes[pairs[1]]
    return torch.where(neighbors, square, (margin - distance).clamp(min=0).pow(2)).mean()
