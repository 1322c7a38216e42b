"""The options of each algorithm, semilearn's and this package's; see `options`."""

from typing import NamedTuple

from metasemi_plugin.config.option import (
    ABOVE_ZERO,
    AT_LEAST_1,
    BELOW_1,
    NOT_NEGATIVE,
    Option,
)

META_SEMI = (
    Option("mixup_beta", float, 0.5, "beta of MixUp's Beta(beta, beta), Eqs. 12 and 13; the paper "
           "chooses it in [0.2, 1] on validation data", ABOVE_ZERO),
    Option("meta_gradient", str, "forward", "forward (one exact forward-mode sweep) or unrolled "
           "(Algorithm 1 as it stands)", ("forward", "unrolled")),
)  # fmt: skip
ICT_MIX = (
    Option("ict_alpha", float, 1.0, "ICT's lambda ~ Beta(alpha, alpha); its authors: SVHN 0.1",
           ABOVE_ZERO),
    Option("ict_mix", str, "probs", "ICT's mix of the teacher: probs or logits",
           ("probs", "logits")),
)  # fmt: skip
VARIANTS = (
    *META_SEMI,
    Option("consistency", str, "none", "term added to the loss, Eq. 14",
           ("none", "ict", "meanteacher", "pimodel", "vat")),
    Option("consistency_weight", float, None, "its weight; null: 100 for ict (its authors'), 50 "
           "for meanteacher, 10 for pimodel, 0.3 for vat (USB's)", NOT_NEGATIVE),
    Option("consistency_ramp", float, 0.25, "share of training over which it ramps up",
           NOT_NEGATIVE),
    *ICT_MIX,
    Option("vat_eps", float, 6.0, "length of VAT's perturbation of an image", ABOVE_ZERO),
    Option("teacher", str, "ema", "who labels: ema, or the student (Table 6; ema_m 0 evaluates the "
           "student, too)", ("ema", "student")),
    Option("pseudo_label", str, "soft", "soft, or onehot (Table 6)", ("soft", "onehot")),
    Option("mixup_on", str, "both", "what is mixed: labeled (Eq. 12), unlabeled (Eq. 13), both or "
           "none (Table 6)", ("both", "unlabeled", "labeled", "none")),
    Option("assumption1", int, 0, "measure the ratio of Assumption 1 every so many iterations "
           "(Figure 2); 0: never", NOT_NEGATIVE),
    Option("assumption1_batches", int, 500, "how many batches each of its measurements takes",
           ABOVE_ZERO),
    Option("image_grid", int, None, "show the samples most clearly kept and dropped in TensorBoard "
           "every so many iterations; null: with each evaluation, 0: never", NOT_NEGATIVE),
)  # fmt: skip
ANY_WEIGHTS = (
    *VARIANTS,
    Option("weights", str, "binary", "of the samples: binary (Eq. 9), ones or signed, i.e. -1 and "
           "1 (Table 6), normalized (Learning to Reweight)",
           ("binary", "signed", "normalized", "ones")),
)  # fmt: skip
MASK_TRIAL = (
    *ANY_WEIGHTS,
    Option("mask_labels", int, None, "labeled images that judge, X~; null: the batch's",
           AT_LEAST_1),
    Option("mask_start", float, 0.0, "share of the training before which all are kept",
           NOT_NEGATIVE),
)  # fmt: skip


def _ramp(share: float, help: str, allowed=NOT_NEGATIVE) -> Option:
    return Option("unsup_warm_up", float, share, help, allowed)


_LINEAR = "share of the training over which the unsupervised weight rises linearly"
_SIGMOID = "share of the training over which the unsupervised weight rises as exp(-5(1-t)^2)"
ICT = (_ramp(0.25, _SIGMOID), *ICT_MIX)
SUPERVISED_MIXUP = (
    Option("mixup_alpha", float, 1.0, "alpha of MixUp's Beta(alpha, alpha)", ABOVE_ZERO),
)
TEMPORAL_ENSEMBLING = (
    Option("te_alpha", float, 0.6, "decay of the average of predictions, alpha", BELOW_1),
    Option("te_weight_by_labels", bool, True, "multiply ulb_loss_ratio by the share of labeled "
           "images, n_labeled / N"),
    _ramp(80 / 300, _SIGMOID),
)  # fmt: skip
SNTG = (
    Option("sntg_base", str, "pimodel", "whose consistency loss and teacher",
           ("pimodel", "meanteacher")),
    Option("sntg_loss_ratio", float, 0.4, "weight of the loss on features, relative to that of the "
           "consistency loss", NOT_NEGATIVE),
    Option("sntg_margin", float, 1.0, "how far apart other classes are pushed, m", ABOVE_ZERO),
    _ramp(80 / 300, "share of the training over which both weights rise as exp(-5(1-t)^2)"),
)  # fmt: skip
MEAN_TEACHER = (_ramp(0.4, _LINEAR, ABOVE_ZERO),)  # divides by it
FAST_SWA = (
    *MEAN_TEACHER,
    Option("swa_start", float, 180 / 300, "share of the training after which the learning rate "
           "goes in cycles, l0"),
    Option("swa_horizon", float, 210 / 300, "share of the training at which the first cosine would "
           "reach 0, l1"),
    Option("swa_cycle", float, 30 / 300, "length of a cycle, as a share, c"),
    Option("swa_per_cycle", int, 10, "how often a cycle the weights are averaged"),
)  # fmt: skip
_MANIFOLD = Option("mixup_manifold", bool, False, "manifold mixup (of text)")
_T = Option("T", float, 0.5, "temperature that sharpens pseudo labels", ABOVE_ZERO)
MIXMATCH_ORIGINAL = (
    _T,
    _ramp(1 / 64, _LINEAR, ABOVE_ZERO),
    Option("mixup_alpha", float, 0.5, "alpha of MixUp's Beta(alpha, alpha)", ABOVE_ZERO),
)
_HARD = Option("hard_label", bool, True, "pseudo labels are classes, not probabilities")
_CUTOFF = Option("p_cutoff", float, 0.95, "confidence from which on a pseudo label counts")
_EMA_P = Option("ema_p", float, 0.999, "decay of the averages of predictions", BELOW_1)
FIXMATCH = (_HARD, _T, _CUTOFF)


class Algorithm(NamedTuple):
    """Where it is published, and its options."""

    reference: str
    options: tuple[Option, ...] = ()
    origin: str = "semilearn"


_OURS = "metasemi_plugin"
_PAPER = "doi 10.26599/AIR.2022.9150011"
ALGORITHMS: dict[str, Algorithm] = {
    "fast_swa": Algorithm("arXiv:1806.05594", FAST_SWA, _OURS),
    "fixmatch": Algorithm("arXiv:2001.07685", FIXMATCH),
    "flexmatch": Algorithm("arXiv:2110.08263", (
        *FIXMATCH,
        Option("thresh_warmup", bool, True, "thresholds of classes rise with what is predicted"),
    )),
    "freematch": Algorithm("arXiv:2205.07246", (
        _HARD,
        _T,
        _EMA_P,
        Option("ent_loss_ratio", float, 0.01, "weight of the loss for fairness among classes"),
        Option("use_quantile", bool, False, "the threshold is a quantile of the confidence"),
        Option("clip_thresh", bool, False, "the threshold is at least 0 and at most 0.95"),
    )),
    "fullysupervised": Algorithm(""),
    "ict": Algorithm("arXiv:1903.03825", ICT, _OURS),
    "learning_to_reweight": Algorithm("arXiv:1803.09050", VARIANTS, _OURS),
    "meanteacher": Algorithm("arXiv:1703.01780", MEAN_TEACHER),
    "metasemi": Algorithm(_PAPER, ANY_WEIGHTS, _OURS),
    "metasemi_mask_trial": Algorithm(_PAPER, MASK_TRIAL, _OURS),
    "mixmatch": Algorithm("arXiv:1905.02249", (*MIXMATCH_ORIGINAL, _MANIFOLD)),
    "mixmatch_original": Algorithm("arXiv:1905.02249", MIXMATCH_ORIGINAL, _OURS),
    "pimodel": Algorithm("arXiv:1610.02242", MEAN_TEACHER),
    "pseudolabel": Algorithm("arXiv:1908.02983", (_CUTOFF, *MEAN_TEACHER)),
    "remixmatch": Algorithm("arXiv:1911.09785", (
        _T,
        Option("kl_loss_ratio", float, 0.5, "weight of the loss on strong views"),
        Option("rot_loss_ratio", float, 0.5, "weight of the loss on rotations"),
        _ramp(1 / 64, _LINEAR, ABOVE_ZERO),
        Option("mixup_alpha", float, 0.75, "alpha of MixUp's Beta(alpha, alpha)", ABOVE_ZERO),
        _MANIFOLD,
    )),
    "sntg": Algorithm("arXiv:1711.00258", SNTG, _OURS),
    "softmatch": Algorithm("https://openreview.net/forum?id=ymt1zQXBDiF", (
        _HARD,
        _T,
        Option("dist_align", bool, True, "align the distribution of predictions"),
        Option("dist_uniform", bool, True, "with the uniform distribution, not the labels'"),
        _EMA_P,
        Option("n_sigma", int, 2, "width of the Gaussian that weighs confidence", ABOVE_ZERO),
        Option("per_class", bool, False, "a Gaussian for each class"),
    )),
    "supervised": Algorithm(""),
    "supervised_mixup": Algorithm("arXiv:1710.09412", SUPERVISED_MIXUP, _OURS),
    "temporal_ensembling": Algorithm("arXiv:1610.02242", TEMPORAL_ENSEMBLING, _OURS),
    "uda": Algorithm("arXiv:1904.12848", (
        Option("tsa_schedule", str, "none", "how labeled images are released in training",
               ("none", "linear", "log", "exp")),
        _T._replace(default=0.4),
        _CUTOFF._replace(default=0.8),
    )),
    "vat": Algorithm("arXiv:1704.03976", (
        Option("ent_loss_ratio", float, 0.06, "weight of the entropy of predictions"),
        Option("vat_eps", float, 6, "length of the perturbation of an image", ABOVE_ZERO),
        Option("vat_embed", bool, False, "perturb embeddings (of text)"),
        *MEAN_TEACHER,
    )),
}  # fmt: skip
