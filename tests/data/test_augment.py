import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional as tvf

from metasemi_plugin.data import augment


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def marked(batch, height=7, width=9):
    """Every pixel says where it was: (row, column, 99)."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, np.full_like(rows, 99)], axis=-1).astype(np.uint8)
    return np.repeat(image[None], batch, axis=0)


def noise(batch, size=8):
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("padding_mode", ["reflect", "constant"])
@pytest.mark.parametrize("flip", [False, True])
def test_weak_is_a_crop_of_the_padded_image_then_mirrored(padding_mode, flip):
    pad, images = 2, marked(600)
    padded = np.pad(images[0], ((pad, pad), (pad, pad), (0, 0)), mode=padding_mode)
    moved = augment.translate_and_flip(images, pad, flip, padding_mode, seeded())

    assert moved.dtype == np.uint8
    assert moved.shape == images.shape
    seen = []
    for image in moved:
        mirrored = image[3, 4, 1] > image[3, 5, 1]
        upright = image[:, ::-1] if mirrored else image
        top, left = int(upright[3, 4, 0]) - 3 + pad, int(upright[3, 4, 1]) - 4 + pad
        np.testing.assert_array_equal(upright, padded[top : top + 7, left : left + 9])
        seen.append((top, left, bool(mirrored)))
    assert len(set(seen)) == 25 * (2 if flip else 1)  # every displacement occurs
    assert not flip or 240 < sum(mirrored for *_, mirrored in seen) < 360


def test_weak_with_nothing_to_do_is_a_copy():
    images = marked(3)
    same = augment.translate_and_flip(images, 0, False, "reflect", seeded())
    np.testing.assert_array_equal(same, images)
    assert not np.shares_memory(same, images)


def test_weak_depends_on_the_generator_alone():
    def draw(seed):
        return augment.translate_and_flip(marked(50), 3, True, "reflect", seeded(seed))

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()


def test_normalize_is_torchvisions():
    images, mean, std = noise(5), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)
    x = augment.normalize(images, mean, std)
    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    torch.testing.assert_close(x, torch.stack([reference(image) for image in images]))
    assert x.is_contiguous()


def test_normalize_can_be_undone():
    images, mean, std = noise(5), (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)
    before = images.copy()
    x = augment.normalize(images, mean, std).permute(0, 2, 3, 1)
    restored = (x * torch.tensor(std) + torch.tensor(mean)).mul(255).round().to(torch.uint8)
    np.testing.assert_array_equal(restored.numpy(), before)
    np.testing.assert_array_equal(images, before)


def test_rotate_is_torchvisions():
    x = torch.rand(40, 3, 5, 5)
    rotated, turns = augment.rotate(x, seeded())
    assert turns.dtype == torch.int64
    assert set(turns.tolist()) == {0, 1, 2, 3}
    for image, turned, k in zip(x, rotated, turns.tolist(), strict=True):
        torch.testing.assert_close(turned, tvf.rotate(image, 90 * k), rtol=0, atol=0)


def test_rotate_depends_on_the_generator_alone():
    x = torch.rand(40, 3, 5, 5)
    assert torch.equal(augment.rotate(x, seeded(1))[1], augment.rotate(x, seeded(1))[1])
    assert not torch.equal(augment.rotate(x, seeded(1))[1], augment.rotate(x, seeded(2))[1])
