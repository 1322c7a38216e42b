"""What tells two splits of the same data apart, and two data sets of the same name."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

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
