"""Learning to Reweight's step against a transcription; and what becomes of a zero sum."""

import pytest
import torch
from transcription import (
    BETA,
    B,
    Transcription,
    U,
    algorithm_1,
    assert_same_step,
    one_step,
    prepare,
    teacher_gets_no_gradient,
)

from metasemi_plugin.algorithms import metasemi
from metasemi_plugin.errors import UserError
from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.host.config import resolve


@pytest.fixture
def algorithm(build):
    return prepare(build, "learning_to_reweight", mixup_beta=BETA)


def positive_parts(meta_gradient):
    return [-v if v < 0 else 0.0 for v in meta_gradient]


def test_step_equals_the_formula(algorithm, batch):
    it = Transcription(algorithm)
    loss, weights, _ = algorithm_1(it, **batch, weigh=positive_parts)
    assert 0 < (weights > 0).sum() < B + U
    assert weights.max() > 2 * weights[weights > 0].min(), "weights must not be all alike"
    assert_same_step(algorithm, batch, it, loss)


def test_no_gradient_reaches_the_teacher(algorithm, batch):
    assert teacher_gets_no_gradient(algorithm, batch)


def test_a_zero_sum_of_weights_moves_nothing(algorithm, batch, monkeypatch):
    def all_harmful(model, x_lb, y_lb, x_ulb, y_ulb, **_):
        losses = sample_losses(model(x_ulb), y_ulb)
        return torch.ones_like(losses), losses

    monkeypatch.setattr(metasemi, "meta_gradient_and_losses", all_harmful)
    for group in algorithm.optimizer.param_groups:
        group["weight_decay"] = 0.0
    before = {n: p.detach().clone() for n, p in algorithm.model.named_parameters()}
    one_step(algorithm, batch)
    assert algorithm.out_dict["loss"].item() == 0
    assert all(torch.equal(before[n], p) for n, p in algorithm.model.named_parameters())


def test_the_weights_are_the_methods_own(build, batch):
    """It is Meta-Semi with other weights, which are not to be chosen here."""
    with pytest.raises(UserError, match="unknown key 'weights'"):
        resolve(None, {"algorithm": "learning_to_reweight", "weights": "ones"})
    losses = []
    for name, changes in (("learning_to_reweight", {}), ("metasemi", {"weights": "normalized"})):
        torch.manual_seed(0)
        algorithm = prepare(build, name, mixup_beta=BETA, **changes)
        one_step(algorithm, batch)
        losses.append(algorithm.out_dict["loss"].item())
    assert losses[0] == losses[1]
