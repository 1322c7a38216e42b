"""Supervised training with MixUp (Zhang et al.)."""

import torch.nn.functional as F
from semilearn.core import AlgorithmBase

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.mixup import mixup


class SupervisedMixup(AlgorithmBase):
    """MixUp (Zhang et al., ICLR 2018, arXiv:1710.09412): Table 1's "Supervised + MixUp".

    Cross-entropy on the labeled images, each mixed with another one of its batch. Unlabeled
    images are not looked at.

    Shapes: B = batch_size, C = num_classes.

    Differences: none known. As in the paper, one lambda a batch and one batch mixed with itself,
    and targets mixed rather than losses, which is the same for cross-entropy.

    Args:
        args: the host's arguments and ``mixup_alpha``, lambda ~ Beta(alpha, alpha); the paper has
            1.0 on CIFAR.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    ulb_views: dict[str, str] = {}

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.mixup_alpha = args.mixup_alpha
        self.partners = args.mixup_partners

    def train_step(self, x_lb, y_lb):
        """One iteration.

        Args:
            x_lb: labeled images, (B, 3, H, W).
            y_lb: their classes, (B,).

        Returns:
            The host's out_dict with "loss", and log_dict.
        """
        with self.amp_cm():
            y_lb = F.one_hot(y_lb, self.num_classes).to(x_lb.dtype)
            lb = mixup(x_lb, y_lb, self.mixup_alpha, self.partners)
            loss = sample_losses(self.model(lb.x), lb.y).mean()

        out_dict = self.process_out_dict(loss=loss)
        log_dict = self.process_log_dict(sup_loss=loss.detach())
        return out_dict, log_dict

    @staticmethod
    def get_argument():
        return arguments(config.SUPERVISED_MIXUP)
