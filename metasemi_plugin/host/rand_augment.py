"""semilearn's RandAugment, as the strong view of a batch."""

import numpy as np
import torch
from PIL import Image
from semilearn.datasets.augmentation import RandAugment

from metasemi_plugin import random_numbers

CHANNELS = (1, 3)


def rand_augment(images: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """The host's `RandAugment(3, 5)` with its cutout, one image after the other.

    It draws from the global generators of `random` and `numpy.random`: they are seeded from
    `generator` for the length of this call and put back as they were.

    Args:
        images: uint8 (B, H, W, C), C one of CHANNELS; gray ones are augmented as RGB.
        generator: source of all chance.

    Returns:
        uint8 (B, H, W, C), a new array.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    with random_numbers.untouched():
        random_numbers.seed_all(seed)
        augment = RandAugment(3, 5)
        rgb = np.broadcast_to(images, (*images.shape[:3], 3))
        strong = [np.asarray(augment(Image.fromarray(image))) for image in rgb]
    return np.stack(strong)[..., : images.shape[3]] if strong else images.copy()
