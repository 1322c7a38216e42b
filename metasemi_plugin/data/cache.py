"""One array kept on disk for as long as what it was made from stays the same."""

import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)


def cached_array(file: Path, fingerprint: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array stored in `file` under `fingerprint`; else `make()`, which is then stored.

    The file is replaced in one step, so that no other run ever reads half of it. Where it cannot
    be written, the array is not stored and a warning is logged.
    """
    stored = _read(file, fingerprint)
    if stored is not None:
        return stored
    array = make()
    try:
        _write(file, fingerprint, array)
    except OSError as error:
        log.warning("cannot store decoded images, they are decoded anew each time: %s", error)
    return array


def _read(file: Path, fingerprint: str) -> np.ndarray | None:
    try:
        # Opened here, because np.load leaves a file open that it cannot use.
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return stored["array"] if str(stored["fingerprint"]) == fingerprint else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("cannot use %s, making it anew: %s", file, error)
        return None


def _write(file: Path, fingerprint: str, array: np.ndarray) -> None:
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            np.savez(stream, fingerprint=np.array(fingerprint), array=array)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
