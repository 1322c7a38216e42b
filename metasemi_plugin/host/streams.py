"""Endless, seeded readings of a training set, in which a position alone restores everything.

A loader asks for positions 0, 1, 2, ... of a stream. Position p stands for an image (each pass over
the set is a permutation drawn from (seed, stream, pass)), and a batch's augmentation is drawn from
(seed, stream, first position). So the data of an iteration depend on the seed and the iteration
only: not on the number of workers, of epochs or of evaluations, nor on a resume. Nor do they depend
on the number of processes: each draws the augmentation of the whole batch and keeps its own part.
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, default_collate

from metasemi_plugin import random_numbers
from metasemi_plugin.distributed import collectives


class Stream(Dataset):
    """Training set ``dataset`` read along the positions of stream number ``stream``.

    Args:
        dataset: has ``read(indices, generator)`` (whole batches), or is any map-style data set.
        seed: the run's seed.
        stream: tells the labeled and the unlabeled stream apart.
    """

    def __init__(self, dataset, seed: int, stream: int):
        self.dataset = dataset
        self.key = (seed, stream)
        self.rank = (
            collectives.rank(),
            collectives.world_size(),
        )  # as worker processes are no part of the run

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, positions: list[int]) -> dict | list[dict]:
        """This process's samples of the batch at these positions, for `collated`.

        The batch is that of all processes; its parts are consecutive, and equal if it divides.
        """
        own = collectives.share(len(positions), *self.rank)
        indices = self.indices(positions)
        seed = np.random.SeedSequence((*self.key, 1, positions[0])).generate_state(1)[0]
        if hasattr(self.dataset, "read"):
            batch = self.dataset.read(indices, torch.Generator().manual_seed(int(seed)))
            if any(len(value) != len(positions) for value in batch.values()):
                raise ValueError(f"read gave other than {len(positions)} samples")
            return {key: value[own] for key, value in batch.items()}
        with random_numbers.untouched():
            random_numbers.seed_all(int(seed))
            return [self.dataset[i] for i in indices][own]

    def indices(self, positions: list[int]) -> list[int]:
        """Indices in ``dataset`` of the images at these positions."""
        length = len(self)
        passes = [divmod(position, length) for position in positions]
        orders = {number: _order((*self.key, 0, number), length) for number, _ in passes}
        return [int(orders[number][offset]) for number, offset in passes]


def collated(batch: dict | list[dict]) -> dict:
    """A batch that has been read whole as it is, samples one under the other."""
    return batch if isinstance(batch, dict) else default_collate(batch)


@functools.lru_cache(maxsize=8)  # the labeled and the unlabeled stream, and those beside them
def _order(seed: tuple[int, ...], length: int) -> np.ndarray:
    """The permutation of one pass."""
    return np.random.default_rng(seed).permutation(length)


class Positions(Sampler):
    """The positions of iterations ``start`` to ``stop`` - 1, ``batch_size`` each."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.start = self.stop = 0

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start * self.batch_size, self.stop * self.batch_size))
