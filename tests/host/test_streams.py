"""Positions decide what a loader gives: not workers, epochs, evaluations or a resume."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from metasemi_plugin.host.streams import Positions, Stream, collated


class Numbers(Dataset):
    """Items are their index beside a random number of the global generator."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return {"i": i, "r": torch.rand(())}


class Batches(Dataset):
    """The same, read a batch at a time with a generator, and only so."""

    def __len__(self):
        return 10

    def read(self, indices, generator):
        return {
            "i": torch.tensor(indices),
            "r": torch.rand(len(indices), generator=generator),
        }


def read(dataset, seed=0, stream=0, start=0, stop=6, workers=0):
    positions = Positions(batch_size=4)
    positions.start, positions.stop = start, stop
    loader = DataLoader(
        Stream(dataset, seed, stream),
        batch_size=4,
        sampler=positions,
        num_workers=workers,
        collate_fn=collated,
    )
    return [(batch["i"].tolist(), batch["r"].tolist()) for batch in loader]


def test_every_pass_holds_each_item_once():
    order = [i for indices, _ in read(Batches(), stop=10) for i in indices]
    passes = [order[k : k + 10] for k in range(0, 40, 10)]
    assert [sorted(p) for p in passes] == [list(range(10))] * 4
    assert len({tuple(p) for p in passes}) == 4


def test_order_and_augmentation_follow_seed_and_stream():
    base = read(Batches())
    assert base == read(Batches())
    for other in (read(Batches(), seed=1), read(Batches(), stream=1)):
        assert [i for i, _ in other] != [i for i, _ in base]
        assert [r for _, r in other] != [r for _, r in base]


def test_no_two_batches_are_augmented_alike():
    for dataset in (Batches(), Numbers()):
        drawn = [number for _, numbers in read(dataset, stop=10) for number in numbers]
        assert len(set(drawn)) == 40


@pytest.mark.parametrize(("seed", "stream"), [(7, 0), (3, 1)])
def test_the_numbers_are_those_of_earlier_versions(seed, stream):
    """As a run that goes on from a checkpoint of theirs must have the same data."""
    orders = [np.random.default_rng((seed, stream, 0, n)).permutation(10).tolist() for n in (0, 1)]
    batches = read(Batches(), seed, stream, stop=5)
    assert [i for indices, _ in batches for i in indices] == orders[0] + orders[1]
    for number, (_, drawn) in enumerate(batches):
        drawn_from = np.random.SeedSequence((seed, stream, 1, 4 * number)).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(drawn_from))
        assert drawn == torch.rand(4, generator=generator).tolist()
    assert type(Stream(Batches(), seed, stream).indices([3])[0]) is int


def test_no_positions_before_it_is_said_which():
    assert list(Positions(batch_size=4)) == []


def test_views_of_different_lengths_are_an_error():
    class Uneven(Batches):
        def read(self, indices, generator):
            return {"i": torch.tensor(indices), "r": torch.zeros(3)}

    with pytest.raises(ValueError, match="read gave other than 4 samples"):
        Stream(Uneven(), seed=0, stream=0).__getitems__([0, 1, 2, 3])


def test_a_later_start_continues_the_same_stream():
    assert read(Batches(), start=3) == read(Batches())[3:]


def test_workers_change_nothing():
    for dataset in (Batches(), Numbers()):
        assert read(dataset, workers=2) == read(dataset)


@pytest.mark.parametrize("dataset", [Numbers(), Batches()])
def test_a_batch_is_seeded_and_the_global_generators_left_alone(dataset):
    stream = Stream(dataset, seed=0, stream=0)
    before = torch.get_rng_state()
    first = collated(stream.__getitems__([4, 5]))["r"].tolist()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert collated(stream.__getitems__([4, 5]))["r"].tolist() == first
    assert first[0] != first[1]


def test_the_parts_of_processes_are_the_batch_of_one():
    for dataset in (Batches(), Numbers()):
        whole = Stream(dataset, seed=0, stream=0)
        expected = collated(whole.__getitems__([4, 5, 6, 7]))
        for count in (2, 4):
            parts = {key: [] for key in expected}
            for rank in range(count):
                part = Stream(dataset, seed=0, stream=0)
                part.rank = rank, count
                found = collated(part.__getitems__([4, 5, 6, 7]))
                assert {len(values) for values in found.values()} == {4 // count}
                assert part.rank == (rank, count)
                parts = {key: [*parts[key], *found[key].tolist()] for key in parts}
            assert parts == {key: values.tolist() for key, values in expected.items()}
