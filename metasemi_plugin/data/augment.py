"""Views of a batch of images, a whole batch at a time, all chance drawn from one generator.

Shapes: B images of H x W pixels in C channels. Images stay uint8 (B, H, W, C) in numpy until the
last step, `normalize`: moving bytes is four times cheaper than moving floats.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metasemi_plugin.data.rows import Rows

PaddingMode = Literal["reflect", "constant"]


def translate_and_flip(
    images: np.ndarray,
    pad: int,
    flip: bool,
    padding_mode: PaddingMode,
    generator: torch.Generator,
) -> np.ndarray:
    """Move every image by up to `pad` pixels each way, then mirror half of them if `flip`.

    The same distribution as `RandomCrop(size, padding=pad)` and `RandomHorizontalFlip()`.

    Args:
        images: uint8 (B, H, W, C).
        pad: largest displacement, in pixels, at most H - 1 and W - 1.
        flip: whether to mirror left and right with probability 1/2.
        padding_mode: what moves in at the border: the mirrored image, or black ("constant").
        generator: source of all chance.

    Returns:
        uint8 (B, H, W, C), a new array.
    """
    batch, height, width, channels = images.shape
    shift = torch.randint(-pad, pad + 1, (2, batch, 1), generator=generator).numpy()
    columns = np.broadcast_to(np.arange(width), (batch, width))
    if flip:
        mirrored = torch.rand((batch, 1), generator=generator).numpy() < 0.5
        columns = np.where(mirrored, width - 1 - columns, columns)
    rows, columns = np.arange(height) + shift[0], columns + shift[1]  # (B, H), (B, W)

    inside_rows, inside_columns = _into_range(rows, height), _into_range(columns, width)
    first = np.arange(batch)[:, None] * height
    pixel = ((first + inside_rows) * width)[:, :, None] + inside_columns[:, None, :]  # (B, H, W)
    # numpy, not torch: one flat `take` is as fast on one thread as any torch gather on several.
    moved = np.take(images.reshape(-1, channels), pixel, axis=0)
    if padding_mode == "constant":
        moved[(rows != inside_rows)[:, :, None] | (columns != inside_columns)[:, None, :]] = 0
    return moved


def _into_range(position: np.ndarray, size: int) -> np.ndarray:
    """Reflect positions outside 0..size-1 at the border pixel, which is not repeated."""
    return (size - 1) - np.abs((size - 1) - np.abs(position))


def normalize(images: np.ndarray | Rows, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale to 0..1, subtract the channels' `mean` and divide by their `std` (in the same units).

    Args:
        images: uint8 (B, H, W, C).
        mean: one value a channel.
        std: one value a channel, not 0.

    Returns:
        float32 (B, C, H, W).
    """
    channels_first = torch.from_numpy(images[:]).permute(0, 3, 1, 2)
    x = channels_first.to(torch.float32, memory_format=torch.contiguous_format)
    shift = torch.tensor(mean, dtype=torch.float32)[:, None, None]
    scale = torch.tensor(std, dtype=torch.float32)[:, None, None]
    return x.mul_(1 / 255).sub_(shift).div_(scale)


def rotate(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn every image by k quarter turns anticlockwise, k drawn per image.

    Args:
        x: (B, C, H, H); square, or a quarter turn would change the shape.
        generator: source of all chance.

    Returns:
        The turned images (B, C, H, H), and k as int64 (B,) in 0..3.
    """
    turns = torch.randint(4, (len(x),), generator=generator)
    rotated = x.clone()
    for k in (1, 2, 3):
        rotated[turns == k] = torch.rot90(x[turns == k], k, (2, 3))
    return rotated, turns
