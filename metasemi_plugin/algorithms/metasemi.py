"""Meta-Semi: A Meta-learning Approach for Semi-supervised Learning (Wang et al.)."""

import torch
import torch.nn.functional as F
from semilearn.algorithms.utils import SSL_Argument
from semilearn.core import AlgorithmBase
from torch import Tensor

from metasemi_plugin.algorithms.consistency import (
    TERMS,
    Ict,
    Vat,
    ema_logits,
    student_logits,
)
from metasemi_plugin.algorithms.diagnostics import (
    DiagnosticsHook,
    kept_shares,
    pseudo_label_accuracy,
)
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.meta_gradient import (
    METHODS,
    keep_mask,
    meta_gradient_and_losses,
    weighted_loss,
)
from metasemi_plugin.mixup import Mixed, mixup, unmixed
from metasemi_plugin.ramp import sigmoid_ramp

# The weights of the samples, (N,), from their meta-gradient, (N,).
WEIGHTS = {
    "binary": keep_mask,  # Eq. 9
    "signed": lambda v: 2 * keep_mask(v) - 1,  # Table 6
    "normalized": lambda v: (-v).clamp(min=0),  # Learning to Reweight; Eq. 1 divides by the sum
}


class MetaSemi(AlgorithmBase):
    """Meta-Semi (Wang et al., doi 10.26599/AIR.2022.9150011), Algorithm 1 with Eqs. 1, 9 and 11-13;
    Eq. 14 with ``consistency``.

    An EMA teacher gives soft pseudo labels; MixUp mixes labelled and unlabelled images; a mixed
    sample is trained on if its gradient does not oppose the gradient of the labelled loss. There is
    no supervised loss term: labels act through the meta-gradient and as targets within MixUp.

    Shapes: B = batch_size, U = B * uratio (the paper: uratio 3), C = num_classes.

    Differences: where the paper is silent, the teacher runs BatchNorm on its batch and has running
    statistics of its own, as in Mean Teacher's and ICT's code; a meta-gradient of exactly 0 keeps
    the sample (Eq. 9; line 11 of Algorithm 1 would drop it); one lambda a batch (Eqs. 12, 13);
    ``consistency`` (Eq. 14) ramps up as in ICT and leaves the running statistics alone.

    Args:
        args: the host's arguments and ``mixup_beta``, beta of Beta(beta, beta), the method's one
            hyper-parameter; the paper chooses it in [0.2, 1] on validation data. The others of
            :meth:`get_argument`: ``meta_gradient``, how Eq. 8 is computed, changes the cost only;
            ``consistency`` adds a term (Eq. 14), "ict" gives the paper's Meta-Semi + ICT;
            ``teacher``, ``pseudo_label``, ``mixup_on``, ``weights`` are the ablations of Table 6;
            ``assumption1`` measures what Figure 2 shows.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    choices = {
        "meta_gradient": tuple(METHODS),
        "consistency": tuple(TERMS),
        "teacher": ("ema", "student"),
        "pseudo_label": ("soft", "onehot"),
        "mixup_on": ("both", "unlabeled", "labeled", "none"),
        "weights": (*WEIGHTS, "ones"),
        **Ict.choices,
    }
    above_zero = ("mixup_beta", *Ict.above_zero, *Vat.above_zero, "assumption1_batches")
    not_negative: tuple[str, ...] = (
        "consistency_weight",
        "consistency_ramp",
        "assumption1",
        "image_grid",
    )

    @staticmethod
    def ulb_views(args) -> dict[str, str]:
        return TERMS[args.consistency].views

    @staticmethod
    def clean_teacher(args) -> bool:
        return args.teacher == "ema"

    def __init__(self, args, net_builder, tb_log=None, logger=None):
        super().__init__(args, net_builder, tb_log, logger)
        self.mixup_beta = args.mixup_beta
        self.partners = args.mixup_partners
        self.meta_gradient = args.meta_gradient
        self.consistency = TERMS[args.consistency].from_args(args)
        self.consistency_weight = args.consistency_weight
        if self.consistency_weight is None:
            self.consistency_weight = self.consistency.default_weight
        self.consistency_ramp = args.consistency_ramp
        self.teacher = args.teacher
        self.pseudo_label = args.pseudo_label
        self.mixup_on = args.mixup_on
        self.weights = args.weights

    def set_hooks(self):
        super().set_hooks()
        self.register_hook(DiagnosticsHook(), priority="LOWEST")

    def train_step(self, x_lb, y_lb, x_ulb_w, x_ulb_s=None, idx_ulb=None):
        """One iteration of Algorithm 1.

        Args:
            x_lb: labelled images, (B, 3, H, W).
            y_lb: their classes, (B,).
            x_ulb_w: weakly augmented unlabelled images, (U, 3, H, W).
            x_ulb_s: the same images, weakly augmented once more, if ``consistency`` needs them.
            idx_ulb: their places in the unlabelled set, (U,); only to log pseudo-label accuracy.

        Returns:
            The host's out_dict with "loss", and log_dict. For ``DiagnosticsHook`` out_dict has
            "meta_loss" (Eq. 1), "meta_gradient" (Eq. 8, None where it is not needed), "lb" (X~)
            and "ulb" (U~).
        """
        with self.amp_cm():
            teacher = self.teacher_logits(x_ulb_w)
            y_lb = F.one_hot(y_lb, self.num_classes).to(x_lb.dtype)
            y_ulb = self.pseudo_labels(teacher)
            lb = self.mixed("labeled", x_lb, y_lb)  # Eq. 12
            ulb = self.mixed(
                "unlabeled",
                torch.cat([x_lb, x_ulb_w]),
                torch.cat([y_lb, y_ulb]),
                parts=(len(x_lb), len(x_ulb_w)),
            )  # Eq. 13
            if self.weights == "ones":  # Table 6; needs no meta-gradient
                gradient, losses = None, sample_losses(self.model(ulb.x), ulb.y)
                weights = torch.ones_like(losses)
            else:
                gradient, losses = meta_gradient_and_losses(  # lines 5-10
                    self.model, lb.x, lb.y, ulb.x, ulb.y, method=self.meta_gradient
                )
                weights = WEIGHTS[self.weights](gradient)  # line 11
            meta_loss = weighted_loss(losses, weights)  # line 12, Eq. 1
            consistency = self.consistency(self, teacher, x_ulb_w, x_ulb_s)
            ramp = sigmoid_ramp(self, self.consistency_ramp)
            loss = meta_loss + self.consistency_weight * ramp * consistency  # Eq. 14

        out_dict = self.process_out_dict(
            loss=loss, meta_loss=meta_loss, meta_gradient=gradient, lb=lb, ulb=ulb
        )
        keep = (weights > 0).to(weights.dtype)
        targets = self.dataset_dict["train_ulb"].targets
        log_dict = self.process_log_dict(
            loss=loss.item(),
            consistency_loss=consistency.item(),
            teacher_confidence=self.compute_prob(teacher).max(dim=1).values.mean().item(),
            **kept_shares(keep, ulb, num_lb=len(x_lb)),
            **pseudo_label_accuracy(keep, ulb, y_ulb, idx_ulb, targets),
        )
        return out_dict, log_dict

    @torch.no_grad()
    def teacher_logits(self, x_ulb_w: Tensor) -> Tensor:
        """The teacher on (U, 3, H, W), as (U, C): the EMA of the parameters (Sec. 3.3)."""
        return (ema_logits if self.teacher == "ema" else student_logits)(self, x_ulb_w)

    def pseudo_labels(self, teacher: Tensor) -> Tensor:
        """Soft pseudo labels (Sec. 3.3), (U, C): the softmax of the teacher's logits, (U, C)."""
        probs = self.compute_prob(teacher)
        if self.pseudo_label == "soft":
            return probs
        return F.one_hot(probs.argmax(dim=1), self.num_classes).to(probs.dtype)

    def mixed(self, part: str, x: Tensor, y: Tensor, parts: tuple[int, ...] = ()) -> Mixed:
        """Eq. 12 ("labeled") or 13 ("unlabeled"), unless ``mixup_on`` leaves that part as it is."""
        if self.mixup_on in ("both", part):
            return mixup(x, y, self.mixup_beta, self.partners, parts)
        return unmixed(x, y, parts)

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
            SSL_Argument(
                "--consistency",
                str,
                "none",
                "term added to the loss, Eq. 14: none, ict, meanteacher, pimodel, vat",
            ),
            SSL_Argument(
                "--consistency_weight",
                float,
                None,
                "its weight; null: 100 for ict (its authors'), 50 for meanteacher, 10 for pimodel, "
                "0.3 for vat (USB's)",
            ),
            SSL_Argument(
                "--consistency_ramp", float, 0.25, "share of training over which it ramps up"
            ),
            *Ict.get_argument(),
            *Vat.get_argument(),
            SSL_Argument(
                "--teacher",
                str,
                "ema",
                "who labels: ema, or the student (Table 6; ema_m 0 evaluates the student, too)",
            ),
            SSL_Argument("--pseudo_label", str, "soft", "soft, or onehot (Table 6)"),
            SSL_Argument(
                "--mixup_on",
                str,
                "both",
                "what is mixed: labeled (Eq. 12), unlabeled (Eq. 13), both or none (Table 6)",
            ),
            SSL_Argument(
                "--weights",
                str,
                "binary",
                "of the samples: binary (Eq. 9), ones or signed, i.e. -1 and 1 (Table 6), "
                "normalized (Learning to Reweight)",
            ),
            SSL_Argument(
                "--assumption1",
                int,
                0,
                "measure the ratio of Assumption 1 every so many iterations (Figure 2); 0: never",
            ),
            SSL_Argument(
                "--assumption1_batches", int, 500, "how many batches each of its measurements takes"
            ),
            SSL_Argument(
                "--image_grid",
                int,
                None,
                "show the samples most clearly kept and dropped in TensorBoard every so many "
                "iterations; null: with each evaluation, 0: never",
            ),
        ]
