"""The host's Mean Teacher must learn from unlabeled images; some versions of it do not."""

import pytest
import torch
from semilearn.algorithms.meanteacher.meanteacher import MeanTeacher

from metasemi_plugin.errors import UserError
from metasemi_plugin.host.mean_teacher import consistency_gradient


def test_the_installed_mean_teacher_is_alive():
    """Pins semilearn 0.3.2 as released: the gradient is that of the mean squared error."""
    w = torch.eye(2, requires_grad=True)
    teacher = torch.tensor([[1.0, 0.5], [-0.5, 2.0]])
    x = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    ((x @ w).softmax(1) - (x @ teacher).softmax(1)).pow(2).mean().backward()
    assert w.grad.abs().max() > 0.01
    torch.testing.assert_close(consistency_gradient(), w.grad)


def test_the_probe_draws_no_random_numbers():
    before = torch.get_rng_state()
    consistency_gradient()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def dead(monkeypatch):
    """As at the host's GitHub head: the student's output is not looked at."""

    def train_step(self, x_lb, y_lb, x_ulb_w, x_ulb_s):
        logits_x_lb = self.model(x_lb)["logits"]
        self.ema.apply_shadow()
        with torch.no_grad():
            logits_x_ulb = self.model(x_ulb_w)["logits"]
        self.ema.restore()
        target = self.compute_prob(logits_x_ulb)
        unsup_loss = self.consistency_loss(logits_x_ulb, target, "mse")
        loss = self.ce_loss(logits_x_lb, y_lb, reduction="mean") + self.lambda_u * unsup_loss
        return {"loss": loss}, {}

    monkeypatch.setattr(MeanTeacher, "train_step", train_step)


@pytest.mark.parametrize("algorithm", ["meanteacher", "fast_swa"])
def test_a_dead_one_is_refused(build, dead, algorithm):
    with pytest.raises(UserError, match="ignores unlabeled images"):
        build(algorithm)


@pytest.mark.parametrize("algorithm", ["pimodel", "sntg"])
def test_what_does_not_build_on_it_is_not_refused(build, dead, algorithm):
    build(algorithm)
