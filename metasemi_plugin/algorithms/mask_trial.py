"""What Meta-Semi's mask is worth: trials that its paper does not have."""

import torch
import torch.nn.functional as F

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.variants import AnyWeights
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.step_inputs import from_host


class MaskTrial(AnyWeights):
    """Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011) with another judge, or a later mask.

    Eq. 9 asks whether a sample's gradient opposes that of X~, whose B images stand for all labeled
    ones. ``mask_labels`` images in their place see more of them, in the same iteration and so with
    the same weights; those that are trained on stay B. Before ``mask_start`` all samples are kept.

    Args:
        args: those of Meta-Semi and of `get_argument`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.mask_labels = args.mask_labels
        self.mask_start = args.mask_start

    def mixed_labeled(self, x_lb, y_lb):
        if self.mask_labels is not None:
            x_lb = self.laid_out(from_host(self.judging_images, x_lb.device, x_lb.dtype))
            classes = from_host(lambda: self.judging["y_lb"], x_lb.device)
            y_lb = F.one_hot(classes, self.num_classes).to(y_lb.dtype)
        return super().mixed_labeled(x_lb, y_lb)

    def judging_images(self):
        """Labeled images that this iteration judges by, (mask_labels, 3, H, W)."""
        self.judging = self.read_spare("train_lb", self.mask_labels, self.it, beside=3)
        return self.judging["x_lb"]

    def weigh(self, gradient):
        start = self.mask_start * self.num_train_iter
        started = from_host(lambda: self.it >= start, gradient.device)
        weights = super().weigh(gradient)
        return torch.where(started, weights, torch.ones_like(weights))

    @staticmethod
    def get_argument():
        return arguments(config.MASK_TRIAL)
