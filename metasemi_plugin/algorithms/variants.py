"""What the paper tries of Meta-Semi beside Algorithm 1: Eq. 14, and the ablations of Table 6."""

import torch
import torch.nn.functional as F

from metasemi_plugin.algorithms.arguments import arguments
from metasemi_plugin.algorithms.consistency import TERMS, student_logits
from metasemi_plugin.algorithms.diagnostics import DiagnosticsHook, KeptHook
from metasemi_plugin.algorithms.metasemi import MetaSemi
from metasemi_plugin.config import algorithms as config
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.meta_gradient import keep_mask
from metasemi_plugin.mixup import unmixed
from metasemi_plugin.ramp import sigmoid_ramp

# The weights of the samples, (N,), from their meta-gradient, (N,).
WEIGHTS = {
    "binary": keep_mask,  # Eq. 9
    "signed": lambda v: 2 * keep_mask(v) - 1,  # Table 6
    "normalized": lambda v: (-v).clamp(min=0),  # Learning to Reweight; Eq. 1 divides by the sum
    "ones": torch.ones_like,  # Table 6
}


class Variants(MetaSemi):
    """Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011), Algorithm 1 and around it.

    Each option is one change: ``consistency`` adds a term to the loss (Eq. 14), "ict" gives the
    paper's Meta-Semi + ICT; ``teacher``, ``pseudo_label`` and ``mixup_on`` are ablations of Table
    6; ``assumption1`` and ``image_grid`` show more of the training, and change nothing.

    Differences: ``consistency`` ramps up as in ICT and leaves the running statistics alone.

    Args:
        args: those of `MetaSemi` and of :meth:`get_argument`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    @staticmethod
    def ulb_views(args) -> dict[str, str]:  # type: ignore[override]
        return TERMS[args.consistency].views

    @staticmethod
    def clean_teacher(args) -> bool:  # type: ignore[override]
        return args.teacher == "ema"

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.consistency = TERMS[args.consistency].from_args(args)
        self.consistency_weight = args.consistency_weight
        if self.consistency_weight is None:
            self.consistency_weight = self.consistency.default_weight
        self.consistency_ramp = args.consistency_ramp
        self.teacher = args.teacher
        self.pseudo_label = args.pseudo_label
        self.mixup_on = args.mixup_on

    def set_hooks(self):
        self.register_hook(KeptHook(), priority="HIGHEST")  # before the others see log_dict
        super().set_hooks()
        self.register_hook(DiagnosticsHook(), priority="LOWEST")

    def train_step(self, x_lb, y_lb, x_ulb_w, x_ulb_s=None, idx_ulb=None):
        """One iteration of Algorithm 1, and the second term of Eq. 14.

        Args:
            x_lb, y_lb, x_ulb_w: see `MetaSemi`.
            x_ulb_s: the same images, weakly augmented once more, if ``consistency`` needs them.
            idx_ulb: their places in the unlabeled set, (U,), for `KeptHook`.

        Returns:
            See `MetaSemi`. "loss" is Eq. 14; in out_dict "meta_loss" is Eq. 1.
        """
        out_dict, log_dict = super().train_step(x_lb, y_lb, x_ulb_w)
        meta_loss = out_dict["loss"]
        with self.amp_cm():
            consistency = self.consistency(self, out_dict["teacher"], x_ulb_w, x_ulb_s)
            ramp = sigmoid_ramp(self, self.consistency_ramp)
            loss = meta_loss + self.consistency_weight * ramp * consistency  # Eq. 14

        self.process_out_dict(out_dict, loss=loss, meta_loss=meta_loss, idx_ulb=idx_ulb)
        logged = {"loss": loss.detach(), "consistency_loss": consistency.detach()}
        self.process_log_dict(log_dict, **logged)
        return out_dict, log_dict

    @torch.no_grad()
    def teacher_logits(self, x_ulb_w):
        if self.teacher == "student":
            return student_logits(self, x_ulb_w)
        return super().teacher_logits(x_ulb_w)

    def pseudo_labels(self, teacher):
        probs = super().pseudo_labels(teacher)
        if self.pseudo_label == "soft":
            return probs
        return F.one_hot(probs.argmax(dim=1), self.num_classes).to(probs.dtype)

    def mixed_labeled(self, x_lb, y_lb):
        if self.mixup_on in ("both", "labeled"):
            return super().mixed_labeled(x_lb, y_lb)
        return unmixed(x_lb, y_lb)

    def mixed_all(self, x_lb, y_lb, x_ulb, y_ulb):
        if self.mixup_on in ("both", "unlabeled"):
            return super().mixed_all(x_lb, y_lb, x_ulb, y_ulb)
        parts = len(x_lb), len(x_ulb)
        return unmixed(torch.cat([x_lb, x_ulb]), torch.cat([y_lb, y_ulb]), parts)

    @staticmethod
    def get_argument():
        return arguments(config.VARIANTS)


class AnyWeights(Variants):
    """What ``metasemi`` stands for: `Variants`, and ``weights``, Table 6's changes of line 11.

    Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011) is with the defaults of both.
    """

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.weights = args.weights

    def judged(self, lb, ulb):
        if self.weights != "ones":
            return super().judged(lb, ulb)
        losses = sample_losses(self.model(ulb.x), ulb.y)
        return torch.zeros_like(losses), losses  # the meta-gradient is not needed

    def weigh(self, gradient):
        return WEIGHTS[self.weights](gradient)

    @staticmethod
    def get_argument():
        return arguments(config.ANY_WEIGHTS)
