"""Optimizers and schedules against their closed forms."""

import math
from types import SimpleNamespace

import pytest
import torch
from tiny import Tiny

from metasemi_plugin.host.optim import build_optimizer, build_scheduler

T = 40


def options(**changes):
    base = {
        "optim": "SGD",
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.02,
        "layer_decay": 1.0,
        "scheduler": "constant",
        "num_train_iter": T,
        "num_warmup_iter": 0,
        "lr_restarts": "",
    }
    return SimpleNamespace(**{**base, **changes})


def rates(**changes):
    args = options(**changes)
    optimizer = build_optimizer(Tiny(3), args)
    scheduler = build_scheduler(optimizer, args)
    seen = []
    for _ in range(T + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("scheduler", "factors"),
    [
        ("cosine", (1, math.cos(7 / 32 * math.pi), math.cos(7 / 16 * math.pi))),
        ("half_cosine", (1, 0.5, 0)),
        ("constant", (1, 1, 1)),
    ],
)
def test_schedule_at_start_middle_and_end(scheduler, factors):
    seen = rates(scheduler=scheduler)
    for step, factor in zip((0, T // 2, T), factors, strict=True):
        assert seen[step] == pytest.approx(0.1 * factor, abs=1e-15)


@pytest.mark.parametrize("scheduler", ["half_cosine", "constant"])
def test_warmup_rises_linearly(scheduler):
    seen = rates(scheduler=scheduler, num_warmup_iter=4)
    assert seen[:5] == pytest.approx([0, 0.025, 0.05, 0.075, 0.1])


@pytest.mark.parametrize("scheduler", ["cosine", "half_cosine"])
def test_each_part_has_the_schedule_of_its_length(scheduler):
    def alone(length):
        return rates(scheduler=scheduler, num_train_iter=length, num_warmup_iter=2)[:length]

    seen = rates(scheduler=scheduler, lr_restarts="7,12", num_warmup_iter=2)
    assert T > 12
    assert seen[:T] == [*alone(7), *alone(5), *alone(T - 12)]


def one_step(**changes):
    """Parameters with and without decay, before and after one step on a known gradient."""
    torch.manual_seed(0)
    model = Tiny(3).double()
    optimizer = build_optimizer(model, options(**changes))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    grads = {n: torch.randn_like(p) for n, p in model.named_parameters()}
    for n, p in model.named_parameters():
        p.grad = grads[n].clone()
    optimizer.step()
    for n, p in model.named_parameters():
        assert not torch.equal(p, before[n])
        yield p.detach(), before[n], grads[n], 0.02 if p.ndim > 1 else 0.0


@pytest.mark.parametrize(("nesterov", "factor"), [(True, 1.9), (False, 1.0)])
def test_first_sgd_step(nesterov, factor):
    for after, p, g, decay in one_step(nesterov=nesterov):
        torch.testing.assert_close(after, p - 0.1 * factor * (g + decay * p), rtol=1e-12, atol=0)


def test_sgd_without_momentum():
    for after, p, g, decay in one_step(momentum=0.0):
        torch.testing.assert_close(after, p - 0.1 * (g + decay * p), rtol=1e-12, atol=1e-15)


def test_first_adamw_step_is_mixmatchs_decay_and_a_signed_step():
    """MixMatch decays by p *= 1 - 0.02 * lr; Adam's first step is lr * g / (|g| + eps)."""
    for after, p, g, decay in one_step(optim="AdamW", lr=0.002):
        expected = p * (1 - decay * 0.002) - 0.002 * g / (g.abs() + 1e-8)
        torch.testing.assert_close(after, expected, rtol=1e-12, atol=1e-12)


def test_first_adam_step_has_the_decay_in_the_gradient():
    for after, p, g, decay in one_step(optim="Adam", lr=0.002):
        g = g + decay * p
        torch.testing.assert_close(after, p - 0.002 * g / (g.abs() + 1e-8), rtol=1e-12, atol=1e-12)


def on_one_gradient(steps, **changes):
    """Parameters before and after `steps` steps whose gradient is always the same."""
    torch.manual_seed(0)
    model = Tiny(3).double()
    optimizer = build_optimizer(model, options(**changes))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    for _ in range(steps):
        optimizer.step()
    for n, p in model.named_parameters():
        assert torch.equal(p, before[n]) == (steps == 0)
        yield p.detach(), before[n], p.grad, 0.02 if p.ndim > 1 else 0.0


@pytest.mark.parametrize("steps", [0, T // 2, T])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_after_many_steps(nesterov, steps):
    """The momentum is g (1 - m^t) / (1 - m) after t steps, a geometric series."""
    m = 0.9
    momenta = (steps - m * (1 - m**steps) / (1 - m)) / (1 - m)
    total = steps + m * momenta if nesterov else momenta
    for after, p, g, _ in on_one_gradient(steps, nesterov=nesterov, weight_decay=0.0):
        torch.testing.assert_close(after, p - 0.1 * total * g, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [0, T // 2, T])
def test_adam_after_many_steps(steps):
    """Its corrected moments are g and g^2 at every step."""
    for after, p, g, _ in on_one_gradient(steps, optim="Adam", lr=0.002, weight_decay=0.0):
        step = 0.002 * g / (g.abs() + 1e-8)
        torch.testing.assert_close(after, p - steps * step, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [0, T // 2, T])
def test_adamw_after_many_steps_is_adam_with_mixmatchs_decay(steps):
    for after, p, g, decay in on_one_gradient(steps, optim="AdamW", lr=0.002):
        expected = p
        for _ in range(steps):
            expected = expected * (1 - decay * 0.002) - 0.002 * g / (g.abs() + 1e-8)
        torch.testing.assert_close(after, expected, rtol=1e-12, atol=1e-12)
