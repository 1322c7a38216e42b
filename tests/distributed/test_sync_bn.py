"""BatchNorm over all ranks against one plain BatchNorm on the whole batch, in float64."""

import copy

import pytest
import torch
from processes import on_ranks
from semilearn.core.utils import Bn_Controller
from tiny import Tiny
from torch import nn
from torch.testing import assert_close

from metasemi_plugin.distributed import collectives
from metasemi_plugin.distributed.sync_bn import synced
from metasemi_plugin.forward_mode import sweep
from metasemi_plugin.meta_gradient import meta_gradient_and_losses

C = 5
SHARES = {2: [3, 6], 3: [2, 4, 3]}  # of each rank, by their number
N = 9

# Semilearn's import of timm is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Importing from timm:FutureWarning")


def own(*tensors):
    """This rank's shares of whole batches."""
    shares = [t.split(SHARES[collectives.world_size()])[collectives.rank()] for t in tensors]
    return [s.clone(memory_format=torch.preserve_format) for s in shares]


def all_plain(model):
    return model


class Activated(nn.BatchNorm2d):
    """A subclass with a forward pass of its own, as timm has them."""

    def forward(self, x):
        return nn.functional.relu(super().forward(x))


# Layers

LAYERS = {
    "2d": (nn.BatchNorm2d(4), (4, 3, 2)),
    "2d, channels last": (nn.BatchNorm2d(4), (4, 3, 2)),
    "1d": (nn.BatchNorm1d(4, eps=0.1, momentum=0.3), (4,)),
    "1d, sequences": (nn.BatchNorm1d(4), (4, 7)),
    "3d": (nn.BatchNorm3d(4), (4, 2, 3, 2)),
    "cumulative": (nn.BatchNorm2d(4, momentum=None), (4, 3, 2)),
    "not affine": (nn.BatchNorm2d(4, affine=False), (4, 3, 2)),
    "untracked": (nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 2)),
    "subclass": (Activated(4), (4, 3, 2)),
}


def layer_and_batch(name):
    torch.manual_seed(3)
    layer, shape = LAYERS[name]
    layer = copy.deepcopy(layer).double()
    for p in layer.parameters():
        p.data.add_(torch.randn_like(p))
    # Each sample has a mean of its own, so the ranks' statistics differ.
    x = torch.randn(N, *shape).double() + torch.arange(N).double().view(-1, *[1] * len(shape))
    coefficients = torch.randn_like(x)
    if name == "2d, channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    return layer, x, coefficients


def two_passes(layer, x, coefficients):
    """Output, gradients of x and of the parameters, buffers; the second pass with gradients."""
    with torch.no_grad():
        layer(x.flip(0).square())
    x.requires_grad_()
    y = layer(x)
    (coefficients * y.pow(3)).sum().backward()
    assert y.stride() == x.stride()
    parameters = [p.grad for p in layer.parameters()]
    return y.detach(), x.grad, parameters, list(layer.buffers())


def layers_on_a_rank(convert):
    results = {}
    for name in LAYERS:
        layer, x, coefficients = layer_and_batch(name)
        results[name] = two_passes(convert(layer), *own(x, coefficients))
    return results


def assert_whole(results, name, compare):
    """What the ranks computed is what one layer computes on the whole batch."""
    layer, x, coefficients = layer_and_batch(name)
    y, grad, parameters, buffers = two_passes(layer, x, coefficients)
    ys, grads, summands, each_buffers = zip(*(r[name] for r in results), strict=True)
    compare(torch.cat(ys), y)
    compare(torch.cat(grads), grad)
    for i, expected in enumerate(parameters):
        assert expected.abs().max() > 1e-2
        compare(sum(s[i] for s in summands), expected)
    for of_rank in each_buffers:
        for got, expected in zip(of_rank, buffers, strict=True):
            compare(got, expected)


def assert_same(got, expected):
    assert_close(got, expected, rtol=1e-10, atol=1e-10 * expected.abs().max().item())


@pytest.mark.parametrize("count", SHARES)
def test_layers_see_the_whole_batch(count):
    results = on_ranks(count, layers_on_a_rank, synced)
    for name in LAYERS:
        assert_whole(results, name, assert_same)


def test_plain_layers_do_not():
    results = on_ranks(2, layers_on_a_rank, all_plain)
    for name in LAYERS:
        with pytest.raises(AssertionError, match="not close"):
            assert_whole(results, name, assert_same)


# Nets


def net_and_batches():
    torch.manual_seed(4)
    net = Tiny(C).double()
    net.body[5] = nn.BatchNorm2d(8, affine=False).double()
    for p in net.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    batches = []
    for _ in range(2):
        x = torch.randn(N, 3, 8, 8) + torch.arange(N).view(-1, 1, 1, 1) / 4
        batches += [x.double(), torch.randn(N, C).softmax(1).double()]
    return net, batches


DIRECTIONS = {
    "all": lambda name: True,
    "none before the first BatchNorm": lambda name: name != "body.0.weight",
    "its weight": lambda name: name == "body.1.weight",
    "its bias": lambda name: name == "body.1.bias",
    "none of its own": lambda name: "body.1" not in name,
}


def sweeps(net, x, y):
    """For each direction: losses, derivatives, gradients, buffers."""
    results = []
    for picked in DIRECTIONS.values():
        model, generator = copy.deepcopy(net), torch.Generator().manual_seed(5)
        direction = {
            name: torch.randn(p.shape, generator=generator).double()
            for name, p in model.named_parameters()
            if picked(name)
        }
        losses, derivatives = sweep(model, x, y, direction)
        losses.sum().backward()
        gradients = [p.grad for p in model.parameters()]
        results.append((losses.detach(), derivatives, gradients, list(model.buffers())))
    return results


def sweeps_on_a_rank(convert):
    net, batches = net_and_batches()
    return sweeps(convert(net), *own(*batches[2:]))


@pytest.mark.parametrize("count", SHARES)
def test_the_sweep_is_that_of_the_whole_batch(count):
    net, batches = net_and_batches()
    expected = sweeps(net, *batches[2:])
    for got in zip(expected, *on_ranks(count, sweeps_on_a_rank, synced), strict=True):
        (losses, derivatives, gradients, buffers), *of_ranks = got
        assert derivatives.abs().max() > 1e-2
        assert_same(torch.cat([r[0] for r in of_ranks]), losses)
        assert_same(torch.cat([r[1] for r in of_ranks]), derivatives)
        for i, gradient in enumerate(gradients):
            assert_same(sum(r[2][i] for r in of_ranks), gradient)
        for r in of_ranks:
            for b, whole in zip(r[3], buffers, strict=True):
                assert_same(b, whole)


def test_the_sweep_of_plain_layers_is_not():
    net, batches = net_and_batches()
    plain = on_ranks(2, sweeps_on_a_rank, all_plain)
    for expected, *got in zip(sweeps(net, *batches[2:]), *plain, strict=True):
        got = torch.cat([r[1] for r in got])
        assert (got - expected[1]).abs().max() > 1e-2 * expected[1].abs().max()


def meta_gradients_on_a_rank(convert):
    net, batches = net_and_batches()
    return meta_gradient_and_losses(convert(net), *own(*batches))[0]


def test_the_meta_gradient_is_that_of_one_process():
    net, batches = net_and_batches()
    expected = meta_gradient_and_losses(net, *batches)[0]
    assert expected.min() < 0 < expected.max()
    for count in SHARES:
        assert_same(torch.cat(on_ranks(count, meta_gradients_on_a_rank, synced)), expected)
    plain = torch.cat(on_ranks(2, meta_gradients_on_a_rank, all_plain))
    assert (plain - expected).abs().max() > 1e-2 * expected.abs().max()


def half_on_a_rank():
    """As a convolution under autocast gives it: the layer's parameters stay in single precision."""
    results = []
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        layer, x, coefficients = layer_and_batch("2d, channels last")
        layer = layer if dtype is torch.float64 else layer.float()
        results.append(two_passes(synced(layer), *own(x.to(dtype), coefficients.to(dtype))))
    net, batches = net_and_batches()
    x_lb, y_lb, x_ulb, y_ulb = (t.float() for t in own(*batches))
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        v, losses = meta_gradient_and_losses(synced(net.float()), x_lb, y_lb, x_ulb, y_ulb)
    losses.sum().backward()
    return results, v


def test_half_precision_has_statistics_in_single():
    net, batches = net_and_batches()
    expected = meta_gradient_and_losses(net, *batches)[0]
    answers = on_ranks(2, half_on_a_rank)
    for halves, _ in answers:
        *halves, (y, grad, parameters, buffers) = halves
        for half, eps in zip(halves, (2**-8, 2**-11), strict=True):
            assert half[0].dtype == half[1].dtype != torch.float32
            for got, precise in zip(half[:2], (y, grad), strict=True):
                assert_close(got.double(), precise, rtol=0, atol=6 * eps * precise.abs().max())
            for got, precise in zip(half[2], parameters, strict=True):
                assert got.dtype == torch.float32
                assert_close(got.double(), precise, rtol=0, atol=6 * eps * precise.abs().max())
            for got, precise in zip(half[3][:2], buffers[:2], strict=True):
                assert got.dtype == torch.float32
                assert_close(got.double(), precise, rtol=2 * eps, atol=2 * eps)
    v = torch.cat([v for _, v in answers]).double()
    assert (v - expected).norm() < 0.2 * expected.norm()


def evaluated_on_a_rank():
    layer, x, _ = layer_and_batch("2d")
    plain = copy.deepcopy(layer)
    layer = synced(layer)
    controller = Bn_Controller()
    controller.freeze_bn(layer)
    trained = layer(*own(x))
    controller.unfreeze_bn(layer)
    return torch.equal(layer.eval()(*own(x)), plain.eval()(*own(x))), trained.equal(layer(*own(x)))


def test_eval_mode_and_frozen_statistics():
    assert on_ranks(2, evaluated_on_a_rank) == [(True, False)] * 2


def test_one_rank_computes_what_it_did():
    for name in LAYERS:
        layer, x, coefficients = layer_and_batch(name)
        converted, x_2 = synced(copy.deepcopy(layer)), x.clone()
        for got, expected in zip(
            two_passes(converted, x_2, coefficients),
            two_passes(layer, x, coefficients),
            strict=True,
        ):
            assert_close(got, expected, rtol=0, atol=0)


def test_conversion_changes_the_class_alone():
    net = Tiny(C)
    state, parameters = net.state_dict(), dict(net.named_parameters())
    bn = net.body[1]
    assert synced(synced(net)) is net
    assert net.body[1] is bn
    assert isinstance(bn, nn.BatchNorm2d)
    assert type(bn).__name__ == "SyncedBatchNorm2d"
    assert type(bn) is type(net.body[5]) is type(copy.deepcopy(net).body[1])
    assert list(net.state_dict()) == list(state)
    assert all(p is parameters[name] for name, p in net.named_parameters())


def test_option_reaches_student_and_teacher(build):
    for on in (False, True):
        algorithm = build(sync_bn=on)
        names = {type(m.body[1]).__name__ for m in (algorithm.model, algorithm.ema_model)}
        assert names == {"SyncedBatchNorm2d" if on else "BatchNorm2d"}
