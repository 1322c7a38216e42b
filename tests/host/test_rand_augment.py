import random

import numpy as np
import torch

from metasemi_plugin.host.rand_augment import rand_augment


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(batch, size=8):
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


def global_states():
    return (
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        torch.get_rng_state().tolist(),
    )


def test_rand_augment_leaves_the_global_generators_alone():
    before = global_states()
    rand_augment(noise(4), seeded())
    assert global_states() == before


def test_rand_augment_depends_on_the_generator_alone():
    first = rand_augment(noise(16), seeded(1))
    random.random()
    np.random.random()
    np.testing.assert_array_equal(rand_augment(noise(16), seeded(1)), first)
    assert (rand_augment(noise(16), seeded(2)) != first).any()


def test_rand_augment_is_the_hosts_with_its_own_draw_for_every_image():
    images = np.repeat(noise(1, size=32), 16, axis=0)
    before = images.copy()
    strong = rand_augment(images, seeded())
    np.testing.assert_array_equal(images, before)
    assert strong.dtype == np.uint8
    assert strong.shape == images.shape
    assert len({image.tobytes() for image in strong}) > 12
    # the host's cutout, a gray rectangle that no other operation paints
    assert sum((image == (125, 123, 114)).all(-1).sum() > 8 for image in strong) > 8


def test_gray_images_are_augmented_as_rgb():
    gray = noise(16, size=32)[..., :1]
    strong = rand_augment(gray, seeded())
    of_rgb = rand_augment(np.repeat(gray, 3, axis=3), seeded())
    assert strong.shape == gray.shape
    assert (strong != gray).any(axis=(1, 2, 3)).sum() > 12
    np.testing.assert_array_equal(strong, of_rgb[..., :1])
