"""Meta-Semi: A Meta-learning Approach for Semi-supervised Learning (Wang et al.)."""

import torch
import torch.nn.functional as F
from semilearn.algorithms.utils import SSL_Argument
from semilearn.core import AlgorithmBase
from torch import Tensor

from metasemi_plugin.meta_gradient import keep_mask, meta_gradient_and_losses, weighted_loss
from metasemi_plugin.mixup import Mixed, mixup


class MetaSemi(AlgorithmBase):
    """Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011), Algorithm 1 with Eqs. 1, 9 and 11-13.

    An EMA teacher gives soft pseudo labels; MixUp mixes labelled and unlabelled images; a mixed
    sample is trained on if its gradient does not oppose the gradient of the labelled loss. There is
    no supervised loss term: labels act through the meta-gradient and as targets within MixUp.

    Shapes: B = batch_size, U = B * uratio (the paper: uratio 3), C = num_classes.

    Differences: where the paper is silent, the teacher runs BatchNorm on its batch and leaves the
    running statistics alone, as Mean Teacher and ICT do; a meta-gradient of exactly 0 keeps the
    sample (Eq. 9; line 11 of Algorithm 1 would drop it); one lambda a batch (Eqs. 12, 13).

    Args:
        args: the host's arguments and ``mixup_beta``, beta of Beta(beta, beta), the method's one
            hyper-parameter; the paper chooses it in [0.2, 1] on validation data. And
            ``meta_gradient``: how Eq. 8 is computed, which changes the cost only.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    ulb_views = {"x_ulb_w": "weak"}

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.init(mixup_beta=args.mixup_beta, meta_gradient=args.meta_gradient)

    def init(self, mixup_beta, meta_gradient="forward"):
        self.mixup_beta = mixup_beta
        self.meta_gradient = meta_gradient

    def train_step(self, x_lb, y_lb, x_ulb_w, idx_ulb=None):
        """One iteration of Algorithm 1.

        Args:
            x_lb: labelled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            x_ulb_w: weakly augmented unlabelled images, (U, 3, H, W).
            idx_ulb: their places in the unlabelled set, (U,); only to log pseudo-label accuracy.

        Returns:
            The host's out_dict with "loss" (Eq. 1) and log_dict.
        """
        with self.amp_cm():
            y_lb = F.one_hot(y_lb, self.num_classes).to(x_lb.dtype)
            y_ulb = self.pseudo_label(x_ulb_w)
            lb = mixup(x_lb, y_lb, self.mixup_beta)  # Eq. 12
            ulb = mixup(
                torch.cat([x_lb, x_ulb_w]), torch.cat([y_lb, y_ulb]), self.mixup_beta
            )  # Eq. 13
            gradient, losses = meta_gradient_and_losses(  # lines 5-10
                self.model, lb.x, lb.y, ulb.x, ulb.y, method=self.meta_gradient
            )
            keep = keep_mask(gradient)  # line 11, Eq. 9
            loss = weighted_loss(losses, keep)  # line 12, Eq. 1

        out_dict = self.process_out_dict(loss=loss)
        log_dict = self.process_log_dict(
            loss=loss.item(),
            teacher_confidence=y_ulb.max(dim=1).values.mean().item(),
            **kept_shares(keep, ulb, num_lb=len(x_lb)),
            **self.pseudo_label_accuracy(keep, ulb, y_ulb, idx_ulb),
        )
        return out_dict, log_dict

    @torch.no_grad()
    def pseudo_label(self, x_ulb_w: Tensor) -> Tensor:
        """Soft pseudo labels (Sec. 3.3): the EMA teacher's softmax on (U, 3, H, W), as (U, C)."""
        self.ema.apply_shadow()
        self.bn_controller.freeze_bn(self.model)
        probs = self.compute_prob(self.model(x_ulb_w)["logits"].to(x_ulb_w.dtype))
        self.bn_controller.unfreeze_bn(self.model)
        self.ema.restore()
        return probs

    def pseudo_label_accuracy(
        self, keep: Tensor, ulb: Mixed, y_ulb: Tensor, idx_ulb: Tensor | None
    ) -> dict[str, float]:
        """Accuracy of the pseudo labels in kept and in dropped samples, where the truth is known.

        A mixed sample counts for the unlabelled image that makes up the larger part of it. It is
        a diagnosis for benchmark data: the truth is used nowhere else.
        """
        truth = self.dataset_dict["train_ulb"].targets
        if idx_ulb is None or truth is None:
            return {}
        truth = torch.as_tensor(truth[idx_ulb.cpu().numpy()], device=y_ulb.device)
        num_lb = len(keep) - len(y_ulb)
        place = ulb.dominant - num_lb
        judged = (place >= 0) & (truth[place] >= 0)
        right = (y_ulb.argmax(dim=1) == truth)[place]
        parts = {"kept": judged & (keep == 1), "dropped": judged & (keep == 0)}
        return {
            f"pseudo_label_acc_{name}": right[part].double().mean().item()
            for name, part in parts.items()
            if part.any()
        }

    @staticmethod
    def get_argument():
        return [
            SSL_Argument("--mixup_beta", float, 0.5, "beta of MixUp's Beta(beta, beta), Eq. 12"),
            SSL_Argument(
                "--meta_gradient",
                str,
                "forward",
                "forward (one exact forward-mode sweep) or unrolled (Algorithm 1 as it stands)",
            ),
        ]


def kept_shares(keep: Tensor, ulb: Mixed, num_lb: int) -> dict[str, float]:
    """Share of kept samples among all, and among those that are mostly labelled or unlabelled."""
    labelled = ulb.dominant < num_lb
    return {
        "kept": keep.mean().item(),
        "kept_labelled": keep[labelled].mean().item(),
        "kept_unlabelled": keep[~labelled].mean().item(),
    }
