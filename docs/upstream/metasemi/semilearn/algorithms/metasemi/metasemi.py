# Copyright (c) Microsoft Corporation.
# Licensed under the MIT License.

from functools import partial

import torch
import torch.nn.functional as F
from semilearn.algorithms.utils import SSL_Argument
from semilearn.core import AlgorithmBase
from semilearn.core.utils import ALGORITHMS

from .utils import METHODS, keep_mask, mixup, weighted_loss


@ALGORITHMS.register("metasemi")
class MetaSemi(AlgorithmBase):
    """
    Meta-Semi algorithm (https://doi.org/10.26599/AIR.2022.9150011), Algorithm 1.

    Where the paper is silent: the teacher runs BatchNorm on its batch and leaves the running
    statistics alone, as MeanTeacher here; a meta-gradient of exactly 0 keeps the sample (Eq. 9;
    line 11 of Algorithm 1 would drop it); one lambda a batch.

    Args:
        - args (`argparse`):
            algorithm arguments
        - net_builder (`callable`):
            network loading function
        - tb_log (`TBLog`):
            tensorboard logger
        - logger (`logging.Logger`):
            logger to use
        - mixup_beta (`float`, *optional*, defaults to 0.5):
            Hyper-parameter of mixup, lambda ~ Beta(beta, beta); in [0.2, 1], on validation data
        - meta_gradient (`str`, *optional*, defaults to 'forward'):
            How it is computed: forward (one exact forward-mode sweep) or unrolled (Algorithm 1 as
            it stands); the result is the same
    """

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        if self.distributed:
            raise NotImplementedError(
                "metasemi trains in one process: set multiprocessing_distributed to False and gpu "
                "to 0"
            )
        # metasemi specified arguments
        self.init(mixup_beta=args.mixup_beta, meta_gradient=args.meta_gradient)

    def init(self, mixup_beta=0.5, meta_gradient="forward"):
        self.mixup_beta = mixup_beta
        self.meta_gradient = METHODS[meta_gradient]
        if self.use_amp:
            # Else a pass without gradients, or of the teacher, leaves its cast weights to the next.
            self.amp_cm = partial(self.amp_cm, cache_enabled=False)

    def train_step(self, x_lb, y_lb, x_ulb_w):
        with self.amp_cm():
            # soft pseudo labels of the EMA teacher
            self.ema.apply_shadow()
            with torch.no_grad():
                self.bn_controller.freeze_bn(self.model)
                logits_x_ulb_w = self.model(x_ulb_w)["logits"].to(x_ulb_w.dtype)
                self.bn_controller.unfreeze_bn(self.model)
            self.ema.restore()
            y_ulb = self.compute_prob(logits_x_ulb_w)

            # MixUp, Eqs. 12 and 13
            y_lb = F.one_hot(y_lb, self.num_classes).to(x_lb.dtype)
            lb = mixup(x_lb, y_lb, self.mixup_beta)
            ulb = mixup(torch.cat([x_lb, x_ulb_w]), torch.cat([y_lb, y_ulb]), self.mixup_beta)

            # does training on a sample lower the labeled loss? Lines 5 to 11
            meta_gradient, losses = self.meta_gradient(self.model, *lb, *ulb)
            mask = keep_mask(meta_gradient)

            # line 12: Eq. 1
            total_loss = weighted_loss(losses, mask)

        out_dict = self.process_out_dict(loss=total_loss)
        log_dict = self.process_log_dict(
            total_loss=total_loss.item(), util_ratio=mask.mean().item()
        )
        return out_dict, log_dict

    @staticmethod
    def get_argument():
        return [
            SSL_Argument("--mixup_beta", float, 0.5, "parameter of Beta distribution of MixUp"),
            SSL_Argument("--meta_gradient", str, "forward", "forward or unrolled"),
        ]
