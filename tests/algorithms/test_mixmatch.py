"""The interleaved MixMatch against a transcription of its authors' formulas, sample by sample."""

import pytest
import torch
from transcription import (
    B,
    Transcription,
    U,
    assert_same_step,
    cross_entropy,
    onehot,
    prepare,
    squared_error,
)

from metasemi_plugin.algorithms.mixmatch import interleaving, mixup_by_sample

WEIGHT, ALPHA, T = 30.0, 0.7, 0.4


def test_step(build, batch):
    """Mid-ramp. 7 sub-batches of 6: the first one gets no sample of the first part, and so on."""
    algorithm = prepare(build, "mixmatch_original", ulb_loss_ratio=WEIGHT, mixup_alpha=ALPHA,
                        T=T, unsup_warm_up=0.5, num_train_iter=8, num_eval_iter=8)  # fmt: skip
    algorithm.it = 2
    batch = {**batch, "x_ulb_s": torch.randn(U, 3, 16, 16).double()}
    it = Transcription(algorithm)
    views = batch["x_ulb_w"], batch["x_ulb_s"]
    mean = sum(it.student(x).softmax(1) for x in views).detach() / 2
    guess = torch.stack([row ** (1 / T) / (row ** (1 / T)).sum() for row in mean])
    x = torch.cat([batch["x_lb"], *views])
    y = torch.cat([onehot(batch["y_lb"]), guess, guess])
    lam = torch.distributions.Beta(ALPHA, ALPHA).sample((len(x),))
    partner = torch.randperm(len(x)).tolist()
    lam = [max(w, 1 - w) for w in lam.tolist()]
    mixed_x = [w * x[i] + (1 - w) * x[partner[i]] for i, w in enumerate(lam)]
    mixed_y = torch.stack([w * y[i] + (1 - w) * y[partner[i]] for i, w in enumerate(lam)])

    # Sub-batch k is given the samples of the first one from 6 k / 7 on, in exchange for its own.
    places = [[B * k + i for i in range(B)] for k in range(7)]
    for k in range(1, 7):
        for i in range(B * k // 7, B * (k + 1) // 7):
            places[0][i], places[k][i] = places[k][i], places[0][i]
    logits = [None] * len(x)
    for k, of_batch in enumerate(places):
        out = it.student(torch.stack([mixed_x[p] for p in of_batch]), moves_statistics=k == 0)
        for p, row in zip(of_batch, out, strict=True):
            logits[p] = row
    logits = torch.stack(logits)
    sup = cross_entropy(logits[:B], mixed_y[:B]).mean()
    unsup = squared_error(logits[B:].softmax(1), mixed_y[B:])
    assert unsup > 1e-4
    assert_same_step(algorithm, batch, it, sup + WEIGHT * 2 / 4 * unsup)
    assert algorithm.log_dict["train/sup_loss"] == pytest.approx(sup.item(), rel=1e-10)
    assert algorithm.log_dict["train/unsup_loss"] == pytest.approx(unsup.item(), rel=1e-10)
    assert algorithm.log_dict["train/total_loss"] == algorithm.out_dict["loss"].item()


def test_the_ramp_ends_at_1(build, batch):
    algorithm = prepare(build, "mixmatch_original", ulb_loss_ratio=WEIGHT, mixup_alpha=ALPHA,
                        unsup_warm_up=0.5, num_train_iter=8, num_eval_iter=8)  # fmt: skip
    algorithm.it = 7
    _, log = algorithm.train_step(**batch, x_ulb_s=torch.randn(U, 3, 16, 16).double())
    expected = log["train/sup_loss"] + WEIGHT * log["train/unsup_loss"]
    torch.testing.assert_close(log["train/total_loss"], expected, rtol=1e-10, atol=0)


def test_each_sub_batch_is_of_both_kinds():
    order = interleaving(5 * 10, 10)
    assert torch.equal(order[order], torch.arange(50))
    labeled = (order < 10).view(5, 10).sum(1)
    assert labeled.tolist() == [2, 2, 2, 2, 2]


def test_the_larger_part_is_kept_and_lambdas_differ():
    x, y = torch.arange(8.0)[:, None, None, None], torch.eye(8)
    mixed, targets = mixup_by_sample(x, y, 0.75)
    weights = targets.diagonal()
    assert (weights >= 0.5).all()
    assert len(weights.unique()) > 4
    torch.testing.assert_close(mixed.flatten(), targets @ torch.arange(8.0))
