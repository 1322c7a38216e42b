import functools
import math

import pytest
import torch
from semilearn.core.hooks import EMAHook
from tiny import TINY_RUN

from metasemi_plugin import train
from metasemi_plugin.errors import UserError


def test_teacher_is_the_hosts_average(build):
    """Five steps of ours and of the host's hook, from the same parameters."""
    ours, theirs = (build("supervised", bn_statistics="student") for _ in range(2))
    theirs.register_hook(EMAHook(), "EMAHook", "HIGH")
    for algorithm in (ours, theirs):
        algorithm.model.double()
        algorithm.ema_model.double()
        algorithm.epoch = 0
        algorithm.call_hook("before_run", "EMAHook")
        first = {n: t.clone() for n, t in algorithm.ema.shadow.items()}
        torch.manual_seed(0)
        for _ in range(5):
            for p in algorithm.model.parameters():
                p.data.add_(torch.randn_like(p))
            algorithm.call_hook("after_train_step", "EMAHook")
    for name, expected in theirs.ema.shadow.items():
        assert (expected - first[name]).abs().max() > 0.1
        torch.testing.assert_close(ours.ema.shadow[name], expected, rtol=1e-12, atol=1e-14)
    expected = theirs.ema_model.state_dict()
    for name, saved in ours.get_save_dict()["ema_model"].items():
        torch.testing.assert_close(saved, expected[name], rtol=1e-12, atol=1e-14)


def test_an_average_of_momentum_zero_is_the_student(build):
    algorithm = build("supervised", ema_m=0.0)
    algorithm.call_hook("before_run", "EMAHook")
    for p in algorithm.model.parameters():
        p.data.add_(1.0)
    algorithm.call_hook("after_train_step", "EMAHook")
    for name, p in algorithm.model.named_parameters():
        assert torch.equal(algorithm.ema.shadow[name], p)
        assert algorithm.ema.shadow[name].data_ptr() != p.data_ptr()


def test_warmed_up_the_average_begins_as_half_of_the_first_step(build):
    """min(1 - 1 / (t + 1), ema_m) after t = 1, 2, ... iterations, as in Mean Teacher's code."""
    algorithm = build("supervised", ema_m=0.7, ema_warmup=True)
    algorithm.call_hook("before_run", "EMAHook")
    name, p = next(iter(algorithm.model.named_parameters()))
    expected = p.detach().clone()
    for algorithm.it, decay in enumerate([1 / 2, 2 / 3, 0.7, 0.7]):
        p.data.add_(torch.randn_like(p))
        algorithm.call_hook("after_train_step", "EMAHook")
        expected = decay * expected + (1 - decay) * p.detach()
        torch.testing.assert_close(algorithm.ema.shadow[name], expected)


@pytest.mark.parametrize("name", ["meanteacher", "pimodel", "fast_swa"])
def test_a_sigmoid_takes_the_place_of_the_hosts_linear_ramp(build, name):
    """Weight 50 over half of 8 iterations: exp(-5 (1 - t)^2), from the second iteration on."""
    algorithm = build(name, ulb_loss_ratio=50.0, unsup_warm_up=0.5, sigmoid_ramp=True,
                      num_train_iter=8, num_eval_iter=8)  # fmt: skip
    seen, step = [], algorithm.train_step

    @functools.wraps(step)
    def train_step(**batch):
        out, log = step(**batch)
        weight = (log["train/total_loss"] - log["train/sup_loss"]) / log["train/unsup_loss"]
        seen.append(weight)
        return out, log

    algorithm.train_step = train_step
    algorithm.train()
    expected = [0.0, *(50 * math.exp(-5 * (1 - t / 4) ** 2) for t in (1, 2, 3)), *[50.0] * 4]
    assert seen == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_what_has_no_linear_ramp_takes_none():
    for name in ("ict", "supervised", "fixmatch"):
        with pytest.raises(UserError, match=f"{name} has no linear ramp to replace"):
            train(**TINY_RUN | {"algorithm": name, "sigmoid_ramp": True})
