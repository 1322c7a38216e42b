"""Eqs. 1-10 in float64: the sweep, the unrolled graph, finite differences and Eq. 10 spelt out."""

import pytest
import torch
from semilearn.nets.wrn.wrn import WideResNet
from tiny import Tiny
from torch.func import functional_call

from metasemi_plugin.forward_mode import sample_losses
from metasemi_plugin.meta_gradient import (
    keep_mask,
    labeled_gradient,
    meta_gradient,
    meta_gradient_and_losses,
    weighted_loss,
)
from metasemi_plugin.nets.cnn13 import CNN13

B, N, C = 4, 7, 5
LR = 0.3

NETS = {
    "cnn13": (lambda: CNN13(C, width=4), 16),
    "cnn13_weight_norm": (lambda: CNN13(C, width=4, weight_norm=True), 16),
    "wrn": (lambda: WideResNet(first_stride=1, num_classes=C, depth=10, widen_factor=1), 8),
    "dropout": (lambda: Tiny(C, dropout=0.4), 8),
    "linear": (lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16, C)), 4),
}


class Case:
    """A net in float64 and two mixed batches; each pass starts from the same random numbers."""

    def __init__(self, name: str):
        build, size = NETS[name]
        torch.manual_seed(1)
        self.model = build().double().train()
        for p in self.model.parameters():  # away from the zeros and ones of the initialization
            p.data.add_(0.1 * torch.randn_like(p))
        self.x_lb, self.x_ulb = torch.randn(B, 3, size, size), torch.randn(N, 3, size, size)
        self.x_lb, self.x_ulb = self.x_lb.double(), self.x_ulb.double()
        self.y_lb = torch.randn(B, C).double().softmax(1)
        self.y_ulb = torch.randn(N, C).double().softmax(1)

    @property
    def batches(self):
        return self.x_lb, self.y_lb, self.x_ulb, self.y_ulb

    def passes(self, theta_lb, theta_ulb):
        """Cross-entropies on X~ and U~ with the parameters given; random numbers X~ first."""
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        torch.manual_seed(5)
        lb = self.losses(theta_lb, buffers, self.x_lb, self.y_lb)
        return lb, self.losses(theta_ulb, buffers, self.x_ulb, self.y_ulb)

    def losses(self, theta, buffers, x, y):
        out = functional_call(self.model, {**theta, **buffers}, (x,))
        logits = out["logits"] if isinstance(out, dict) else out
        return -(y * logits.log_softmax(1)).sum(1)

    @property
    def theta(self):
        return dict(self.model.named_parameters())

    def inner_steps(self, weights, steps=1, create_graph=True):
        """theta_M: M virtual steps on sum_k w_k L(u~_k), Eqs. 4 and 5."""
        theta = self.theta
        for _ in range(steps):
            loss = (weights * self.passes(theta, theta)[1]).sum()
            grads = torch.autograd.grad(
                loss, list(theta.values()), create_graph=create_graph, allow_unused=True
            )
            theta = {
                name: p if g is None else p - LR * g
                for (name, p), g in zip(theta.items(), grads, strict=True)
            }
        return theta

    def meta_gradient(self, method="forward"):
        torch.manual_seed(5)
        return meta_gradient(self.model, *self.batches, lr=LR, method=method)


@pytest.fixture(params=NETS)
def case(request):
    return Case(request.param)


def assert_close(got, expected, tolerance):
    scale = expected.abs().max()
    assert scale > 1e-4, "nothing to compare: the reference is about zero"
    assert (got - expected).abs().max() <= tolerance * scale


def test_forward_equals_unrolled(case):
    assert_close(case.meta_gradient("forward"), case.meta_gradient("unrolled"), 1e-10)


def test_the_sweep_and_a_virtual_step_of_1_are_the_defaults():
    model, batches = Case("cnn13").model, Case("cnn13").batches
    asked_for = meta_gradient(model, *batches, lr=1.0, method="forward")
    assert asked_for.any()
    assert torch.equal(meta_gradient(model, *batches), asked_for)
    assert torch.equal(meta_gradient_and_losses(model, *batches)[0], asked_for)


def test_equals_the_inner_products_of_eq_10(case):
    lb, ulb = case.passes(case.theta, case.theta)
    params = list(case.theta.values())

    def flat(loss):
        grads = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in grads if g is not None])

    g = flat(lb.sum())
    assert_close(case.meta_gradient(), -LR * torch.stack([flat(l_j) @ g for l_j in ulb]), 1e-10)


def test_equals_central_differences_through_the_inner_step(case):
    step = 1e-7  # short, so as to cross no kink of an activation or a pooling
    slopes = []
    for w in step * torch.eye(N).double():
        ends = [
            case.passes(case.inner_steps(sign * w, create_graph=False), case.theta)[0].sum()
            for sign in (1, -1)
        ]
        slopes.append((ends[0] - ends[1]) / (2 * step))
    assert_close(case.meta_gradient(), torch.stack(slopes).detach(), 1e-6)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_m_inner_steps_give_m_times_the_vector(case, steps):
    """Proposition 1 (Appendix A)."""
    weights = torch.zeros(N, dtype=torch.float64, requires_grad=True)
    theta_m = case.inner_steps(weights, steps)
    (slope,) = torch.autograd.grad(case.passes(theta_m, case.theta)[0].sum(), weights)
    assert_close(slope, steps * case.meta_gradient(), 1e-10)


@pytest.mark.parametrize("method", ["forward", "unrolled"])
def test_leaves_the_model_as_it_was(case, method):
    frozen = next(case.model.parameters()).requires_grad_(False)
    before = {name: t.clone() for name, t in case.model.state_dict().items()}
    rng = torch.get_rng_state()
    meta_gradient(case.model, *case.batches, method=method)
    assert torch.equal(torch.get_rng_state(), rng)
    after = case.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [p for p in case.model.parameters() if not p.requires_grad] == [frozen]
    assert all(p.grad is None for p in case.model.parameters())
    assert case.model.training


@pytest.mark.parametrize("method", ["forward", "unrolled"])
def test_losses_are_those_of_one_training_pass(case, method):
    """Value, gradient, BatchNorm's buffers and random numbers as if X~ then U~ were fed once."""
    _, ulb = case.passes(case.theta, case.theta)
    expected = torch.autograd.grad(ulb.mean(), list(case.theta.values()), allow_unused=True)
    torch.manual_seed(5)
    _, losses = meta_gradient_and_losses(case.model, *case.batches, method=method)
    got = torch.autograd.grad(losses.mean(), list(case.theta.values()), allow_unused=True)
    assert_close(losses.detach(), ulb.detach(), 1e-12)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", ["forward", "unrolled"])
def test_running_statistics_move_once_by_the_pass_on_u(method):
    case = Case("cnn13")
    twin = Case("cnn13").model
    meta_gradient_and_losses(case.model, *case.batches, method=method)
    with torch.no_grad():
        twin(case.x_ulb)
    moved = [name for name, b in twin.named_buffers() if not torch.equal(b, torch.zeros_like(b))]
    assert len(moved) == len(list(twin.buffers()))
    for (name, got), expected in zip(case.model.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=0, msg=name)


def test_random_state_afterwards_does_not_depend_on_the_method():
    case = Case("dropout")
    states = []
    for method in ("forward", "unrolled"):
        torch.manual_seed(5)
        meta_gradient_and_losses(case.model, *case.batches, method=method)
        states.append(torch.rand(3))
    assert torch.equal(*states)


class InFull(torch.nn.Linear):
    """A layer that knows better than autocast."""

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.flatten(1))


def test_under_autocast_the_labeled_gradient_is_that_of_an_ordinary_backward_pass():
    model, x, y = InFull(12, C), torch.randn(B, 3, 2, 2), torch.rand(B, C).softmax(1)
    with torch.autocast("cpu", torch.bfloat16):
        got = labeled_gradient(model, x, y)
        loss = sample_losses(model(x), y).sum()
    expected = torch.autograd.grad(loss, list(model.parameters()))
    for a, b in zip(got.values(), expected, strict=True):
        assert a.any()
        assert torch.equal(a, b)


def test_frozen_parameters_take_no_part():
    case = Case("cnn13")
    whole = case.meta_gradient()
    case.model.stage1.requires_grad_(False)
    part = case.meta_gradient()
    assert_close(part, case.meta_gradient("unrolled"), 1e-10)
    assert (part - whole).abs().max() > 1e-3 * whole.abs().max()


def test_a_labeled_gradient_of_zero_keeps_everything():
    case = Case("linear")
    case.y_lb.zero_()
    gradient = case.meta_gradient()
    assert torch.equal(gradient, torch.zeros(N).double())
    assert torch.equal(keep_mask(gradient), torch.ones(N).double())


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="'backward'"):
        Case("linear").meta_gradient("backward")


def test_mask_is_eq_9():
    gradient = torch.tensor([-2.0, -1e-30, 0.0, 1e-30, 3.0])
    assert keep_mask(gradient).tolist() == [1, 1, 1, 0, 0]


def test_weighted_loss_is_eq_1():
    losses = torch.tensor([1.0, 2.0, 4.0])
    assert weighted_loss(losses, torch.tensor([1.0, 0.0, 1.0])).item() == 2.5
    assert weighted_loss(losses, torch.tensor([0.5, 0.25, 0.25])).item() == 2.0


def test_weighted_loss_of_no_sample_moves_nothing():
    case = Case("cnn13")
    before = [p.detach().clone() for p in case.model.parameters()]
    optimizer = torch.optim.SGD(case.model.parameters(), lr=1.0)
    loss = weighted_loss(case.passes(case.theta, case.theta)[1], torch.zeros(N).double())
    loss.backward()
    optimizer.step()
    assert loss.item() == 0
    assert all(p.grad is not None for p in case.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, case.model.parameters(), strict=True))
