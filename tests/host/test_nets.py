import argparse

import pytest
import torch

from metasemi_plugin.errors import UserError
from metasemi_plugin.host.nets import net_builder


def builder(net, **net_args):
    return net_builder(argparse.Namespace(net=net, net_args=net_args, img_size=32, channels=3))


@pytest.mark.parametrize("net", ["cnn13_slim", "wrn_28_2", "timm/resnet10t"])
def test_pretrained_weights_are_those_that_were_evaluated(net, tmp_path, capsys):
    """Of a checkpoint's student and teacher, the teacher; all but the classifier."""
    student, teacher = (builder(net)(num_classes=4) for _ in range(2))
    states = {"model": student.state_dict(), "ema_model": teacher.state_dict()}
    torch.save(states, tmp_path / "latest_model.pth")
    path = str(tmp_path / "latest_model.pth")
    found = builder(net)(num_classes=7, pretrained=True, pretrained_path=path).state_dict()
    loaded = {k for k, t in states["ema_model"].items() if t.shape == found[k].shape and t.ndim > 1}
    assert loaded == {k for k, t in found.items() if t.ndim > 1 and t.shape[0] != 7}
    assert all(torch.equal(found[k], states["ema_model"][k]) for k in loaded)
    assert not any(torch.equal(found[k], states["model"][k]) for k in loaded)


@pytest.mark.parametrize("net", ["cnn13_slim", "wrn_28_2", "timm/resnet10t"])
def test_a_file_that_is_missing_is_named(net, tmp_path):
    with pytest.raises(UserError, match=r"pretrain_path: cannot read .*nothing"):
        builder(net)(num_classes=7, pretrained=True, pretrained_path=str(tmp_path / "nothing"))


HOSTS = ("wrn_28_2", "wrn_var_37_2", "resnet50", "vit_tiny_patch2_32")


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("net", ["cnn13_slim", "timm/resnet10t", *HOSTS])
def test_a_net_takes_the_channels_of_the_images(net, channels):
    args = argparse.Namespace(net=net, net_args={}, img_size=32, channels=channels)
    found = net_builder(args)(num_classes=3, pretrained=False, pretrained_path="")
    assert found(torch.randn(2, channels, 32, 32))["logits"].shape == (2, 3)
    rgb = builder(net)(num_classes=3)
    shapes = [{k: t.shape for k, t in one.state_dict().items()} for one in (found, rgb)]
    changed = [k for k in shapes[0] if shapes[0][k] != shapes[1][k]]
    assert len(changed) == 1
    assert shapes[0].keys() == shapes[1].keys()
    if net in HOSTS[:3]:
        stds = [one.conv1.weight.std().item() for one in (found, rgb)]
        assert stds[0] == pytest.approx(stds[1], rel=0.15)


def test_the_hosts_pretrained_weights_are_for_rgb(tmp_path):
    args = argparse.Namespace(net="wrn_28_2", net_args={}, img_size=32, channels=4)
    with pytest.raises(UserError, match=r"use_pretrain: .*wrn_28_2 are for .* 3 channels, not 4"):
        net_builder(args)(num_classes=3, pretrained=True, pretrained_path="x")


def test_of_cnn13_weights_of_other_channels_are_refused(tmp_path):
    torch.save(builder("cnn13_slim")(num_classes=3).state_dict(), tmp_path / "rgb.pth")
    args = argparse.Namespace(net="cnn13_slim", net_args={}, img_size=32, channels=4)
    with pytest.raises(UserError, match=r"pretrain_path: .*no checkpoint of this.*size mismatch"):
        net_builder(args)(num_classes=3, pretrained=True, pretrained_path=str(tmp_path / "rgb.pth"))


def told(num_classes, pretrained, pretrained_path, in_channels=3):
    return torch.nn.Conv2d(in_channels, num_classes, 1)


def untold(num_classes, pretrained, pretrained_path):
    return torch.nn.Conv2d(4, num_classes, 1)


def test_a_builder_of_ones_own_is_told_if_it_asks():
    for name in ("told", "untold"):
        net = f"{__name__}:{name}"
        args = argparse.Namespace(net=net, net_args={}, img_size=32, channels=4)
        built = net_builder(args)(num_classes=3, pretrained=False, pretrained_path="")
        assert built.in_channels == 4
