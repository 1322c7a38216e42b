"""Learning to Reweight (Ren et al.), as Meta-Semi's authors modified it for unlabeled data."""

from metasemi_plugin.algorithms.variants import WEIGHTS, Variants


class LearningToReweight(Variants):
    """Learning to Reweight (Ren et al., ICML 2018, arXiv:1803.09050) with pseudo labels.

    Meta-Semi with another line 11: where v is the meta-gradient of Eq. 8, sample j weighs

        w_j = max(-v_j, 0) / sum_k max(-v_k, 0),    all 0 if that sum is 0,

    so that how much a sample helps counts, and not only whether it helps. The baseline of Table 1:
    "we retain our approach of generating pseudo-labeled samples, but use their reweighting
    strategy" (Appendix D).

    Differences from Ren et al.: what is reweighted are the samples of Eq. 13 with the teacher's
    pseudo labels; the clean loss is that of the mixed labeled batch of Eq. 12, a sum instead of a
    mean, which the normalization cancels, as it does the learning rate of the look-ahead step.

    Args:
        args: those of `Variants`.
        net_builder: the host's builder of the backbone.
        tb_log: the host's TensorBoard logger.
        logger: where the host's messages go.
    """

    def weigh(self, gradient):
        return WEIGHTS["normalized"](gradient)
