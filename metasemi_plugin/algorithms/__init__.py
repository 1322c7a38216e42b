"""The algorithms this package adds to the host: one paper, one page.

Imported by :func:`metasemi_plugin.register` alone, because it imports the host.
"""

from metasemi_plugin.algorithms.fast_swa import FastSWA
from metasemi_plugin.algorithms.ict import ICT
from metasemi_plugin.algorithms.learning_to_reweight import LearningToReweight
from metasemi_plugin.algorithms.mask_trial import MaskTrial
from metasemi_plugin.algorithms.mixmatch import OriginalMixMatch
from metasemi_plugin.algorithms.sntg import SNTG
from metasemi_plugin.algorithms.supervised_mixup import SupervisedMixup
from metasemi_plugin.algorithms.temporal_ensembling import TemporalEnsembling
from metasemi_plugin.algorithms.variants import AnyWeights

ALGORITHMS = {
    "metasemi": AnyWeights,
    "supervised_mixup": SupervisedMixup,
    "ict": ICT,
    "learning_to_reweight": LearningToReweight,
    "temporal_ensembling": TemporalEnsembling,
    "sntg": SNTG,
    "fast_swa": FastSWA,
    "mixmatch_original": OriginalMixMatch,
    "metasemi_mask_trial": MaskTrial,
}
