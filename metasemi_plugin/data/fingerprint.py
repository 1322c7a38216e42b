"""What tells two splits of the same data apart, and two data sets of the same name."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from metasemi_plugin.data.notes import Notes
from metasemi_plugin.data.rows import Rows, blocks


def fingerprint(parts: Mapping[str, Iterable[np.ndarray | Rows]]) -> str:
    """SHA-256, in hex, of the names of the parts and of the kind, shape and values of their arrays.

    It is the same whatever the order of an array's values in memory.
    """
    digest = hashlib.sha256()
    for name, arrays in parts.items():
        for array in arrays:
            digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
            for block in blocks(array):  # because some must be copied
                digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


class SplitRecord(NamedTuple):
    """What identifies the split of a run.

    `positions`: part -> int64, where its images stand among all images of the data set; empty for
    semilearn's own data sets, which do not tell. `hash`: SHA-256 over pixels, targets and
    positions of all parts. `notes`: how the data were read.
    """

    positions: dict[str, np.ndarray]
    hash: str
    notes: Notes


def split_record(parts: Mapping[str, Any]) -> SplitRecord:
    """The record of the parts that `build_splits` returned; reads all pixels once."""
    positions = {
        name: part.positions
        for name, part in parts.items()
        if getattr(part, "positions", None) is not None
    }
    arrays = {
        name: [
            part.images if hasattr(part, "images") else part.data,
            part.targets,
            *([positions[name]] if name in positions else []),
        ]
        for name, part in parts.items()
        if part is not None
    }
    notes = getattr(parts["train_lb"], "notes", Notes())
    return SplitRecord(positions, fingerprint(arrays), notes)
