"""Data sets: each a function from the configuration to labelled, unlabelled and test images."""

import argparse
from collections.abc import Callable, Mapping

from metasemi_plugin.data import digits, image_folder
from metasemi_plugin.data.arrays import ImageArrays
from metasemi_plugin.data.splits import Splits

__all__ = ["DATASETS", "ImageArrays", "Splits"]

DATASETS: dict[str, Callable[[argparse.Namespace, Mapping[str, str]], Splits]] = {
    "digits": digits.build,
    "image_folder": image_folder.build,
}
