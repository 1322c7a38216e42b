"""Runs on images that are not RGB."""

import numpy as np
import pytest
from torch import nn

import metasemi_plugin
from metasemi_plugin import train
from metasemi_plugin.data import DATASETS
from metasemi_plugin.data.splits import Images, make_splits
from metasemi_plugin.errors import UserError
from metasemi_plugin.host.config import resolve


class Four(nn.Module):
    """For 4 channels, as its builder knows by itself."""

    num_features = 4

    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, num_classes)

    def forward(self, x, **kwargs):
        feat = self.body(x).mean((2, 3))
        return {"logits": self.head(feat), "feat": feat}


def four(num_classes, pretrained=False, pretrained_path=None):
    return Four(num_classes)


@pytest.fixture
def options(tiny_run):
    """Of a run on a data set of one's own of 4 channels, registered for as long as the test."""

    def bands(args, ulb_views):
        pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 4), dtype=np.uint8)
        part = Images(pixels, np.arange(30) % 3)
        return make_splits(
            args, ulb_views, train=part, test=part, class_names=list("abc"), flip=True
        )

    metasemi_plugin.register_dataset("bands", bands)
    yield lambda algorithm="metasemi", **changes: tiny_run(
        algorithm,
        **{"dataset": "bands", "num_classes": 3, "num_labels": 15, "net": f"{__name__}:four"}
        | changes,
    )
    del DATASETS["bands"]


@pytest.mark.parametrize("changes", [{}, {"channels": 4}, {"net": "cnn13_slim"}])
def test_a_data_set_of_ones_own_has_the_channels_of_its_arrays(options, changes):
    assert train(**options(**changes))["iterations"] == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 5}, "channels: 5, but images of bands have 4"),
        ({"net": "tiny:net"}, r"net: 'tiny:net' fails on a 16x16x4 image \(a builder with the par"),
        ({"algorithm": "fixmatch"}, "channels: fixmatch wants strong views .* 4 channels do not"),
    ],
)
def test_what_does_not_fit_is_said_before_the_run_begins(options, changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        train(**options(**changes))
    assert not (tmp_path / "run.json").exists()
    assert not list(tmp_path.glob("*/config.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "cifar10", "channels": 1}, "channels: images of cifar10 have 3: set it so"),
        ({"dataset": "digits", "channels": 4}, "channels: images of digits have 1 or 3: set it so"),
        ({"dataset": "pathmnist", "channels": 1}, "channels: images of pathmnist have 3: set"),
        ({"dataset": "image_folder", "channels": 0}, "channels: must be at least 1, not 0"),
        (
            {"dataset": "image_folder", "channels": 4, "algorithm": "remixmatch"},
            "channels: remixmatch wants strong views .* such as metasemi",
        ),
    ],
)
def test_channels_that_no_run_can_have(changes, message):
    with pytest.raises(UserError, match=message):
        resolve(None, changes)


@pytest.mark.parametrize("algorithm", ["metasemi", "fixmatch"])
def test_a_gray_data_set_trains_on_one_channel(tiny_run, algorithm):
    assert train(**tiny_run(algorithm, net="cnn13_slim", channels=1))["iterations"] == 6
