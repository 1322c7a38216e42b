"""Rows of large arrays, without copies of them."""

from collections.abc import Iterator, Sequence

import numpy as np


class Rows:
    """Some rows of arrays that follow one another; they are copied when they are read.

    So the parts of a split share the images that the data set has read. A process to which this is
    sent gets its rows alone.

    Args:
        arrays: of one dtype and shape but for their lengths; at least one.
        rows: int (N,), counted on from one array to the next; None: all.
    """

    def __init__(self, arrays: Sequence, rows: np.ndarray | None = None):
        self.arrays = arrays
        self.starts = np.cumsum([0, *map(len, arrays)])
        self.rows = np.arange(self.starts[-1]) if rows is None else rows
        self.dtype, self.shape = arrays[0].dtype, (len(self.rows), *arrays[0].shape[1:])

    def at(self, positions: np.ndarray) -> "Rows":
        """Those at `positions`."""
        return Rows(self.arrays, self.rows[positions])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        rows = self.rows[key]
        read = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for array, start in zip(self.arrays, self.starts, strict=False):
            here = (start <= rows) & (rows < start + len(array))
            if here.all():
                return array[rows - start]
            read[here] = array[rows[here] - start]
        return read

    def __reduce__(self):
        return Rows, ([self[:]],)


def blocks(array: np.ndarray | Rows, size: int = 2**20) -> Iterator[np.ndarray]:
    """All rows of an array, some `size` bytes at a time."""
    row = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    step = max(1, size // max(1, row))
    for start in range(0, len(array), step):
        yield array[start : start + step]
