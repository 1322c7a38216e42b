"""Image files of any common kind and size -> one uint8 RGB array."""

import os
import warnings
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from metasemi_plugin.errors import UserError


def decode_files(files: Sequence[str], size: int) -> np.ndarray:
    """Decode all files, in parallel threads; Pillow releases the interpreter lock at work.

    Returns:
        uint8 (len(files), size, size, 3); each image as `decode` makes it.

    Raises:
        UserError: some files cannot be read, or are so large that Pillow takes them for
            decompression bombs; names the first few and says how many there are.
    """
    images = np.empty((len(files), size, size, 3), dtype=np.uint8)

    def decode_into(row: int) -> str | None:
        try:
            if os.path.exists(files[row]) and not os.path.isfile(files[row]):
                return f"{files[row]} (not a regular file)"  # a pipe would never end
            images[row] = decode(files[row], size)
        except Exception as error:  # Pillow's readers raise almost anything on a broken file
            return f"{files[row]} ({' '.join(str(error).split())})"
        return None

    with warnings.catch_warnings(), ThreadPool() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # In chunks, because handing over one small image costs more than decoding it.
        results = pool.imap(decode_into, range(len(files)), chunksize=16)
        # disable=None: no bar unless stderr is a terminal
        progress = tqdm(results, "decoding images", len(files), unit=" images", disable=None)
        unreadable = [failure for failure in progress if failure]
    if unreadable:
        more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        raise UserError(
            f"{len(unreadable)} of {len(files)} images cannot be read; repair or remove them: "
            f"{'; '.join(unreadable[:3])}{more}"
        )
    return images


def decode(file: str, size: int) -> np.ndarray:
    """One file as RGB: its first frame, upright (EXIF), resized and cropped to a square.

    The shorter side is resized to `size` (bilinear, antialiased) and the centre is cropped. 16-bit
    greyscale is scaled to 8 bits, and transparency is dropped.

    Returns:
        uint8 (size, size, 3).
    """
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode == "P":  # by way of RGBA: a palette may hold transparent colours
            image = image.convert("RGBA")
        rgb = image.convert("RGB")
        return np.asarray(ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR))
