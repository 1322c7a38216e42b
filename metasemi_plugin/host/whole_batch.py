"""What semilearn's algorithms keep of a batch: of that of all processes, where it sees only one.

The others of them that keep something put it together by themselves.
"""

from semilearn.algorithms.flexmatch.utils import FlexMatchThresholdingHook
from semilearn.algorithms.utils import concat_all_gather

from metasemi_plugin.distributed import collectives


class FlexMatchWhole:
    """FlexMatch's thresholds follow from the pseudo labels of all images seen, on any process."""

    def set_hooks(self):
        super().set_hooks()
        hook = _Thresholding(
            ulb_dest_len=self.args.ulb_dest_len,
            num_classes=self.num_classes,
            thresh_warmup=self.args.thresh_warmup,
        )
        self.register_hook(hook, "MaskingHook")  # in the slot of the host's


class _Thresholding(FlexMatchThresholdingHook):
    def masking(self, algorithm, logits_x_ulb, idx_ulb, *args, **kwargs):
        logits_x_ulb, idx_ulb = (
            collectives.all_gather(logits_x_ulb.detach()),
            collectives.all_gather(idx_ulb),
        )
        mask = super().masking(algorithm, logits_x_ulb, idx_ulb, *args, **kwargs)
        return mask[collectives.own(len(mask))]


class SoftMatchWhole:
    """SoftMatch looks for a function of semilearn in its hook, where it is not (0.3.2)."""

    def set_hooks(self):
        super().set_hooks()
        self.hooks_dict["MaskingHook"].concat_all_gather = concat_all_gather
