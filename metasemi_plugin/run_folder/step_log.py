"""What the steps of a run log, on the device until it is read."""

from collections.abc import Iterator

import torch
from torch import Tensor


def packed(log_dict: dict, finite: Tensor) -> tuple[list[str], Tensor]:
    """Names of what is a tensor (), and all of them after ``finite``, (), as one vector."""
    found = {name: value for name, value in log_dict.items() if isinstance(value, Tensor)}
    dtype = next((t.dtype for t in found.values() if t.is_floating_point()), torch.float32)
    return list(found), torch.stack([t.detach().to(dtype) for t in (finite, *found.values())])


class StepLog:
    """The log_dict of each iteration; its tensors are read of many iterations at once.

    ``lines`` are those that have been read, for whoever keeps them.
    """

    def __init__(self) -> None:
        self.lines: list[dict] = []
        self._waiting: list[tuple[int, dict, list[str], Tensor]] = []

    def add(self, it: int, log_dict: dict, names: list[str], vector: Tensor) -> None:
        """The log of an iteration, in which the names stand for the numbers of the vector."""
        self._waiting.append((it, log_dict, names, vector))

    def read(self) -> Iterator[tuple[int, bool]]:
        """Each iteration that waits, and whether its numbers were finite; numbers replace tensors.

        It waits for the device.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        numbers = iter(torch.cat([vector for *_, vector in waiting]).tolist())
        for it, log_dict, names, _ in waiting:
            finite = bool(next(numbers))
            log_dict.update((name, next(numbers)) for name in names)
            self.lines.append(log_dict)
            yield it, finite
