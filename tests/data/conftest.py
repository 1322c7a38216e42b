import argparse

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_args(tmp_path):
    """A resolved configuration with some keys changed."""

    def make(**changes):
        args = {
            "dataset": "digits",
            "algorithm": "metasemi",
            "num_classes": 10,
            "num_labels": 40,
            "img_size": 8,
            "crop_ratio": 0.875,
            "data_dir": str(tmp_path),
            "seed": 0,
            "include_lb_to_ulb": True,
            "num_val": 0,
            "flip": True,
        }
        return argparse.Namespace(**{**args, **changes})

    return make


@pytest.fixture
def add_images(tmp_path):
    """Write `count` images of one random colour each into a folder below `tmp_path`."""

    def add(folder, count, start=0):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(folder) + start)
        for i in range(start, start + count):
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            Image.new("RGB", (8, 8), colour).save(tmp_path / folder / f"{i}.png")

    return add
