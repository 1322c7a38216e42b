"""What Meta-Semi shows of itself while it trains. Nothing here changes the training."""

from collections.abc import Iterable

import torch
from semilearn.core.hooks import Hook
from torch import Tensor

from metasemi_plugin import random_numbers
from metasemi_plugin.meta_gradient import buffers_restored, labelled_gradient
from metasemi_plugin.mixup import Mixed


def kept_shares(keep: Tensor, ulb: Mixed, num_lb: int) -> dict[str, float]:
    """Share of kept samples among all, and among those that are mostly labelled or unlabelled."""
    labelled = ulb.dominant < num_lb
    return {
        "kept": keep.mean().item(),
        "kept_labelled": keep[labelled].mean().item(),
        "kept_unlabelled": keep[~labelled].mean().item(),
    }


def pseudo_label_accuracy(
    keep: Tensor, ulb: Mixed, y_ulb: Tensor, idx_ulb: Tensor | None, targets
) -> dict[str, float]:
    """Accuracy of the pseudo labels in kept and in dropped samples, where the truth is known.

    A mixed sample counts for the unlabelled image that makes up the larger part of it. It is a
    diagnosis for benchmark data: the truth is used nowhere else.

    Args:
        keep: 1 for the samples that are trained on, else 0, (B + U,).
        ulb: U~.
        y_ulb: pseudo labels, (U, C).
        idx_ulb: places of the unlabelled images in their set, (U,), or None.
        targets: true classes of the unlabelled set, -1 where unknown, or None.
    """
    if idx_ulb is None or targets is None:
        return {}
    truth = torch.as_tensor(targets[idx_ulb.cpu().numpy()], device=y_ulb.device)
    place = ulb.dominant - (len(keep) - len(y_ulb))
    judged = (place >= 0) & (truth[place] >= 0)
    right = (y_ulb.argmax(dim=1) == truth)[place]
    parts = {"kept": judged & (keep == 1), "dropped": judged & (keep == 0)}
    return {
        f"pseudo_label_acc_{name}": right[part].double().mean().item()
        for name, part in parts.items()
        if part.any()
    }


class DiagnosticsHook(Hook):
    """Distribution of the meta-gradient, and the ratio of Assumption 1 after the update.

    It runs after the host's logging, which knows scalars only and has intervals of its own.
    """

    def after_train_step(self, algorithm):
        step, tb_log = algorithm.it + 1, algorithm.tb_log

        writer = getattr(tb_log, "writer", None)
        if writer and self.every_n_iters(algorithm, algorithm.num_log_iter):
            gradient = algorithm.out_dict["meta_gradient"]
            if gradient is not None and gradient.isfinite().all():
                writer.add_histogram("train/meta_gradient_histogram", gradient, step)

        if self.every_n_iters(algorithm, algorithm.args.assumption1):
            batches = algorithm.spare_batches(algorithm.args.assumption1_batches)
            ratio = assumption1_ratio(algorithm, batches)
            algorithm.log_dict["train/assumption1_ratio"] = ratio
            algorithm.print_fn(f"iteration {step}: ratio of Assumption 1 {ratio:.4g}")
            if tb_log is not None:
                tb_log.update({"train/assumption1_ratio": ratio}, step)


def assumption1_ratio(algorithm, batches: Iterable[dict[str, Tensor]]) -> float:
    """E ||grad L_meta||^2 / ||grad E G||^2 (Assumption 1, Figure 2), estimated on batches.

    L_meta is Eq. 1 on a batch as the algorithm trains on it; G is Eq. 15, the sum of the losses on
    the mixed labelled batch. Of finitely many batches the denominator is a little too large: the
    squared length of a mean adds the variance of that mean. Parameters, buffers and random numbers
    are left as they were.

    Args:
        algorithm: a MetaSemi.
        batches: arguments of its train_step, one batch after the other.
    """
    model = algorithm.model
    params = [p for p in model.parameters() if p.requires_grad]
    # float16 needs the scale with which the loss is trained on.
    scale = algorithm.loss_scaler.get_scale()
    squares: list[Tensor] = []
    total: dict[str, Tensor] = {}
    with random_numbers.untouched(), buffers_restored(model):
        for batch in batches:
            out = algorithm.train_step(**batch)[0]
            grads = torch.autograd.grad(scale * out["meta_loss"], params, allow_unused=True)
            squares.append(sum((g.double() / scale).square().sum() for g in grads if g is not None))
            lb = out["lb"]
            for name, g in labelled_gradient(model, lb.x, lb.y).items():
                total[name] = total.get(name, torch.zeros_like(g)) + g.double()
    mean_square = torch.stack(squares).mean()
    return (mean_square / sum((g / len(squares)).square().sum() for g in total.values())).item()
