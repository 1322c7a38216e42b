"""Every way to the meta-gradient against the unrolled graph in float64."""

import pytest
import torch

from metasemi_plugin.bench import methods
from metasemi_plugin.bench.methods import METHODS, step
from metasemi_plugin.bench.setting import Batches, Setting, build
from metasemi_plugin.bench.step import exact

TINY = Setting("tiny:net", img_size=8, batch_size=3, ulb_batch_size=4, warmup_steps=2)
LIBRARIES = ("higher", "torchopt")


@pytest.fixture(params=METHODS)
def name(request):
    if request.param in LIBRARIES:
        pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def case():
    model, batches = build(TINY)
    return model.double(), Batches(*(t.double() for t in batches))


def test_vector(name, case, monkeypatch):
    model, batches = case
    expected = exact(model, batches)
    assert expected.abs().min() > 1e-4
    assert {-1.0, 1.0} == set(expected.sign().tolist())
    monkeypatch.setattr(methods, "FINITE_STEP", 1e-6)
    v, _ = METHODS[name](model, batches)
    if name == "plain":
        assert v is None
    else:
        tolerance = 1e-4 if name == "finite_difference" else 1e-10
        assert (v - expected).abs().max() <= tolerance * expected.abs().max()


def test_losses_train_the_model(name, case):
    """Value and gradient of the losses are those of an ordinary pass over U~."""
    model, batches = case
    params = list(model.parameters())
    logits = model(batches.x_ulb)["logits"]
    expected = -(batches.y_ulb * logits.log_softmax(1)).sum(1)
    expected_grads = torch.autograd.grad(expected.sum(), params)
    _, losses = METHODS[name](model, batches)
    torch.testing.assert_close(losses, expected, rtol=1e-10, atol=0)
    losses.sum().backward()
    for p, g in zip(params, expected_grads, strict=True):
        assert g.abs().max() > 0
        torch.testing.assert_close(p.grad, g, rtol=1e-8, atol=1e-12)


def test_a_parameter_that_no_loss_reaches(name, case):
    """The host's WideResNet has some."""
    model, batches = case
    expected, _ = METHODS[name](model, batches)
    model.unused = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    v, losses = METHODS[name](model, batches)
    losses.sum().backward()
    if name != "plain":
        torch.testing.assert_close(v, expected)


def test_random_layers_draw_the_same_for_the_mask_and_the_update(case):
    model, batches = case
    model.body[3].p = 0.4
    vectors = []
    for name in ("unrolled", "forward_ad", "forward"):
        torch.manual_seed(3)
        vectors.append(METHODS[name](model, batches)[0])
    for v in vectors[1:]:
        torch.testing.assert_close(v, vectors[0], rtol=1e-9, atol=1e-12)


def test_a_step_trains_on_what_eq_9_keeps(case):
    model, batches = case
    expected = exact(model, batches)
    _, losses = METHODS["plain"](model, batches)
    v, loss = step(METHODS["forward"], model, batches)
    torch.testing.assert_close(v, expected)
    torch.testing.assert_close(loss, losses[expected <= 0].mean())
    _, loss = step(METHODS["plain"], model, batches)
    torch.testing.assert_close(loss, losses.mean())
