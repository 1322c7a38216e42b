"""The sweep against one explicit gradient per sample, and against an ordinary training pass."""

import copy
import gc

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from metasemi_plugin.bench import step as bench
from metasemi_plugin.bench.setting import Batches, Setting
from metasemi_plugin.forward_mode import sample_losses, sweep
from metasemi_plugin.meta_gradient import meta_gradient
from metasemi_plugin.mixup import mixup

C = 5

# What semilearn imports is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore:Importing from timm:FutureWarning")


def explicit(model, x, targets, direction):
    """L_j and <d, dL_j/dtheta> from an ordinary forward pass, one backward pass for each j."""
    losses = sample_losses(model(x), targets)
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    derivative = torch.zeros_like(losses)
    for j, loss in enumerate(losses):
        grads = torch.autograd.grad(
            loss, list(params.values()), retain_graph=True, allow_unused=True
        )
        for name, g in zip(params, grads, strict=True):
            if g is not None and direction.get(name) is not None:
                derivative[j] += (g * direction[name]).sum()
    return losses, derivative.detach()


def random_problem(model, x):
    targets = torch.randn(len(x), C, dtype=x.dtype).softmax(1)
    named = model.named_parameters()
    return targets, {name: torch.randn_like(p) for name, p in named if p.requires_grad}


def relative_error(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def assert_exact(model, x, tolerance=1e-10):
    """All that `sweep` promises, in double precision."""
    model, x = model.double(), x.double()
    targets, direction = random_problem(model, x)
    ordinary, before = copy.deepcopy(model), copy.deepcopy(model)

    rng = torch.get_rng_state()
    expected_losses, expected = explicit(ordinary, x, targets, direction)
    expected_losses.sum().backward()
    expected_rng = torch.get_rng_state()
    assert expected.abs().max() > 1e-6
    torch.set_rng_state(rng)
    losses, derivative = sweep(model, x, targets, direction)

    assert torch.equal(torch.get_rng_state(), expected_rng)
    assert derivative.shape == losses.shape == (len(x),)
    assert losses.requires_grad
    assert not derivative.requires_grad
    assert relative_error(derivative, expected) < tolerance
    assert torch.equal(losses, expected_losses)
    losses.sum().backward()
    for now, then, other in zip(
        model.parameters(), before.parameters(), ordinary.parameters(), strict=True
    ):
        assert torch.equal(now, then)
        assert now.requires_grad == then.requires_grad
        assert (now.grad is None) == (other.grad is None)
        if now.grad is not None:
            assert_close(now.grad, other.grad, rtol=1e-12, atol=1e-12 * other.grad.abs().max())
    for now, other in zip(model.buffers(), ordinary.buffers(), strict=True):
        assert torch.equal(now, other)
    for now, then in zip(model.modules(), before.modules(), strict=True):
        assert now.training == then.training


# Nets


def conv_bn_act(n_in, n_out, size=3, padding=1, inplace=False):
    conv = nn.Conv2d(n_in, n_out, size, padding=padding, bias=False)
    return [conv, nn.BatchNorm2d(n_out), nn.LeakyReLU(0.1, inplace=inplace)]


def cnn13(w=8, inplace=False):
    layers = conv_bn_act(3, w, inplace=inplace)
    for _ in range(2):
        layers += conv_bn_act(w, w, inplace=inplace)
    layers += [nn.MaxPool2d(2), *conv_bn_act(w, 2 * w, inplace=inplace)]
    for _ in range(2):
        layers += conv_bn_act(2 * w, 2 * w, inplace=inplace)
    layers += [nn.MaxPool2d(2), *conv_bn_act(2 * w, 4 * w, padding=0, inplace=inplace)]
    layers += conv_bn_act(4 * w, 2 * w, 1, 0, inplace) + conv_bn_act(2 * w, w, 1, 0, inplace)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(w, C))


def wide_resnet(**options):
    from semilearn.nets.wrn.wrn import WideResNet

    return WideResNet(1, C, depth=10, widen_factor=2, **options)


def semilearn_vit():
    from semilearn.nets import vit_tiny_patch2_32

    return vit_tiny_patch2_32(num_classes=C)


def timm_net(name, **options):
    timm = pytest.importorskip("timm")
    return timm.create_model(name, pretrained=False, num_classes=C, **options)


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class With(nn.Module):
    """function(inner, x): a residual connection, a shared layer, ..."""

    def __init__(self, inner, function):
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, x):
        return self.function(self.inner, x)


class Shift(nn.Module):
    """A parameter that is smaller than what it is added to."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(1, 3, 1, 16))

    def forward(self, x):
        return self.shift + x


def add_in_place(inner, x):
    y = inner(x)
    y += x
    return y


def written_in_place(x):
    """A buffer filled through views, one of which was taken before the base had a tangent."""
    filled = torch.zeros_like(x)
    half = filled[:, :2]
    half.copy_(x[:, :2])
    filled[:, 2:] = x[:, 2:].flip(1)
    half.mul_(x[:, 2:]).add_(1.5)
    filled.clamp_(min=-0.5)
    return filled.transpose(2, 3)


def split_and_joined(x):
    a, b = x.chunk(2, dim=1)
    return torch.cat([b * a.sigmoid(), torch.ones_like(a), a[:, [1, 0]]], 1)


def partly_constant(x):
    with torch.no_grad():
        scale = x.std()
    if x.isnan().any() or x.flatten()[0].item() > 1e9 or x.argmax() < 0:
        raise ArithmeticError
    return x / scale + x.detach() * 0.5 + (x > 0) + torch.randn_like(x) + x.sign() * x.new_ones(())


def drop_path(x):
    return x * x.new_empty(len(x), 1, 1, 1).bernoulli_(0.7).div_(0.7)


def net(*layers, channels=4):
    """Three channels to `channels`, the layers, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), *layers, nn.Flatten(), nn.LazyLinear(C)
    )


def started(model, x):
    """Lazy layers get their shape in a pass in eval mode."""
    model.eval()(x)
    return model.train()


NETS = {
    "cnn13": cnn13,
    "cnn13 in eval mode": lambda: cnn13().eval(),
    "cnn13 in place": lambda: cnn13(inplace=True),
    "cnn13 channels last": lambda: cnn13().to(memory_format=torch.channels_last),
    "wide resnet": wide_resnet,
    "wide resnet with dropout": lambda: wide_resnet(drop_rate=0.3),
    "semilearn vit": semilearn_vit,
    "timm resnet18": lambda: timm_net("resnet18"),
    "timm convnext with drop-path": lambda: timm_net("convnext_atto", drop_path_rate=0.3),
    "timm vit": lambda: timm_net(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, drop_rate=0.1, drop_path_rate=0.2
    ),
    "timm mobilenet": lambda: timm_net("mobilenetv3_small_050"),
    "shared layer": lambda: net(With(nn.Conv2d(4, 4, 3, padding=1), lambda f, x: f(F.relu(f(x))))),
    "grouped convolution": lambda: net(nn.Conv2d(4, 6, 3, groups=2), nn.GELU()),
    "depthwise convolution": lambda: net(nn.Conv2d(4, 4, 3, groups=4), nn.SiLU()),
    "strided and dilated": lambda: net(nn.Conv2d(4, 4, 3, stride=2, dilation=2, padding=2)),
    "transposed convolution": lambda: net(nn.ConvTranspose2d(4, 3, 3, stride=2), nn.Tanh()),
    "GroupNorm": lambda: net(nn.GroupNorm(2, 4), nn.ReLU(inplace=True)),
    "LayerNorm": lambda: net(nn.LayerNorm([4, 16, 16]), nn.ReLU()),
    "InstanceNorm": lambda: net(nn.InstanceNorm2d(4, affine=True), nn.ELU(inplace=True)),
    "BatchNorm without weights": lambda: net(nn.BatchNorm2d(4, affine=False)),
    "BatchNorm without statistics": lambda: net(nn.BatchNorm2d(4, track_running_stats=False)),
    "shifted input": lambda: nn.Sequential(Shift(), *net(nn.Tanh())),
    "residual": lambda: net(With(nn.Conv2d(4, 4, 1), lambda f, x: x + 0.5 * f(x))),
    "residual in place": lambda: net(With(nn.Conv2d(4, 4, 1), add_in_place), nn.ReLU(True)),
    "written in place": lambda: net(Apply(written_in_place)),
    "split and joined": lambda: net(Apply(split_and_joined)),
    "partly constant": lambda: net(Apply(partly_constant)),
    "drop-path": lambda: net(Apply(drop_path)),
    "dropout": lambda: net(nn.Dropout(0.5), nn.Dropout2d(0.2), nn.AlphaDropout(0.2)),
    "fused dropout": lambda: net(Apply(lambda x: torch.native_dropout(x, 0.3, True)[0])),
    "pooling": lambda: net(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(2)),
    "upsampling": lambda: net(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
    "GroupNorm channels last": lambda: net(
        Apply(lambda x: x.to(memory_format=torch.channels_last)), nn.GroupNorm(2, 4), nn.Tanh()
    ),
    "LayerNorm without weights": lambda: net(nn.LayerNorm([16, 16], elementwise_affine=False)),
    "weight norm": lambda: net(parametrizations.weight_norm(nn.Conv2d(4, 4, 3))),
    "attention": lambda: net(
        nn.Flatten(2), With(nn.MultiheadAttention(256, 4, 0.1), lambda f, x: f(x, x, x)[0])
    ),
    "causal attention": lambda: net(
        nn.Flatten(2), Apply(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True))
    ),
    "frozen layer": lambda: net(nn.Conv2d(4, 4, 3).requires_grad_(False), nn.ReLU()),
}


@pytest.mark.parametrize("name", NETS)
def test_sweep_is_exact(name):
    torch.manual_seed(0)
    full_size = name.startswith(("semilearn", "timm resnet", "timm convnext", "timm mobilenet"))
    x = torch.randn(2, 3, 32, 32) if full_size else torch.randn(4, 3, 16, 16)
    if "channels last" in name:
        x = x.to(memory_format=torch.channels_last)
    model = NETS[name]()
    if any(nn.parameter.is_lazy(p) for p in model.parameters()):
        model = started(model, x)
    assert_exact(model, x)


class Block(nn.Module):
    """Convolution, normalization, (in-place) addition of the input, activation, pooling."""

    def __init__(self, conv, norm, residual, activation, pool):
        super().__init__()
        self.conv, self.norm, self.residual = conv, norm, residual
        self.activation, self.pool = activation, pool

    def forward(self, x):
        y = self.norm(self.conv(x))
        if self.residual == "in place":
            y += x
        elif self.residual == "added":
            y = x + y
        return self.pool(self.activation(y))


@st.composite
def blocks(draw):
    size = draw(st.sampled_from([1, 3]))
    conv = nn.Conv2d(
        4, 4, size,
        padding=size // 2,
        groups=draw(st.sampled_from([1, 2, 4])),
        bias=draw(st.booleans()),
    )  # fmt: skip
    norm = draw(
        st.sampled_from(
            [
                nn.Identity(),
                nn.BatchNorm2d(4),
                nn.BatchNorm2d(4, affine=False),
                nn.BatchNorm2d(4).eval(),
                nn.GroupNorm(2, 4),
                With(nn.LayerNorm(4), lambda f, x: f(x.movedim(1, -1)).movedim(-1, 1)),
            ]
        )
    )
    activation = draw(
        st.sampled_from(
            [
                nn.Identity(),
                nn.ReLU(inplace=True),
                nn.LeakyReLU(0.1, inplace=True),
                nn.LeakyReLU(0.2),
                nn.GELU(),
                nn.Softplus(),
                nn.Dropout(0.3),
                nn.Hardtanh(inplace=True),
            ]
        )
    )
    pool = draw(
        st.sampled_from([nn.Identity(), nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1), Apply(drop_path)])
    )
    residual = draw(st.sampled_from(["none", "in place", "added"]))
    return Block(conv, copy.deepcopy(norm), residual, copy.deepcopy(activation), pool)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(layers=st.lists(blocks(), min_size=1, max_size=4), seed=st.integers(0, 2**16))
def test_sweep_is_exact_for_any_small_net(layers, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, C)
    )
    assert_exact(model, torch.randn(4, 3, 9, 9), tolerance=1e-9)
    assert_as_unrolled_and_no_trace(model.double(), random_batches(3, 5, 9, torch.float64))


def random_batches(lb, ulb, size, dtype=torch.float32):
    """X~ and U~, `lb` and `ulb` images."""
    x, y = torch.randn(lb + ulb, 3, size, size), torch.randn(lb + ulb, C).softmax(1)
    x, y = x.to(dtype), y.to(dtype)
    return Batches(x[:lb], y[:lb], x[lb:], y[lb:])


def assert_as_unrolled_and_no_trace(model, batches):
    """Forward mode is Algorithm 1's virtual step, and leaves all as it was, to the bit."""
    before, rng = copy.deepcopy(model), torch.get_rng_state()
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    forward = meta_gradient(model, *batches)
    assert relative_error(forward, meta_gradient(model, *batches, method="unrolled")) < 1e-9
    assert torch.equal(torch.get_rng_state(), rng)
    for now, then in zip(model.state_dict().values(), before.state_dict().values(), strict=True):
        assert torch.equal(now, then)
    for now, then, grad in zip(model.parameters(), before.parameters(), grads, strict=True):
        assert now.requires_grad == then.requires_grad
        assert (now.grad is None) if grad is None else torch.equal(now.grad, grad)


# Precision


@pytest.mark.parametrize(
    "name",
    [
        "cnn13 in place",
        "cnn13 channels last",
        "wide resnet",
        "semilearn vit",
        "timm resnet18",
        "timm convnext with drop-path",
        "timm vit",
        "shared layer",
        "grouped convolution",
        "depthwise convolution",
        "residual in place",
    ],
)
def test_single_precision_agrees_with_double(name):
    """With the unrolled graph in double precision: to 1e-5, and every sign that is clear."""
    torch.manual_seed(0)
    size = 32 if name.startswith(("semilearn", "timm resnet", "timm convnext")) else 16
    lb, ulb = (1, 2) if name.startswith("semilearn") else (8, 12)
    batches = random_batches(lb, ulb, size)
    model = started(NETS[name](), batches.x_ulb)
    torch.manual_seed(bench.SEED)
    v = meta_gradient(model, *batches)
    assert v.dtype == torch.float32
    got = bench.compare(v.double(), bench.exact_on_same_piece(model, batches, Setting()))
    assert got["max_rel_diff"] < 1e-5
    assert got["sign_agreement"] == 1


def test_autocast_sees_the_same_signs():
    torch.manual_seed(0)
    model, x = cnn13(16), torch.randn(64, 3, 16, 16)
    targets, direction = random_problem(model, x)
    exact = sweep(copy.deepcopy(model), x, targets, direction)[1]
    with torch.autocast("cpu", torch.bfloat16):
        losses, derivative = sweep(model, x, targets, direction)
    losses.sum().backward()
    assert losses.dtype == derivative.dtype == torch.float32
    assert torch.corrcoef(torch.stack([exact, derivative]))[0, 1] > 0.95
    assert (exact.sign() == derivative.sign()).float().mean() > 0.8


def test_bfloat16_sees_the_signs_of_a_trained_net():
    """Those of float64 on the same piece of the net, and of float64 by itself."""
    torch.manual_seed(0)
    centers = torch.randn(C, 3, 16, 16)

    def batch(n):
        classes = torch.randint(C, (n,))
        wrong = torch.rand(n) < 0.25
        images = centers[classes] + 3 * torch.randn(n, 3, 16, 16)
        return mixup(images, F.one_hot((classes + wrong) % C, C).float(), 0.5)

    model = cnn13(8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(60):
        mixed = batch(32)
        losses.append(sample_losses(model(mixed.x), mixed.y).mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    optimizer.zero_grad()

    setting, agreement = Setting(dtype="bf16", device="cpu"), []
    for _ in range(6):
        lb, ulb = batch(10), batch(40)
        batches = Batches(lb.x, lb.y, ulb.x, ulb.y)
        with setting.precision():
            v = meta_gradient(model, *batches).double()
        agreement.append(
            [
                bench.compare(v, reference)["sign_agreement"]
                for reference in (
                    bench.exact_on_same_piece(model, batches, setting),
                    bench.exact(model, batches),
                )
            ]
        )
    assert (torch.tensor(agreement).mean(0) >= 0.97).all()


def test_weights_cast_before_the_sweep_keep_their_tangents():
    torch.manual_seed(0)
    model, x = cnn13(), torch.randn(8, 3, 16, 16)
    targets, direction = random_problem(model, x)
    with torch.autocast("cpu", torch.bfloat16):
        alone = sweep(model, x, targets, direction)[1]
    with torch.autocast("cpu", torch.bfloat16):
        model(x)
        assert torch.equal(sweep(model, x, targets, direction)[1], alone)


# Directions


def test_missing_directions_are_zero():
    torch.manual_seed(0)
    model, x = cnn13().double(), torch.randn(4, 3, 16, 16).double()
    targets, direction = random_problem(model, x)
    some = {name: t for i, (name, t) in enumerate(direction.items()) if i % 3}
    some["0.weight"] = None
    expected = explicit(copy.deepcopy(model), x, targets, some)[1]
    assert relative_error(sweep(model, x, targets, some)[1], expected) < 1e-10
    for nothing in ({}, dict.fromkeys(direction)):
        losses, derivative = sweep(model, x, targets, nothing)
        assert torch.equal(derivative, torch.zeros(4).double())
        assert losses.requires_grad


@pytest.mark.parametrize("bias", [True, False], ids=["bias only", "weight only"])
@pytest.mark.parametrize(
    "layer", [nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4)], ids=repr
)
def test_half_a_layer_may_have_a_direction(layer, bias):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 8, 8)
    model = started(net(copy.deepcopy(layer)), x).double()
    targets, direction = random_problem(model, x.double())
    ends = "bias" if bias else "weight"
    for start in ("1.", "3."):
        some = {name: t for name, t in direction.items() if name == start + ends}
        expected = explicit(copy.deepcopy(model), x.double(), targets, some)[1]
        assert relative_error(sweep(model, x.double(), targets, some)[1], expected) < 1e-10


def test_direction_must_fit_the_model():
    model, x = net(nn.Flatten()), torch.randn(2, 3, 8, 8)
    started(model, x)
    model[0].bias.requires_grad_(False)
    for direction, message in [
        ({"0.wait": torch.ones(4, 3, 3, 3)}, "no trainable parameter '0.wait'"),
        ({"0.bias": torch.ones(4)}, "no trainable parameter '0.bias'"),
        ({"0.weight": torch.ones(4)}, r"'0.weight' has shape \(4,\), not \(4, 3, 3, 3\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            sweep(model, x, torch.ones(2, C) / C, direction)


# Limits


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad


@pytest.mark.parametrize(
    ("layer", "culprit"),
    [
        (Apply(StraightThrough.apply), "the custom autograd.Function StraightThrough"),
        (nn.RReLU(), "aten.rrelu_with_noise"),
        (Apply(lambda x: torch.view_as_real(torch.fft.fft2(x)).sum(-1)), "complex numbers"),
    ],
    ids=["custom function", "random operation", "complex view"],
)
def test_what_has_no_rule_is_named(layer, culprit):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    model = started(net(layer), x)
    with pytest.raises(NotImplementedError, match=f"{culprit}.*set `meta_gradient: unrolled`"):
        sweep(model, x, *random_problem(model, x))


class Deformed(nn.Module):
    """torchvision's operation, an autograd.Function of C++."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Conv2d(4, 18, 3, padding=1)
        self.convolution = torchvision.ops.DeformConv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x, self.offset(x))


def test_custom_functions_of_cpp_are_named():
    x = torch.randn(2, 3, 8, 8)
    model = started(net(Deformed()), x)
    with pytest.raises(NotImplementedError, match=r"autograd.Function \w*(?i:deform_?conv2d)\w*;"):
        sweep(model, x, *random_problem(model, x))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_jit_has_fused_is_named():
    """Once it has seen some passes, its executor differentiates by itself."""

    @torch.jit.script
    def gate(x: Tensor) -> Tensor:
        return torch.tanh(x) * torch.sigmoid(x) + x

    x = torch.randn(2, 3, 8, 8)
    model = started(net(Apply(gate)), x)
    for _ in range(3):
        model(x).sum().backward()
    with pytest.raises(NotImplementedError, match=r"autograd.Function DifferentiableGraph;"):
        sweep(model, x, *random_problem(model, x))


def test_tangents_go_as_the_net_goes_on():
    """At the end of a deep net the sweep holds hardly more memory than an ordinary pass."""
    alive = []

    def count(x):
        tensors = [o for o in gc.get_objects() if type(o) is Tensor and o.shape == x.shape]
        alive.append(len({t.untyped_storage().data_ptr() for t in tensors}))
        return x

    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in conv_bn_act(4, 4)]
    x = torch.randn(2, 3, 8, 8)
    model = started(net(*layers, Apply(count)), x)
    targets, direction = random_problem(model, x)
    alive.clear()
    kept = sample_losses(model(x), targets)
    del kept
    sweep(model, x, targets, direction)
    ordinary, swept = alive
    assert ordinary > 12
    assert swept <= ordinary + 3


def test_sample_losses_are_cross_entropy_with_soft_targets():
    torch.manual_seed(0)
    logits, targets = torch.randn(6, C), torch.randn(6, C).softmax(1)
    expected = F.cross_entropy(logits, targets, reduction="none")
    assert_close(sample_losses(logits, targets), expected)
    assert_close(sample_losses({"logits": logits, "feat": logits}, targets), expected)
    assert sample_losses(logits.bfloat16(), targets).dtype == torch.float32
