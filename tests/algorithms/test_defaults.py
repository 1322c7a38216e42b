"""Each option of our algorithms has the default that its paper, or its page, says."""

from metasemi_plugin.algorithms import ALGORITHMS

VARIANTS = {
    "mixup_beta": 0.5, "meta_gradient": "forward", "consistency": "none",
    "consistency_weight": None, "consistency_ramp": 0.25, "ict_alpha": 1.0, "ict_mix": "probs",
    "vat_eps": 6.0, "teacher": "ema", "pseudo_label": "soft", "mixup_on": "both", "assumption1": 0,
    "assumption1_batches": 500, "image_grid": None,
}  # fmt: skip
DEFAULTS = {
    "supervised_mixup": {"mixup_alpha": 1.0},
    "temporal_ensembling": {
        "te_alpha": 0.6, "te_weight_by_labels": True, "unsup_warm_up": 80 / 300,
    },
    "fast_swa": {
        "unsup_warm_up": 0.4, "swa_start": 0.6, "swa_horizon": 0.7, "swa_cycle": 0.1,
        "swa_per_cycle": 10,
    },
    "sntg": {
        "sntg_base": "pimodel", "sntg_loss_ratio": 0.4, "sntg_margin": 1.0,
        "unsup_warm_up": 80 / 300,
    },
    "ict": {"unsup_warm_up": 0.25, "ict_alpha": 1.0, "ict_mix": "probs"},
    "mixmatch_original": {"T": 0.5, "mixup_alpha": 0.5, "unsup_warm_up": 1 / 64},
    "metasemi": VARIANTS | {"weights": "binary"},
    "metasemi_mask_trial": VARIANTS | {"weights": "binary", "mask_labels": None, "mask_start": 0.0},
    "learning_to_reweight": VARIANTS,
}  # fmt: skip


def test_each_option_has_its_default_and_a_help():
    found = {name: list(algorithm.get_argument()) for name, algorithm in ALGORITHMS.items()}
    defaults = {
        name: {argument.name.removeprefix("--"): argument.default for argument in arguments}
        for name, arguments in found.items()
    }
    assert defaults == DEFAULTS
    assert all(argument.help for arguments in found.values() for argument in arguments)
