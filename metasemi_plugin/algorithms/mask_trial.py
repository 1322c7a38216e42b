"""What Meta-Semi's mask is worth: trials that its paper does not have."""

import functools

import torch.nn.functional as F

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.variants import AnyWeights
from metasemi_plugin.config import algorithms as config


class MaskTrial(AnyWeights):
    """Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011) with another judge, or a later mask.

    Eq. 9 asks whether a sample's gradient opposes that of X~, whose B images stand for all labelled
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

    @functools.wraps(AnyWeights.train_step)  # whose parameters the host reads
    def train_step(self, *args, **kwargs):
        started = self.it >= self.mask_start * self.num_train_iter
        self.weights = self.args.weights if started else "ones"
        return super().train_step(*args, **kwargs)

    def mixed_labeled(self, x_lb, y_lb):
        if self.mask_labels is not None:
            lb = self.spare_batch("train_lb", self.mask_labels, self.it, beside=3)
            x_lb, y_lb = lb["x_lb"], F.one_hot(lb["y_lb"], self.num_classes).to(y_lb.dtype)
        return super().mixed_labeled(x_lb, y_lb)

    @staticmethod
    def get_argument():
        return arguments(config.MASK_TRIAL)
