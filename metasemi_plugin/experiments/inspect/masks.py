"""What Meta-Semi's mask tells right pseudo labels from wrong by.

Eq. 9 keeps a sample if its gradient does not oppose that of the labeled batch. Whether this tells
right from wrong depends on what the pseudo labels say, and on how well a labeled batch stands for
all labeled images. So the mask is worked out on a trained net for

- pseudo labels of three kinds: the teacher's soft ones, as in training; their classes, one-hot;
  and the true classes, of which a half are replaced by chance (the noise that Learning to Reweight
  was made for);
- labeled batches of several sizes.

The truth about unlabeled images serves to judge, and makes the third kind of labels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.meta_gradient import meta_gradient
from metasemi_plugin.mixup import mix, mixup

REPLACED = 0.5


def obstacle(algorithm) -> str | None:
    """Why there is no mask of a loaded run to judge, or None."""
    if not hasattr(algorithm, "mixup_beta") or not hasattr(algorithm, "teacher_logits"):
        return f"{algorithm.args.algorithm} has no mask"
    if (algorithm.dataset_dict["train_ulb"].targets < 0).any():
        return "the true classes of unlabeled images are not known: the mask cannot be judged"
    return None


class Verdict(NamedTuple):
    """Of samples that are mostly an unlabeled image: how many, kept, right, and both."""

    samples: int
    kept: int
    right: int
    right_and_kept: int


def judge(algorithm, sizes: Sequence[int], batches: int) -> dict[tuple[str, int], Verdict]:
    """For each kind of pseudo label and size of the labeled batch, what the mask keeps.

    Args:
        algorithm: a MetaSemi that was trained; it is left as it was.
        sizes: of the labeled batch.
        batches: of unlabeled images, as many as in training.
    """
    counts: dict[tuple[str, int], Tensor] = {}
    ulb_size = algorithm.batch_sizes()["train_ulb"]
    targets = torch.as_tensor(algorithm.dataset_dict["train_ulb"].targets)
    torch.manual_seed(algorithm.args.seed)
    for number in tqdm(range(batches), disable=None):
        ulb = algorithm.spare_batch("train_ulb", ulb_size, number)
        lb = algorithm.spare_batch("train_lb", algorithm.args.batch_size, number)
        truth = targets[ulb["idx_ulb"].cpu()].to(algorithm.device)
        teacher = algorithm.teacher_logits(ulb["x_ulb_w"]).softmax(1)
        judges = {size: _mixed_labeled(algorithm, size, number) for size in sizes}
        x = torch.cat([lb["x_lb"], ulb["x_ulb_w"]])
        y_lb = F.one_hot(lb["y_lb"], algorithm.num_classes).to(teacher)
        mixed = mixup(x, torch.cat([y_lb, teacher]), algorithm.mixup_beta)
        place = mixed.dominant - len(y_lb)
        judged = place >= 0
        for kind, labels in KINDS.items():
            y_ulb = labels(teacher, truth)
            mixed = mix(x, torch.cat([y_lb, y_ulb]), mixed.lam, mixed.partner)
            right = (y_ulb.argmax(1) == truth)[place]
            for size, (x_lb, y) in judges.items():
                kept = meta_gradient(algorithm.model, x_lb, y, mixed.x, mixed.y) <= 0
                found = torch.stack([judged, judged & kept, judged & right, judged & right & kept])
                counts[kind, size] = counts.get((kind, size), 0) + found.sum(1)
    return {key: Verdict(*found.tolist()) for key, found in counts.items()}


def _half_replaced(teacher: Tensor, truth: Tensor) -> Tensor:
    chance = torch.randint(teacher.shape[1], truth.shape).to(truth)
    replaced = (torch.rand(truth.shape) < REPLACED).to(truth.device)
    return F.one_hot(torch.where(replaced, chance, truth), teacher.shape[1]).to(teacher)


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "soft": lambda teacher, truth: teacher,
    "one-hot": lambda teacher, truth: F.one_hot(teacher.argmax(1), teacher.shape[1]).to(teacher),
    "true, half by chance": _half_replaced,
}


def _mixed_labeled(algorithm, size: int, number: int) -> tuple[Tensor, Tensor]:
    lb = algorithm.spare_batch("train_lb", size, number)
    y = F.one_hot(lb["y_lb"], algorithm.num_classes).to(lb["x_lb"].dtype)
    mixed = mixup(lb["x_lb"], y, algorithm.mixup_beta)
    return mixed.x, mixed.y


def table(verdicts: dict[tuple[str, int], Verdict]) -> str:
    """Markdown: shares in percent, and the difference with its standard error."""
    head = ("pseudo labels", "labeled images", "kept", "right of those kept",
            "right of those dropped", "difference")  # fmt: skip
    rows = []
    for (kind, size), v in verdicts.items():
        dropped = v.samples - v.kept
        of_kept = v.right_and_kept / max(v.kept, 1)
        of_dropped = (v.right - v.right_and_kept) / max(dropped, 1)
        error = (
            of_kept * (1 - of_kept) / max(v.kept, 1)
            + of_dropped * (1 - of_dropped) / max(dropped, 1)
        ) ** 0.5
        shares = (v.kept / max(v.samples, 1), of_kept, of_dropped)
        difference = f"{100 * (of_kept - of_dropped):+.1f} ± {100 * error:.1f}"
        rows.append((kind, str(size), *(f"{100 * s:.1f}" for s in shares), difference))
    return markdown_table(head, rows)
