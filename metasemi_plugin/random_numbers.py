"""The state of every global random number generator, as one value that a checkpoint can hold."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def state() -> dict:
    """State of Python's, NumPy's and torch's generators (all CUDA devices that are in use).

    Plain containers and tensors only, so that ``torch.load(weights_only=True)`` reads it.
    """
    kind, keys, *rest = np.random.get_state(legacy=True)
    version, numbers, gauss = random.getstate()
    return {
        "python": [version, torch.tensor(numbers), gauss],
        "numpy": [kind, torch.tensor(np.asarray(keys, dtype=np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_state(saved: dict) -> None:
    """Restore what :func:`state` returned."""
    version, numbers, gauss = saved["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(saved["torch"])
    for device, numbers in enumerate(saved["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(numbers, device)


def equal(one: object, other: object) -> bool:
    """Whether two states, or parts of them, are the same."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def seed_all(seed: int) -> None:
    """Seed every global generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def untouched() -> Iterator[None]:
    """What happens inside leaves no trace in the global generators."""
    saved = state()
    try:
        yield
    finally:
        set_state(saved)
