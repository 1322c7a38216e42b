"""Decoded images kept on disk for as long as the files that they were made from stay the same.

A file of the cache is a page of JSON, which says whose pixels it holds, and the pixels.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from metasemi_plugin.errors import UserError

log = logging.getLogger(__name__)

HEADER = 4096  # bytes
LARGEST_SHARE = 1 / 4  # of the machine's memory; more than that is mapped from the disk


def cached_images(
    file: Path,
    fingerprint: str,
    shape: tuple[int, ...],
    fill: Callable[[np.ndarray], dict[str, Any]],
) -> tuple[np.ndarray, dict[str, Any]]:
    """The images stored in `file` under `fingerprint`; else what `fill` makes, which is stored.

    The file is replaced in one step, so that no other run ever reads half of it. Where it cannot
    be written, the images are not stored and a warning is logged.

    Args:
        file: made if it is missing, and the folder that it is in.
        fingerprint: of what the images are made from, and how.
        shape: of the images, which are uint8.
        fill: fills an array of that shape; returns what else there is to know, fit for JSON.

    Returns:
        The images, in memory or, if they are more than a quarter of the machine's, mapped from the
        file; and what `fill` has returned.

    Raises:
        UserError: they must be mapped, and the file cannot be written.
    """
    size = int(np.prod(shape))
    mapped = size > LARGEST_SHARE * psutil.virtual_memory().total
    stored = _read(file, fingerprint, shape, mapped)
    if stored is not None:
        return stored
    if mapped:
        try:
            with _replacing(file) as part:
                found = _fill_on_disk(part, fingerprint, shape, fill)
        except OSError as error:
            raise UserError(
                f"the {size / 2**30:.1f} GiB of decoded images are too many for this machine's "
                f"memory and cannot be stored in {file.parent} ({error.strerror or error}): make "
                "it writable, with room for them, or lower img_size"
            ) from error
        return _map(file, shape, "r"), found
    images = np.empty(shape, dtype=np.uint8)
    found = fill(images)
    try:
        with _replacing(file) as part, open(part, "wb") as stream:
            stream.write(_header(fingerprint, found))
            stream.write(images.data)
    except OSError as error:
        log.warning("cannot store decoded images, they are decoded anew each time: %s", error)
    return images, found


def _read(
    file: Path, fingerprint: str, shape: tuple[int, ...], mapped: bool
) -> tuple[np.ndarray, dict[str, Any]] | None:
    try:
        with open(file, "rb") as stream:
            header = json.loads(stream.read(HEADER))
            if header["fingerprint"] != fingerprint:
                return None
            images = _map(file, shape, "r") if mapped else np.fromfile(stream, dtype=np.uint8)
            return images.reshape(shape), header["found"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("cannot use %s, making it anew: %s", file, error)
        return None


def _header(fingerprint: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"fingerprint": fingerprint, "found": found}).encode().ljust(HEADER)


def _map(file: Path, shape: tuple[int, ...], mode: str) -> np.memmap:
    return np.memmap(file, dtype=np.uint8, mode=mode, offset=HEADER, shape=shape)  # type: ignore[call-overload]


def _fill_on_disk(
    part: Path,
    fingerprint: str,
    shape: tuple[int, ...],
    fill: Callable[[np.ndarray], dict[str, Any]],
) -> dict[str, Any]:
    """Write the file without ever having all images in memory."""
    length, block = HEADER + int(np.prod(shape)), bytes(2**20)
    with open(part, "wb") as stream:
        # Zeros: on a full disk, writing into a mapped file that has no room would end the process.
        for start in range(0, length, len(block)):
            stream.write(block[: length - start])
    images = _map(part, shape, "r+")
    found = fill(images)
    images.flush()
    with open(part, "r+b") as stream:
        stream.write(_header(fingerprint, found))
    return found


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """A path to write to, moved to `file` if all goes well."""
    file.parent.mkdir(exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
