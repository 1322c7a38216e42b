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
