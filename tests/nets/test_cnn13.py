import copy
import importlib
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call

import metasemi_plugin
from metasemi_plugin.errors import UserError
from metasemi_plugin.nets import BACKBONES
from metasemi_plugin.nets.cnn13 import CNN13, cnn13, cnn13_slim


def images(n=2, size=16):
    return torch.randn(n, 3, size, size)


def test_layers_are_those_of_the_paper():
    convolutions = []

    def record(conv, inputs, output):
        convolutions.append((tuple(conv.weight.shape), tuple(output.shape[2:])))

    net = cnn13(num_classes=10)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            module.register_forward_hook(record)
    net(images(size=32))
    assert convolutions == [
        ((128, 3, 3, 3), (32, 32)),
        ((128, 128, 3, 3), (32, 32)),
        ((128, 128, 3, 3), (32, 32)),
        ((256, 128, 3, 3), (16, 16)),
        ((256, 256, 3, 3), (16, 16)),
        ((256, 256, 3, 3), (16, 16)),
        ((512, 256, 3, 3), (6, 6)),
        ((256, 512, 1, 1), (6, 6)),
        ((128, 256, 1, 1), (6, 6)),
    ]
    # by hand: 3,116,416 in convolutions, 2 x 2,048 in BatchNorm, 128 x 10 + 10 in the linear layer
    assert sum(p.numel() for p in net.parameters()) == 3_121_802


def test_forward_is_that_of_the_paper():
    net = CNN13(5, width=4)
    x = images(3, 20)
    weights = iter([m.weight for m in net.modules() if isinstance(m, nn.Conv2d)])

    def conv(x, padding):
        x = F.batch_norm(F.conv2d(x, next(weights), padding=padding), None, None, training=True)
        return torch.where(x > 0, x, 0.1 * x)

    y = x
    for stage_padding in ((1, 1, 1), (1, 1, 1), (0, 0, 0)):
        if y is not x:
            y = F.max_pool2d(y, 2)
        for padding in stage_padding:
            y = conv(y, padding)
    feat = y.mean((2, 3))
    out = net(x)
    torch.testing.assert_close(out["feat"], feat)
    torch.testing.assert_close(out["logits"], feat @ net.classifier.weight.T + net.classifier.bias)


def test_interface():
    net = CNN13(5, width=4).eval()
    x = images()
    out = net(x, unused="ignored as by the host's nets")
    assert set(out) == {"logits", "feat"}
    assert out["logits"].shape == (2, 5)
    assert out["feat"].shape == (2, net.num_features) == (2, 4)
    assert torch.equal(net(x, only_feat=True), out["feat"])
    assert torch.equal(net(out["feat"], only_fc=True), out["logits"])
    assert torch.equal(net.extract(x).mean((2, 3)), out["feat"])


def test_channels_last_changes_nothing():
    net, x = CNN13(5, width=4), images()
    expected = net(x)["logits"]
    net = net.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        net(x.contiguous(memory_format=torch.channels_last))["logits"], expected
    )


def test_smallest_images():
    net = CNN13(5, width=4)
    assert net.extract(images(size=16)).shape == (2, 4, 2, 2)
    for shape in [(3, 15, 15), (3, 32, 15), (1, 32, 32)]:
        with pytest.raises(UserError, match="images of 3 channels and at least 16x16"):
            net(torch.zeros(2, *shape))


@pytest.mark.parametrize(
    # Uniform in +-1 / sqrt(fan_in), or He's normal with fan_out.
    ("init", "std"),
    [("pytorch", (9 * 128) ** -0.5 / 3**0.5), ("he", (2 / (9 * 128)) ** 0.5)],
)
def test_initialization(init, std):
    net = CNN13(10, width=64, init=init)
    weight = net.stage2[1][0].weight
    assert weight.shape == (128, 128, 3, 3)
    assert weight.std().item() == pytest.approx(std, rel=0.005)
    assert net.classifier.bias.any() == (init == "pytorch")


def test_pytorchs_is_the_default_and_a_third_is_refused():
    torch.manual_seed(0)
    default = CNN13(10, width=4)
    torch.manual_seed(0)
    pytorch = CNN13(10, width=4, init="pytorch")
    for a, b in zip(default.parameters(), pytorch.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(UserError, match="init must be one of pytorch, he, not 'xavier'"):
        CNN13(10, init="xavier")


def test_momentum_of_batch_norm():
    net = CNN13(10, width=64)
    conv, norm = net.stage2[0][:2]
    x = images(4)
    y = conv(net.pool(net.stage1(x)))
    net(x)
    torch.testing.assert_close(norm.running_mean, 0.1 * y.mean((0, 2, 3)))


def test_noise_is_added_to_the_images_in_training_alone():
    net, x = CNN13(5, width=4, noise=0.5), images(200)
    seen = []
    net.stage1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(x)
    net.eval()(x)
    noise = seen[0] - x
    assert noise.std().item() == pytest.approx(0.5, rel=0.01)
    assert abs(noise.mean().item()) < 0.01
    assert torch.equal(seen[1], x)


def test_dropout_is_random_in_training_only():
    net, x = CNN13(5, width=4, dropout=0.5), images()
    assert not torch.equal(net(x)["logits"], net(x)["logits"])
    net.eval()
    assert torch.equal(net(x)["logits"], net(x)["logits"])
    net = CNN13(5, width=4)
    assert torch.equal(net(x)["logits"], net(x)["logits"])


def test_weight_norm_starts_from_the_same_function():
    torch.manual_seed(1)
    plain = CNN13(5, width=4)
    torch.manual_seed(1)
    normed, x = CNN13(5, width=4, weight_norm=True), images()
    torch.testing.assert_close(normed(x)["logits"], plain(x)["logits"])


def test_weight_norm_survives_copies():
    net, x = CNN13(5, width=4, weight_norm=True).eval(), images()
    expected = net(x)["logits"]
    twin = copy.deepcopy(net)
    fresh = CNN13(5, width=4, weight_norm=True).eval()
    assert not torch.equal(fresh(x)["logits"], expected)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(x)["logits"], expected)
    with torch.no_grad():
        net.classifier.parametrizations.weight.original0.mul_(2)
    assert not torch.equal(net(x)["logits"], expected)
    assert torch.equal(twin(x)["logits"], expected)


def test_weight_norm_under_the_hosts_ema():
    from semilearn.core.utils import EMA

    net, x = CNN13(5, width=4, weight_norm=True).eval(), images()
    start = net(x)["logits"]
    ema = EMA(net, 0.25)
    ema.register()
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("original0"):  # g; the weight is linear in it
                p.mul_(3)
    tripled = net.stage1[0][0].weight.clone()
    ema.update()
    ema.apply_shadow()
    torch.testing.assert_close(net.stage1[0][0].weight, tripled * (0.25 / 3 + 0.75))
    assert not torch.allclose(net(x)["logits"], start)
    ema.restore()
    assert torch.equal(net.stage1[0][0].weight, tripled)


def test_forward_mode_agrees_with_backward():
    net = CNN13(5, width=4).double()
    x, cotangent = images().double(), torch.randn(2, 5, dtype=torch.float64)
    params = dict(net.named_parameters())
    direction = {name: torch.randn_like(p) for name, p in params.items()}
    with forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(p, direction[name]) for name, p in params.items()}
        tangent = forward_ad.unpack_dual(functional_call(net, duals, (x,))["logits"]).tangent
    net(x)["logits"].backward(cotangent)
    for name, p in params.items():
        assert p.grad.any(), name
    slope = sum((p.grad * direction[name]).sum() for name, p in params.items())
    torch.testing.assert_close((tangent * cotangent).sum(), slope)


@pytest.mark.parametrize("weight_norm", [False, True])
def test_hosts_weight_decay_spares_batch_norm_and_biases(weight_norm):
    from semilearn.nets.utils import param_groups_weight_decay

    net = CNN13(5, width=4, weight_norm=weight_norm)
    spared = {id(net.classifier.bias)}
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            spared |= {id(module.weight), id(module.bias)}
    no_decay, decay = param_groups_weight_decay(net, 0.1, net.no_weight_decay())
    assert (no_decay["weight_decay"], decay["weight_decay"]) == (0.0, 0.1)
    assert {id(p) for p in no_decay["params"]} == spared
    assert len(decay["params"]) == (20 if weight_norm else 10)
    names = dict(net.named_parameters())
    assert {id(names[name]) for name in net.no_weight_decay()} == spared


class Wrapped(nn.Module):
    """As the host's CoMatch, SimMatch, ... wrap a backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.stage1 = nn.Linear(2, 2)  # of the wrapper: it belongs to the head

    def group_matcher(self, coarse=False):
        return self.backbone.group_matcher(coarse, prefix="backbone.")


@pytest.mark.parametrize("wrap", [lambda net: net, Wrapped], ids=["plain", "wrapped"])
def test_hosts_layer_decay_grows_by_one_step_a_convolution(wrap):
    from semilearn.nets.utils import param_groups_layer_decay

    net = CNN13(5, width=4)
    model = wrap(net)
    groups = param_groups_layer_decay(model, lr=1.0, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    blocks = [*net.stage1, *net.stage2, *net.stage3, net.classifier]
    for depth, block in enumerate(blocks):
        assert {rates[id(p)] for p in block.parameters()} == {0.5 ** (9 - depth)}
    if model is not net:
        assert rates[id(model.stage1.weight)] == 1.0


def test_coarse_groups_are_the_stages():
    from semilearn.nets.utils import group_parameters

    net = CNN13(5, width=4)
    groups = group_parameters(net, net.group_matcher(coarse=True))
    assert [{name.split(".")[0] for name in groups[i]} for i in sorted(groups)] == [
        {"stage1"},
        {"stage2"},
        {"stage3"},
        {"classifier"},
    ]


@pytest.mark.parametrize(("name", "width"), [("cnn13", 128), ("cnn13_slim", 32)])
def test_builders_as_the_host_calls_them(name, width):
    model = BACKBONES[name](num_classes=4, pretrained=False, pretrained_path="")
    ema_model = BACKBONES[name](num_classes=4)
    ema_model.load_state_dict(model.state_dict())
    assert model.num_features == width
    assert model.classifier.out_features == 4


def test_builders_pass_options_on():
    net = cnn13_slim(num_classes=4, width=8, weight_norm=True, dropout=0.25)
    assert net.num_features == 8
    assert "classifier.parametrizations.weight.original0" in net.state_dict()
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.25]
    assert cnn13(num_classes=4, width=8).num_features == 8


def test_pretrained_loads_all_but_the_classifier(tmp_path):
    trained = CNN13(7, width=8)
    path = str(tmp_path / "model.pth")
    state = {f"module.{name}": value for name, value in trained.state_dict().items()}
    torch.save({"model": state}, path)
    net = cnn13_slim(num_classes=4, width=8, pretrained=True, pretrained_path=path)
    for name, value in trained.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(net.state_dict()[name], value), name
    assert net.classifier.out_features == 4


def test_pretrained_refuses_what_does_not_fit(tmp_path):
    def load(path, **kwargs):
        kwargs = {"num_classes": 4, "width": 8, **kwargs}
        return cnn13(pretrained=True, pretrained_path=path, **kwargs)

    path = str(tmp_path / "model.pth")
    torch.save({"model": CNN13(4, width=8).state_dict()}, path)
    load(path)
    with pytest.raises(UserError, match="no published weights"):
        load("")
    with pytest.raises(UserError, match="cannot read"):
        load(path + ".gone")
    with pytest.raises(UserError, match="size mismatch"):
        load(path, width=16)
    with pytest.raises(UserError, match=r"it has no 'stage1.0.0.parametrizations.+; 18 missing"):
        load(path, weight_norm=True)
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(UserError, match="is no checkpoint"):
        load(str(tmp_path / "text.pth"))


def test_importing_the_backbones_is_light(monkeypatch):
    monkeypatch.setattr(metasemi_plugin, "nets", metasemi_plugin.nets)  # to be put back
    for name in ("timm", "semilearn"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    for name in ("", ".cnn13", ".timm_net"):
        monkeypatch.delitem(sys.modules, "metasemi_plugin.nets" + name, raising=False)
    module = importlib.import_module("metasemi_plugin.nets")
    assert module.BACKBONES["cnn13"] is not cnn13
    importlib.import_module("metasemi_plugin.nets.timm_net")


@pytest.mark.parametrize("builder", [cnn13, cnn13_slim])
def test_other_channels(builder):
    net = builder(num_classes=5, in_channels=6)
    assert net(torch.randn(2, 6, 16, 16))["logits"].shape == (2, 5)
    with pytest.raises(UserError, match=r"images of 6 channels .* not of shape \(3, 32, 32\)"):
        net(torch.zeros(2, 3, 32, 32))
