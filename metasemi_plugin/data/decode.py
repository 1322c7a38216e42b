"""Image files of any kind, mode and size that Pillow opens -> uint8 RGB, gray, or more channels.

Shapes: images of H x W pixels in C channels. Pillow's images have 1 or 3 here; what has another
number, and what a .npy file holds, is an array (H, W, C).
"""

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from tqdm import tqdm

from metasemi_plugin.errors import UserError

with contextlib.suppress(ImportError):
    import pillow_heif  # not needed: HEIC and HEIF where it is installed

    pillow_heif.register_heif_opener()

# Pillow knows their names, and has others read them or only writes them.
_NOT_READ = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF")
ENDINGS = frozenset(
    ending for ending, kind in Image.registered_extensions().items() if kind not in _NOT_READ
)

GRAY, RGB = 1, 3
SAMPLES_PER_PIXEL = 277  # of TIFF


def endings(channels: int) -> frozenset[str]:
    """Of the files that are images of so many channels: NumPy's too, if not of RGB."""
    return ENDINGS if channels == RGB else ENDINGS | {".npy"}


# How an image that is not square becomes so: its edges are cut off, black is added, or it is bent.
RESIZE: dict[str, Callable[..., Image.Image]] = {
    "crop": ImageOps.fit,
    "pad": ImageOps.pad,
    "stretch": Image.Image.resize,
}

# What counts as black and as white: "integer" (of more than 8 bits) and "float" -> lowest, highest.
Ranges = Mapping[str, Sequence[float]]
Picture = Image.Image | np.ndarray


class Decoded(NamedTuple):
    """What decoding has found out.

    Attributes:
        ranges: of all images together that have more than 8 bits a channel, but for `cut`.
        cut: how many have 16 bits a channel of several, of which Pillow reads the upper 8.
    """

    ranges: Ranges
    cut: int


def decode_files(files: Sequence[str], images: np.ndarray, resize: str = "crop") -> Decoded:
    """Decode all files, in parallel threads; Pillow releases the interpreter lock at work.

    Args:
        files: N paths.
        images: uint8 (N, size, size, C), to be filled: each image as `decode` makes it, with one
            range for all.
        resize: a key of RESIZE.

    Raises:
        UserError: some files cannot be read, or are so large that Pillow takes them for
            decompression bombs; names the first few and says how many there are.
    """
    size, channels = images.shape[2:]
    spans: dict[int, tuple[str, float, float]] = {}
    cut: list[int] = []

    def first(row: int) -> None:
        image, upper_bits_only = _open(files[row], channels)
        if upper_bits_only:
            cut.append(row)
        if kind := _deep(image):
            spans[row] = kind, *_span(np.asarray(image))
        else:
            images[row] = _square(image, size, resize, channels)

    def again(row: int) -> None:
        images[row] = decode(files[row], size, resize, ranges, channels)

    _each(first, range(len(files)), files)
    ranges = {
        kind: [
            min(low for k, low, _ in spans.values() if k == kind),
            max(high for k, _, high in spans.values() if k == kind),
        ]
        for kind in sorted({kind for kind, _, _ in spans.values()})
    }
    if spans:
        _each(again, sorted(spans), files)
    return Decoded(ranges, len(cut))


def _each(work: Callable[[int], None], rows: Sequence[int], files: Sequence[str]) -> None:
    """Call `work` for all rows, in threads; what it raises becomes one error."""

    def attempt(row: int) -> str | None:
        try:
            if os.path.exists(files[row]) and not os.path.isfile(files[row]):
                return f"{files[row]} (not a regular file)"  # a pipe would never end
            work(row)
        except Exception as error:  # Pillow's readers raise almost anything on a broken file
            return f"{files[row]} ({' '.join(str(error).split())})"
        return None

    with warnings.catch_warnings(), ThreadPool() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # In chunks, because handing over one small image costs more than decoding it.
        results = pool.imap(attempt, rows, chunksize=16)
        # disable=None: no bar unless stderr is a terminal
        progress = tqdm(results, "decoding images", len(rows), unit=" images", disable=None)
        unreadable = [failure for failure in progress if failure]
    if unreadable:
        more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        raise UserError(
            f"{len(unreadable)} of {len(files)} images cannot be read; repair or remove them: "
            f"{'; '.join(unreadable[:3])}{more}"
        )


def decode(
    file: str,
    size: int,
    resize: str = "crop",
    ranges: Ranges | None = None,
    channels: int = RGB,
) -> np.ndarray:
    """One file: its first frame, upright (EXIF), resized to a square.

    - Images of 8 bits (gray, palette, RGB, CMYK, YCbCr, Lab) become the RGB that they stand for.
    - What is transparent lies on white, or on black where white would leave one color.
    - Of 16-bit, 32-bit, signed and floating-point gray, the lowest value of `ranges` becomes black
      and the highest white. NaN becomes black.
    - Where `channels` is 1, all these become gray.
    - Any other number is that of the file's own channels, or of the pages of a TIFF of one channel
      each; nothing is converted but values of more than 8 bits, as above. A .npy file has it, too.

    Args:
        file: its path.
        size: width and height of the result in pixels.
        resize: "crop" (the shorter side is resized, the center is cropped), "pad" (the longer side
            is resized, the rest is black) or "stretch". Bilinear, antialiased.
        ranges: of the data set; where the image's kind is not in it, this image's own.
        channels: of the result.

    Returns:
        uint8 (size, size, channels).

    Raises:
        ValueError: the image has another number of channels and cannot be converted.
    """
    return decode_image(_open(file, channels)[0], size, resize, ranges, channels)


def decode_image(
    image: Picture,
    size: int,
    resize: str = "crop",
    ranges: Ranges | None = None,
    channels: int = RGB,
) -> np.ndarray:
    """An image that is open already; see `decode`."""
    if kind := _deep(image):
        values = np.asarray(image).astype(np.float64)
        low, high = (ranges or {}).get(kind) or _span(values)
        share = (values - low) / ((high - low) or 1)
        gray = np.nan_to_num(share, nan=0, posinf=1, neginf=0) * 255
        pixels = gray.round().clip(0, 255).astype(np.uint8)
        image = pixels if isinstance(image, np.ndarray) else Image.fromarray(pixels)
    return _square(image, size, resize, channels)


def _open(file: str, channels: int) -> tuple[Picture, bool]:
    """The image, upright, and whether it has colors of which Pillow drops the lower 8 bits."""
    if file.lower().endswith(".npy"):
        return as_channels(np.load(file, allow_pickle=False), channels), False
    try:
        with Image.open(file) as opened:
            cut = not _deep(opened) and re.search(";16[BLN]", str(opened.tile)) is not None
            if channels in (GRAY, RGB):
                return ImageOps.exif_transpose(opened), cut
            return as_channels(_layers(opened, channels), channels), cut
    except UnidentifiedImageError as error:
        if channels in (GRAY, RGB):
            raise
        raise ValueError(f"Pillow cannot read it: {_remedy(channels)}") from error


def _layers(opened: Any, channels: int) -> np.ndarray:
    """The pages of a TIFF, one behind the other, or the channels of an image, upright."""
    if opened.format == "TIFF":
        # The fourth may be left out, or the others be divided by it.
        in_file = opened.tag_v2.get(SAMPLES_PER_PIXEL, 1)
        if in_file != len(opened.getbands()) or "RGBa" in str(opened.tile):
            raise ValueError(f"Pillow does not read its channels as they are: {_remedy(channels)}")
    if opened.format == "TIFF" and opened.n_frames > 1:
        return np.stack([np.asarray(page) for page in ImageSequence.Iterator(opened)], axis=-1)
    return np.asarray(ImageOps.exif_transpose(opened))


def as_channels(values: np.ndarray, channels: int) -> np.ndarray:
    """An image (H, W, C), or gray as (H, W), as an array (H, W, C).

    Raises:
        ValueError: C is not `channels`, or it is no image.
    """
    layers = values[..., None] if values.ndim == 2 else values
    if layers.ndim != 3 or not layers.size or layers.dtype.kind not in "uif":
        raise ValueError(f"{values.dtype} of shape {values.shape}: {_remedy(channels)}")
    if layers.shape[2] != channels:
        found = layers.shape[2]
        raise ValueError(
            f"{found} channels, not {channels}: set channels to {found}, or {_remedy(channels)}"
        )
    return layers


def _remedy(channels: int) -> str:
    return f"save it as .npy of numbers (height, width, {channels})"


def _deep(image: Picture) -> str | None:
    """The kind of values of an image that are not 8 bits, and that Pillow would clip to them."""
    if isinstance(image, np.ndarray):
        kind = "float" if image.dtype.kind == "f" else "integer"
        return None if image.dtype == np.uint8 else kind
    if image.mode == "F":
        return "float"
    return "integer" if image.mode.startswith("I") else None


def _span(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("none of its values is finite")
    return finite.min().item(), finite.max().item()


def _square(image: Picture, size: int, resize: str, channels: int) -> np.ndarray:
    def resized(image: Image.Image) -> np.ndarray:
        return np.asarray(RESIZE[resize](image, (size, size), Image.Resampling.BILINEAR))

    if isinstance(image, Image.Image):
        if channels == RGB:
            return resized(_rgb(image))
        image = np.asarray(_rgb(image).convert("L"))[..., None]
    layers = np.moveaxis(image, 2, 0)
    return np.stack([resized(Image.fromarray(layer)) for layer in layers], axis=2)


def _rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    drawing = image.convert("RGBA")
    on_white, on_black = (
        Image.alpha_composite(Image.new("RGBA", image.size, ground), drawing).convert("RGB")
        for ground in ("white", "black")
    )
    return max(on_white, on_black, key=lambda seen: np.ptp(np.asarray(seen), axis=(0, 1)).any())
