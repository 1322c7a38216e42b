from functools import cache

import pytest
import timm
import torch
from torch import nn

from metasemi_plugin.errors import UserError
from metasemi_plugin.nets.timm_net import timm_builder

MODELS = {"resnet18": 512, "vit_tiny_patch16_224": 192, "convnext_atto": 320}
SMALL = "test_vit"  # timm's own test model: 160 pixels, patches of 16


@cache
def model(name):
    torch.manual_seed(0)
    return timm_builder(name, img_size=32)(num_classes=5, pretrained=False, pretrained_path="")


@pytest.mark.parametrize("name", MODELS)
def test_interface(name):
    net = model(name).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        out = net(x, unused="ignored as by the host's nets")
        assert set(out) == {"logits", "feat"}
        assert out["logits"].shape == (2, 5)
        assert out["feat"].shape == (2, net.num_features) == (2, MODELS[name])
        torch.testing.assert_close(out["logits"], net.net(x))
        assert torch.equal(net(x, only_feat=True), out["feat"])
        assert torch.equal(net(out["feat"], only_fc=True), out["logits"])
        pooled = net.net.forward_head(net.extract(x), pre_logits=True)
        assert torch.equal(pooled, out["feat"])


@pytest.mark.parametrize("name", MODELS)
def test_the_hosts_call_for_its_ema_gives_the_same_architecture(name):
    timm_builder(name, img_size=32)(num_classes=5).load_state_dict(model(name).state_dict())


def test_builder_passes_options_on():
    net = timm_builder(SMALL, img_size=32)(num_classes=5, drop_rate=0.25)
    assert net.net.head_drop.p == 0.25
    with pytest.raises(UserError, match=r"cannot build 'test_vit' with .*no_such=1.*TypeError"):
        timm_builder(SMALL, img_size=32)(num_classes=5, no_such=1)


class Wrapped(nn.Module):
    """As the host's CoMatch, SimMatch, ... wrap a backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def group_matcher(self, coarse=False):
        return self.backbone.group_matcher(coarse, prefix="backbone.")


@pytest.mark.parametrize("wrap", [lambda net: net, Wrapped], ids=["plain", "wrapped"])
@pytest.mark.parametrize("name", MODELS)
def test_hosts_layer_decay_is_timms(name, wrap):
    from semilearn.nets.utils import param_groups_layer_decay
    from timm.optim import param_groups_layer_decay as timms

    net = model(name)
    groups = param_groups_layer_decay(wrap(net), lr=1.0, layer_decay=0.5)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    expected = {
        id(p): group["lr_scale"]
        for group in timms(net.net, layer_decay=0.5)
        for p in group["params"]
    }
    assert rates == expected
    assert rates.keys() == {id(p) for p in net.parameters()}
    assert rates[id(net.net.get_classifier().weight)] == 1.0
    in_order = [rates[id(p)] for name, p in net.named_parameters() if "token" not in name]
    assert in_order == sorted(in_order)
    assert len(set(in_order)) > 3


def test_no_layer_groups():
    with pytest.raises(UserError, match="layer_decay"):
        timm_builder("pit_ti_224", img_size=32)(num_classes=5).group_matcher()


def test_no_weight_decay():
    assert model("vit_tiny_patch16_224").no_weight_decay() == ["net.cls_token", "net.pos_embed"]
    assert model("resnet18").no_weight_decay() == []
    # patterns with a star
    net = timm_builder("xcit_nano_12_p16_224", img_size=32)(num_classes=5)
    assert "net.pos_embed.token_projection.weight" in net.no_weight_decay()


def test_unknown_name_suggests():
    with pytest.raises(UserError, match=r"'resnet_18'; did you mean .*resnet18"):
        timm_builder("resnet_18")
    with pytest.raises(UserError, match=r"did you mean .*resnet18\.a1_in1k"):
        timm_builder("resnet18.a1_in1")
    with pytest.raises(UserError, match="list_models"):
        timm_builder("?")
    timm_builder("resnet18.a1_in1k")


def test_a_head_that_is_not_one_linear_layer():
    with pytest.raises(UserError, match="'levit_128s' ends in tuple"):
        timm_builder("levit_128s", img_size=64)(num_classes=5)


def test_shape_of_the_images():
    with pytest.raises(UserError, match=r"built for 32x32 pixels, not 48x32: set img_size"):
        model("vit_tiny_patch16_224")(torch.zeros(2, 3, 48, 32))
    with pytest.raises(UserError, match=r"built for 160x160 pixels, not 32x32"):
        timm_builder(SMALL)(num_classes=5)(torch.zeros(2, 3, 32, 32))
    with pytest.raises(UserError, match=r"takes 3 channels, not 1"):
        model("resnet18")(torch.zeros(2, 1, 32, 32))
    with pytest.raises(UserError, match=r"cannot build .*img_size=\(30, 30\)"):
        timm_builder("xcit_nano_12_p16_224", img_size=30)(num_classes=5)
    assert model("resnet18").eval()(torch.zeros(2, 3, 48, 40))["logits"].shape == (2, 5)


@pytest.fixture
def trained():
    torch.manual_seed(1)
    return timm_builder(SMALL, img_size=64)(num_classes=10)  # 4 x 4 patches; 2 x 2 at 32 pixels


def load(path, name=SMALL):
    builder = timm_builder(name, img_size=32)
    return builder(num_classes=5, pretrained=True, pretrained_path=str(path))


@pytest.mark.parametrize("format_of", ["timm", "host"])
def test_pretrained_from_a_file(trained, tmp_path, format_of):
    if format_of == "timm":
        torch.save(trained.net.state_dict(), tmp_path / "model.pth")
    else:
        state = {f"module.{name}": value for name, value in trained.state_dict().items()}
        torch.save({"model": state}, tmp_path / "model.pth")
    net = load(tmp_path / "model.pth")
    loaded = net.state_dict()
    for name, value in trained.state_dict().items():
        if name not in ("net.pos_embed", "net.head.weight", "net.head.bias"):
            assert torch.equal(loaded[name], value), name
    resampled = timm.layers.resample_abs_pos_embed(trained.net.pos_embed, [2, 2])
    torch.testing.assert_close(loaded["net.pos_embed"], resampled)
    assert loaded["net.head.weight"].shape == (5, net.num_features)
    assert "state_dict" not in net.net.pretrained_cfg


def test_pretrained_zeros_are_not_missing(tmp_path):
    tiny = {"num_classes": 5, "embed_dim": 16, "depth": 1, "num_heads": 1}
    builder = timm_builder("beit_base_patch16_224", img_size=32)
    net = builder(**tiny)
    assert not net.net.blocks[0].attn.relative_position_bias_table.any()
    torch.save(net.net.state_dict(), tmp_path / "model.pth")
    builder(**tiny, pretrained=True, pretrained_path=str(tmp_path / "model.pth"))


def test_pretrained_refuses_what_does_not_fit(trained, tmp_path):
    state = trained.net.state_dict()
    del state["blocks.0.attn.qkv.weight"]
    torch.save(state, tmp_path / "incomplete.pth")
    with pytest.raises(UserError, match=r"it has no 'blocks.0.attn.qkv.weight'; 1 missing"):
        load(tmp_path / "incomplete.pth")
    torch.save({"foreign": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=r"does not hold all weights"):
        load(tmp_path / "foreign.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(UserError, match="is no checkpoint"):
        load(tmp_path / "text.pth")
    with pytest.raises(UserError, match="cannot read"):
        load(tmp_path / "gone.pth")


def test_timms_weights(monkeypatch):
    asked = {}

    def create_model(name, **kwargs):
        asked.update(kwargs, name=name)
        raise FileNotFoundError("no connection, and the file is not in the cache")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(UserError, match=r"cannot download .*pretrain_path.*use_pretrain: false"):
        load("", SMALL + ".r160_in1k")
    assert asked == {
        "name": "test_vit.r160_in1k",
        "pretrained": True,
        "num_classes": 5,
        "img_size": (32, 32),
    }
    with pytest.raises(UserError, match="timm has no weights for 'coatnet_0_224'"):
        load("", "coatnet_0_224")


def test_timm_adapts_pretrained_weights_to_other_channels(tmp_path):
    torch.manual_seed(1)
    rgb = timm_builder("resnet10t", img_size=32)(num_classes=5)
    torch.save(rgb.net.state_dict(), tmp_path / "rgb.pth")
    found = timm_builder("resnet10t", img_size=32)(
        num_classes=5, pretrained=True, pretrained_path=str(tmp_path / "rgb.pth"), in_channels=4
    )
    first, of_rgb = (net.net.conv1[0].weight for net in (found, rgb))
    expected = torch.cat([of_rgb, of_rgb[:, :1]], dim=1) * 3 / 4
    torch.testing.assert_close(first, expected)
    with pytest.raises(UserError, match="takes 4 channels, not 3: set channels"):
        found(torch.zeros(2, 3, 32, 32))
