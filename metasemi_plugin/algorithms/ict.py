"""Interpolation Consistency Training (Verma et al.)."""

import torch.nn.functional as F
from semilearn.core import AlgorithmBase

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.consistency import ONE_WEAK, Ict, ema_logits
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.mixup import mixup
from metasemi_plugin.ramp import sigmoid_ramp


class ICT(AlgorithmBase):
    """Interpolation Consistency Training (Verma et al., IJCAI 2019, arXiv:1903.03825).

    loss = CE(labeled images, mixed) + w(t) * MSE(student on mixed unlabeled images, the same mix
    of the EMA teacher's predictions), with w(t) = ulb_loss_ratio * exp(-5 (1 - t)^2) over the first
    quarter of training. The authors: ulb_loss_ratio 100, alpha 1 on CIFAR-10 and 0.1 on SVHN.

    Shapes: B = batch_size, U = B * uratio (the authors: uratio 1).

    Differences: labeled images are mixed too, as in the authors' implementation; ``ict_mix``
    chooses between the paper's mix of probabilities and that implementation's mix of logits;
    BatchNorm's running statistics move by the labeled pass alone, as in the host's algorithms,
    where the authors' move by both; the ramp counts iterations, not epochs.

    Args:
        args: the host's arguments, of which ``ulb_loss_ratio`` is the weight, and those of
            :meth:`get_argument`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    ulb_views = ONE_WEAK
    clean_teacher = True

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.unsup_warm_up = args.unsup_warm_up
        self.consistency = Ict.from_args(args)

    def train_step(self, x_lb, y_lb, x_ulb_w):
        """One iteration.

        Args:
            x_lb: labeled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            x_ulb_w: weakly augmented unlabeled images, (U, 3, H, W).

        Returns:
            The host's out_dict with "loss", and log_dict.
        """
        with self.amp_cm():
            y_lb = F.one_hot(y_lb, self.num_classes).to(x_lb.dtype)
            lb = mixup(x_lb, y_lb, self.consistency.alpha, self.consistency.partners)
            sup_loss = sample_losses(self.model(lb.x), lb.y).mean()
            unsup_loss = self.consistency(self, ema_logits(self, x_ulb_w), x_ulb_w)
            weight = self.lambda_u * sigmoid_ramp(self, self.unsup_warm_up)
            total_loss = sup_loss + weight * unsup_loss

        out_dict = self.process_out_dict(loss=total_loss)
        log_dict = self.process_log_dict(
            sup_loss=sup_loss.detach(),
            unsup_loss=unsup_loss.detach(),
            unsup_weight=weight,
            total_loss=total_loss.detach(),
        )
        return out_dict, log_dict

    @staticmethod
    def get_argument():
        return arguments(config.ICT)
