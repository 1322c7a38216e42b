"""One step against a transcription of Algorithm 1 on both bases, and the loss by hand."""

import math

import pytest
import torch
from torch.func import functional_call
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

from metasemi_plugin.algorithms.sntg import neighbor_loss
from metasemi_plugin.errors import UserError

WEIGHT, RATIO, MARGIN = 50.0, 0.4, 1.0


@pytest.fixture
def batch(batch):
    return {**batch, "x_ulb_s": torch.randn(U, 3, 16, 16).double()}


def features(it, x):
    buffers = {n: b.clone() for n, b in it.net.named_buffers()}
    return functional_call(it.net, {**it.theta, **buffers}, (x,))["feat"]


def transcription(it, base, x_lb, y_lb, x_ulb_w, x_ulb_s):
    """The terms of the loss and how many pairs are neighbors."""
    target = it.teacher(x_ulb_w) if base == "meanteacher" else it.student(x_ulb_w)
    target = target.softmax(1).detach()
    sup = cross_entropy(it.student(x_lb, moves_statistics=True), onehot(y_lb)).mean()
    unsup = squared_error(it.student(x_ulb_s).softmax(1), target)
    h = [*features(it, x_lb), *features(it, x_ulb_s)]
    y = [*y_lb.tolist(), *(t.argmax().item() for t in target)]
    pairs, neighbors, embed = (B + U) // 2, 0, 0
    for i in range(pairs):
        j = i + pairs
        distance = (((h[i] - h[j]) ** 2).sum() / len(h[i])) ** 0.5
        if y[i] == y[j]:  # W_ij = 1
            neighbors += 1
            embed = embed + distance**2
        elif distance < MARGIN:
            embed = embed + (MARGIN - distance) ** 2
    embed = embed / pairs
    ramp = WEIGHT * math.exp(-5 * (1 - 3 / 6) ** 2)
    loss = sup + ramp * unsup + ramp * RATIO * embed
    terms = {"sup_loss": sup, "unsup_loss": unsup, "sntg_loss": embed, "total_loss": loss}
    return terms, neighbors


@pytest.mark.parametrize("base", ["pimodel", "meanteacher"])
def test_step_equals_algorithm_1(build, batch, base):
    changes = {"ulb_loss_ratio": WEIGHT, "num_train_iter": 6, "unsup_warm_up": 1.0}
    algorithm = prepare(build, "sntg", sntg_base=base, **changes)
    algorithm.it = 3
    # Else an untrained net gives all images one class.
    for p in (algorithm.model.classifier.weight.data, algorithm.ema.shadow["classifier.weight"]):
        p.mul_(30)
    it = Transcription(algorithm)
    terms, neighbors = transcription(it, base, **batch)
    assert 0 < neighbors < (B + U) // 2, "pairs of both kinds are needed"

    assert_same_step(algorithm, batch, it, terms["total_loss"])

    for name, value in terms.items():
        assert value > 1e-4
        assert algorithm.log_dict[f"train/{name}"] == pytest.approx(value.item(), rel=1e-10)


def test_loss_of_four_samples_by_hand():
    """Pairs (0, 2): neighbors, d^2 = (1 + 9) / 2 = 5. (1, 3): others, d = 0.5, (1 - 0.5)^2."""
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 3.0], [1.5, 0.5]])
    loss = neighbor_loss(features, torch.tensor([7, 1, 7, 2]), margin=1.0)
    assert loss.item() == pytest.approx((5 + 0.25) / 2)
    # beyond the margin, others are left alone
    assert neighbor_loss(features, torch.tensor([7, 1, 6, 2]), margin=0.5).item() == 0


def test_the_odd_sample_out_is_left_out():
    features = torch.tensor([[0.0], [2.0], [100.0]])
    assert neighbor_loss(features, torch.tensor([1, 1, 1]), margin=1.0).item() == 4


def test_equal_features_of_other_classes_have_no_nan_gradient():
    features = torch.ones(4, 3, requires_grad=True)
    neighbor_loss(features, torch.tensor([0, 1, 0, 2]), margin=1.0).backward()
    assert torch.equal(features.grad, torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("sntg_base", "meanteecher", "unknown 'meanteecher'; did you mean 'meanteacher'"),
        ("sntg_margin", 0.0, "must be above 0"),
        ("sntg_loss_ratio", -1.0, "must be at least 0"),
    ],
)
def test_wrong_options_are_errors(build, option, value, message):
    with pytest.raises(UserError, match=f"{option}: {message}"):
        build("sntg", **{option: value})
