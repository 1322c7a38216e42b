"""A pass in double precision on the sides of the kinks that another pass took."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from metasemi_plugin.bench.kinks import OnSides, sides
from metasemi_plugin.meta_gradient import meta_gradient

N, C = 6, 5


def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.LeakyReLU(0.1, inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 4, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 1),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(C),
    )


@pytest.fixture
def case():
    model, x = net().double(), torch.randn(N, 3, 8, 8).double()
    model(x)
    y = torch.randn(N, C).double().softmax(1)
    return model, x, y


def test_on_its_own_sides_a_net_is_itself(case):
    """To the derivative of a derivative."""
    model, x, y = case
    own = {len(part): sides(model, part) for part in (x[:4], x)}
    assert [s.dtype for s in own[N]] == [
        torch.bool,
        torch.int64,
        torch.bool,
        torch.bool,
        torch.int64,
    ]
    given = OnSides(model, own)
    assert torch.equal(given(x), model(x))
    vectors = [meta_gradient(m, x[:4], y[:4], x, y, method="unrolled") for m in (model, given)]
    assert vectors[0].abs().min() > 1e-5
    assert_close(*vectors, rtol=1e-12, atol=0)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.1), torch.relu])
def test_a_unit_within_rounding_of_its_kink(activation):
    """In single precision 1e8 + 1 - 1e8 is 0, where the derivative is that below 0."""
    weight = torch.tensor([1e8, 1.0, -1e8]).requires_grad_()

    def unit(x):
        a, b, c = weight.to(x.dtype) * x[0]
        return activation((a + b + c).view(1, 1))

    x = torch.ones(1, 3)
    below = {1: sides(unit, x)}
    assert not below[1][0].item()
    (single,) = torch.autograd.grad(unit(x).sum(), weight)
    (by_itself,) = torch.autograd.grad(unit(x.double()).sum(), weight)
    (given,) = torch.autograd.grad(OnSides(Callable(unit), below)(x.double()).sum(), weight)
    assert by_itself[1] == 1
    assert torch.equal(given, single)


def test_the_greatest_of_a_pool_within_rounding():
    x = torch.tensor([1.0, 1 + 1e-9, 0, 0], dtype=torch.float64).view(1, 1, 2, 2)
    x.requires_grad_()
    pool = nn.MaxPool2d(2)
    first = {1: sides(pool, x.float())}
    (by_itself,) = torch.autograd.grad(pool(x).sum(), x)
    (given,) = torch.autograd.grad(OnSides(pool, first)(x).sum(), x)
    assert by_itself.flatten().tolist() == [0, 1, 0, 0]
    assert given.flatten().tolist() == [1, 0, 0, 0]


class Callable(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
