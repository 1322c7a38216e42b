"""What Meta-Semi shows of itself while it trains. Nothing here changes the training."""

import functools
from collections.abc import Iterable

import torch
from PIL import Image, ImageDraw, ImageFont
from semilearn.core.hooks import Hook
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image
from torchvision.utils import make_grid

from metasemi_plugin import random_numbers
from metasemi_plugin.distributed import collectives
from metasemi_plugin.meta_gradient import buffers_restored, labeled_gradient
from metasemi_plugin.mixup import Mixed


class KeptHook(Hook):
    """Logs what the mask keeps and, where the truth is known, how often it is right about that.

    Nothing else sees the true classes of unlabeled images. It runs before the update, at which
    several processes come to the same numbers.
    """

    in_step = True

    def before_run(self, algorithm):
        targets = algorithm.dataset_dict["train_ulb"].targets
        self.targets = (
            None if targets is None else torch.as_tensor(targets, device=algorithm.device)
        )

    def after_train_step(self, algorithm):
        out = algorithm.out_dict
        keep, ulb, y_ulb = (out["weights"] > 0).to(out["weights"].dtype), out["ulb"], out["y_ulb"]
        shares = kept_shares(keep, ulb, num_lb=len(keep) - len(y_ulb))
        accuracy = pseudo_label_accuracy(keep, ulb, y_ulb, out["idx_ulb"], self.targets)
        algorithm.process_log_dict(algorithm.log_dict, **shares, **accuracy)


def kept_shares(keep: Tensor, ulb: Mixed, num_lb: int) -> dict[str, Tensor]:
    """Share of kept samples among all, and among those that are mostly labeled or unlabeled."""
    labeled = ulb.dominant < collectives.world_size() * num_lb
    of = torch.stack([torch.ones_like(labeled), labeled, ~labeled]).to(keep.dtype)
    kept, samples = of @ keep, of.sum(dim=1)
    collectives.all_reduce_([kept, samples])
    names = ("kept", "kept_labeled", "kept_unlabeled")
    return dict(zip(names, kept / samples, strict=True))


def pseudo_label_accuracy(
    keep: Tensor, ulb: Mixed, y_ulb: Tensor, idx_ulb: Tensor | None, targets: Tensor | None
) -> dict[str, Tensor]:
    """Accuracy of the pseudo labels in kept and in dropped samples, where the truth is known.

    NaN where there is none of them.

    A mixed sample counts for the unlabeled image that makes up the larger part of it. It is a
    diagnosis for benchmark data: the truth is used nowhere else.

    Args:
        keep: 1 for the samples that are trained on, else 0, (B + U,).
        ulb: U~.
        y_ulb: pseudo labels, (U, C).
        idx_ulb: places of the unlabeled images in their set, (U,), or None.
        targets: true classes of the unlabeled set, (N,), -1 where unknown, or None.
    """
    if idx_ulb is None or targets is None:
        return {}
    truth = targets[idx_ulb]
    right = (y_ulb.argmax(dim=1) == truth).long()
    verdict = collectives.all_gather(torch.where(truth >= 0, right, -1))
    place = ulb.dominant - collectives.world_size() * (len(keep) - len(y_ulb))
    judged = (place >= 0) & (verdict[place] >= 0)
    parts = torch.stack([judged & (keep == 1), judged & (keep == 0)]).long()
    count, right = parts.sum(dim=1), (parts * verdict[place]).sum(dim=1)
    collectives.all_reduce_([count, right])
    names = ("pseudo_label_acc_kept", "pseudo_label_acc_dropped")
    return dict(zip(names, right / count, strict=True))


class DiagnosticsHook(Hook):
    """Meta-gradients and the samples that they keep and drop; Assumption 1 after the update.

    It runs after the host's logging, which knows scalars only and has intervals of its own. With
    several processes histograms and images are of the samples of the first one.
    """

    def after_train_step(self, algorithm):
        step, tb_log = algorithm.it + 1, algorithm.tb_log

        writer, gradient = getattr(tb_log, "writer", None), algorithm.out_dict["meta_gradient"]
        interval = algorithm.args.image_grid
        interval = algorithm.num_eval_iter if interval is None else interval
        histogram = self.every_n_iters(algorithm, algorithm.num_log_iter)
        images = self.every_n_iters(algorithm, interval)
        # All zeros where the weights need none.
        if writer and (histogram or images) and gradient.any() and gradient.isfinite().all():
            if histogram:
                writer.add_histogram("train/meta_gradient_histogram", gradient, step)
            if images:
                lb, ulb = algorithm.out_dict["lb"], algorithm.out_dict["ulb"]
                grid = kept_and_dropped(ulb, gradient, num_lb=collectives.world_size() * len(lb.x))
                writer.add_image("train/kept_and_dropped", grid, step)

        if self.every_n_iters(algorithm, algorithm.args.assumption1):
            batches = algorithm.spare_batches(algorithm.args.assumption1_batches)
            ratio = assumption1_ratio(algorithm, batches)
            algorithm.log_dict["train/assumption1_ratio"] = ratio
            algorithm.print_fn(f"iteration {step}: ratio of Assumption 1 {ratio:.4g}")
            if tb_log is not None:
                tb_log.update({"train/assumption1_ratio": ratio}, step)


def kept_and_dropped(ulb: Mixed, gradient: Tensor, num_lb: int, count: int = 8) -> Tensor:
    """The samples most clearly kept, in the first row, and most clearly dropped, in the second.

    Below each stand the two classes that weigh most in its target, and of what it is mixed: L is a
    labeled image, U an unlabeled one.

    Args:
        ulb: U~.
        gradient: Eq. 8, (B + U,).
        num_lb: B; the first B samples of the whole batch are labeled.
        count: how many in a row.

    Returns:
        An RGB picture, uint8 (3, H, W).
    """
    order = gradient.argsort().tolist()
    num_kept = int((gradient <= 0).sum())
    rows = {
        "kept": order[: min(count, num_kept)],
        "dropped": order[max(num_kept, len(order) - count) :][::-1],
    }
    size = max(2 * ulb.x.shape[-1], 96)
    tiles = []
    for said, places in rows.items():
        tiles += [_tile(ulb, place, num_lb, said, size) for place in places]
        tiles += [torch.full((3, size + _CAPTION, size), 255)] * (count - len(places))
    return make_grid(torch.stack(tiles), nrow=count, padding=4, pad_value=255).byte()


_CAPTION = 56  # pixels, four lines


def _tile(ulb: Mixed, place: int, num_lb: int, said: str, size: int) -> Tensor:
    """One sample, its contrast stretched, and what is said of it, (3, size + _CAPTION, size)."""
    x = ulb.x[place].detach().float()
    x = (x - x.amin()) / (x.amax() - x.amin()).clamp(min=1e-6)
    tile = Image.new("RGB", (size, size + _CAPTION), "white")
    tile.paste(to_pil_image(x.cpu()).resize((size, size), Image.Resampling.NEAREST))
    of = (int(ulb.own[place]), int(ulb.partner[place]))
    own, partner = ("L" if n < num_lb else "U" for n in of)
    shares, classes = ulb.y[place].detach().float().topk(2)
    targets = [
        f"class {c}: {s:.2f}" for c, s in zip(classes.tolist(), shares.tolist(), strict=True)
    ]
    lines = [said, *targets, f"{ulb.lam:.2f} {own} + {1 - ulb.lam:.2f} {partner}"]
    ImageDraw.Draw(tile).multiline_text(
        (2, size + 1), "\n".join(lines), "black", _font(), spacing=1
    )
    return pil_to_tensor(tile)


@functools.cache
def _font():
    return ImageFont.load_default(11)


def assumption1_ratio(algorithm, batches: Iterable[dict[str, Tensor]]) -> float:
    """E ||grad L_meta||^2 / ||grad E G||^2 (Assumption 1, Figure 2), estimated on batches.

    L_meta is Eq. 1 on a batch as the algorithm trains on it; G is Eq. 15, the sum of the losses on
    the mixed labeled batch. Of finitely many batches the denominator is a little too large: the
    squared length of a mean adds the variance of that mean. Parameters, buffers, the teacher's
    statistics and random numbers are left as they were.

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
    statistics = [(own, own.clone()) for own in algorithm.ema.statistics.values()]
    with random_numbers.untouched(), buffers_restored(model):
        for batch in batches:
            out = algorithm.train_step(**batch)[0]
            found = torch.autograd.grad(scale * out["meta_loss"], params, allow_unused=True)
            grads = [g for g in found if g is not None]
            collectives.all_reduce_mean_(grads)
            squares.append(sum((g.double() / scale).square().sum() for g in grads))
            lb = out["lb"]
            for name, g in labeled_gradient(model, lb.x, lb.y).items():
                total[name] = total.get(name, torch.zeros_like(g)) + g.double()
    for own, before in statistics:  # the teacher's, which its passes have moved
        own.copy_(before)
    mean_square = torch.stack(squares).mean()
    return (mean_square / sum((g / len(squares)).square().sum() for g in total.values())).item()
